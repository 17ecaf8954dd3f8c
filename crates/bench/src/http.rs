//! An HTTP/1.1 client that does next to nothing: requests are ready-made bytes, and of an answer only status and body
//! are looked at. One that did more would measure itself.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept for many requests.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Status of the answer.
    pub status: u16,
    /// Whether the answer says when to try again.
    pub retry_after: bool,
    /// Whether the server closes the connection after the answer.
    pub closes: bool,
    /// Body of the answer.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 * 1_024) })
    }

    /// Sends a request and waits for the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
        };
        let end = head.end + head.length;
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let Head { status, retry_after, closes, .. } = head;
        Ok(Answer { status, retry_after, closes, body: &self.buffer[head.end..end] })
    }
}

/// Asks once for a path. Returns status and body; `None` where no whole answer came.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut connection = Connection::open(address).await.ok()?;
    let answer = connection.exchange(request.as_bytes()).await.ok()?;
    Some((answer.status, String::from_utf8_lossy(answer.body).into_owned()))
}

/// Returns a `POST` request.
pub fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "Host: 127.0.0.1\r\nContent-Type: ";
    format!("POST {path} HTTP/1.1\r\n{head}{content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    retry_after: bool,
    closes: bool,
    /// Where the body begins.
    end: usize,
    /// How long the body is.
    length: usize,
}

/// Reads a head; `None` while its end has not come.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let strange = || io::Error::new(ErrorKind::InvalidData, "an answer without status or length");
    let text = str::from_utf8(&bytes[..end]).map_err(|_| strange())?;
    let (first, fields) = text.split_once("\r\n").ok_or_else(strange)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
    let field = |name: &str| {
        let fields = fields.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.filter(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let length = field("content-length").and_then(|length| length.parse().ok()).ok_or_else(strange)?;
    let retry_after = status == 503 && field("retry-after").is_some();
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status, retry_after, closes, end: end + 4, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nserver: x\r\nContent-Length: 12\r\n\r\n{\"a\":";
        assert_eq!(
            head(answer).unwrap(),
            Some(Head { status: 201, retry_after: false, closes: false, end: 55, length: 12 })
        );
        assert_eq!(head(&answer[..54]).unwrap(), None);
        let busy = b"HTTP/1.1 503 Busy\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let expected = Head { status: 503, retry_after: true, closes: true, end: busy.len(), length: 0 };
        assert_eq!(head(busy).unwrap(), Some(expected));
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"SMTP\r\ncontent-length: 1\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let request = String::from_utf8(post("/p", "text/plain", "abc")).unwrap();
        assert!(request.starts_with("POST /p HTTP/1.1\r\n"), "{request}");
        assert!(
            request.ends_with("\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"),
            "{request}"
        );
    }
}
