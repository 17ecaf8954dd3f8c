//! A receiver of HTTP requests, which answers as it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The secret that requests are signed with.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) event: Value,
    /// Whether the signature is right.
    pub(super) is_signed: bool,
}

/// Answers a request by its number, the first one being 0: with these bytes, after which the connection is closed if they
/// say so. Otherwise it is left open and silent.
type Answer = dyn Fn(usize) -> String + Send + Sync;

/// A receiver.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// Returns an answer without a body.
pub(super) fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

impl Receiver {
    /// Starts a receiver.
    pub(super) async fn start(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (all, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), Arc::clone(&answer)));
            }
        });
        Self { address, requests }
    }

    /// Returns the variables of a listener that tells this receiver.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("BATCH_SINK", "webhook".to_owned()),
            ("BATCH_WEBHOOK_URL", format!("http://{}/batches", self.address)),
            ("BATCH_WEBHOOK_SECRET", SECRET.to_owned()),
        ]
    }

    /// Returns the requests that came so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

/// Starts a receiver that answers a byte at a time and is never done. Returns its address.
pub(super) async fn slow() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut pause = tokio::time::interval(Duration::from_millis(200));
                for byte in "HTTP/1.1 200 OK\r\nx: ".bytes().chain(std::iter::repeat(b'x')) {
                    pause.tick().await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn serve(mut stream: TcpStream, all: Arc<Mutex<Vec<Request>>>, answer: Arc<Answer>) {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(request) = parse(&bytes) {
            break request;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    };
    let number = {
        let mut all = all.lock().expect("no panic");
        all.push(request);
        all.len() - 1
    };
    let answer = answer(number);
    // The client may have gone.
    let _gone = stream.write_all(answer.as_bytes()).await;
    if !answer.contains("connection: close") {
        std::future::pending::<()>().await;
    }
}

/// Returns a request once all of it has come.
fn parse(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        let of = |line: &str| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        head.lines().find_map(of)
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, header(name)?.parse().ok()?);
    }
    let key = SECRET.trim_start_matches("whsec_");
    let is_signed = Webhook::new(key).expect("a secret").verify(body, &headers).is_ok();
    Some(Request { head, event: serde_json::from_slice(body).ok()?, is_signed })
}
