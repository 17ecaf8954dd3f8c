//! Asks a service of this project, on this machine, whether it is ready: for containers and scripts that have
//! no HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(3);
/// The most bytes of an answer that are read: a readiness answer is far shorter.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Returns what `/readyz` on the operators' address says if it answers 200 within 3 seconds: `{"status":"ready"}`, or
/// `degraded` with the reasons.
///
/// # Errors
/// If the service is not ready; the error says what it answered instead.
pub async fn ready(admin_addr: SocketAddr) -> anyhow::Result<String> {
    let address = reachable(admin_addr);
    let answer = tokio::time::timeout(LIMIT, ask(address))
        .await
        .with_context(|| format!("no answer from http://{address}/readyz in {} s", LIMIT.as_secs()))?
        .with_context(|| format!("can't ask http://{address}/readyz"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.trim().to_owned()),
        Some(status) => bail!("not ready ({status}): {body}"),
        None => bail!("what answers on {address} does not speak HTTP"),
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer ends where the connection does.
    let request = format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Returns the address to connect to: the loopback one for an address that stands for every interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes.
    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let _length = stream.read(&mut request).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("a listener");
        });
        address
    }

    #[tokio::test]
    async fn only_200_counts_as_ready() {
        let ready_service = answering("HTTP/1.1 200 OK\r\n\r\n{}").await;
        assert_eq!(ready(ready_service).await.expect("ready"), "{}");
        let waiting = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno database").await;
        let error = ready(waiting).await.expect_err("not ready").to_string();
        assert_eq!(error, "not ready (503): no database");
    }

    #[tokio::test]
    async fn nobody_there_is_not_ready() {
        let nobody =
            TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
        assert!(ready(nobody).await.is_err());
    }

    #[test]
    fn an_unspecified_address_is_asked_through_loopback() {
        for (given, asked) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:1", "[::1]:1"), ("10.0.0.7:5", "10.0.0.7:5")]
        {
            let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            assert_eq!(reachable(address(given)), address(asked));
        }
    }
}
