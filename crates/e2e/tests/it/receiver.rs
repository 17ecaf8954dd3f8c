//! A receiver of HTTP requests.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Takes requests until the test ends, and answers each as `answer` says of its body; `None` closes the connection.
/// Returns the URL.
pub(crate) async fn receive(
    answer: impl Fn(&[u8]) -> Option<&'static str> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&[u8]) -> Option<&'static str>>) {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let head = end.map(|end| String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase());
        let length = head.as_deref().and_then(|head| {
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok())
        });
        if let (Some(end), Some(length)) = (end, length)
            && bytes.len() >= end + 4 + length
        {
            let Some(answer) = answer(&bytes[end + 4..end + 4 + length]) else { return };
            bytes.drain(..end + 4 + length);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        } else if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}
