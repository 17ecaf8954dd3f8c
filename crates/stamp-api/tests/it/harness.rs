//! An API in the test's own process, with a database and a topic of its own, and requests byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use platform::settings::Environment;
use platform::shutdown::CancellationToken;
use serde_json::Value;
use stamp_api::app::{self, RunningApi};
use stamp_api::settings::ApiSettings;
use test_support::{Role, TestDatabase, TestTopic, eventually, stack};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A database and a topic of a test's own.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) topic: TestTopic,
}

/// An API that runs until it is stopped.
pub(crate) struct Api {
    running: RunningApi,
    stop: CancellationToken,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self { database: TestDatabase::new().await, topic: TestTopic::new(3).await }
    }

    /// Starts an API with further variables and waits until it is ready.
    pub(crate) async fn serve(&self, variables: &[(&str, &str)]) -> Api {
        let api = self.start(variables);
        let ready = || async { api.get("/readyz").await.status };
        eventually("the API is ready", ready, |status| *status == 200).await;
        api
    }

    /// Starts an API with further variables, ready or not.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Api {
        let database = self.database.url_as(Role::Api);
        let own = [
            ("DATABASE_URL", database.as_str()),
            ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers),
            ("STAMP_TOPIC", self.topic.name()),
            ("HTTP_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ];
        let all = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::from_variables(all).expect("no files are named");
        let settings = ApiSettings::from_environment(&environment).expect("valid settings");
        let stop = CancellationToken::new();
        Api { running: app::start(settings, stop.clone()).expect("an API"), stop }
    }

    /// Returns the number of the server's next multixact: what two lockers of one row are called together.
    pub(crate) async fn next_multixact(&self) -> i64 {
        self.database.run("CREATE TABLE IF NOT EXISTS locked AS SELECT 1 AS id").await;
        let (one, two) = (self.database.connect().await, self.database.connect().await);
        for locker in [&one, &two] {
            locker.batch_execute("BEGIN; SELECT FROM locked FOR SHARE").await.expect("locked");
        }
        self.database.number("SELECT xmax::text::bigint FROM locked").await
    }

    pub(crate) async fn stamps(&self) -> i64 {
        self.database.number("SELECT count(*) FROM stamps").await
    }

    /// Returns the keys of all records of the topic, sorted.
    pub(crate) fn published(&self) -> Vec<String> {
        let key = |key: Option<Vec<u8>>| String::from_utf8(key.expect("a key")).expect("a text");
        let mut keys: Vec<String> = self.topic.read().into_iter().map(|record| key(record.key)).collect();
        keys.sort();
        keys
    }
}

impl Api {
    /// Returns the address where clients reach the API.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.http
    }

    /// Asks for a path exactly as it is written here.
    pub(crate) async fn get(&self, raw_path: &str) -> Answer {
        self.exchange(format!("GET {raw_path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }

    /// Posts a body with these header lines.
    pub(crate) async fn post(&self, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST /v1/stamps HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        self.exchange(&[head.as_bytes(), body].concat()).await
    }

    /// Posts many stamps with these header lines.
    pub(crate) async fn bulk(&self, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!("{BULK}connection: close\r\n{headers}content-length: {length}\r\n\r\n");
        self.exchange(&[head.as_bytes(), body].concat()).await
    }

    /// Posts a stamp that may wait ten minutes.
    pub(crate) async fn create(&self, object_cid: &str) -> Answer {
        let body = format!(r#"{{"object_cid":"{object_cid}","time_tolerance":10}}"#);
        self.post(JSON, body.as_bytes()).await
    }

    /// Sends a request with these header lines.
    pub(crate) async fn request(&self, method: &str, raw_path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("{method} {raw_path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        self.exchange(format!("{head}{headers}content-length: {length}\r\n\r\n{body}").as_bytes()).await
    }

    /// Sends bytes and reads until the other side closes.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Answer {
        exchange(self.address(), request).await
    }

    /// Returns the value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let text = exchange(self.running.admin, request).await.body;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_is(&self, name: &str, value: f64) {
        let is_so = |seen: &f64| (seen - value).abs() < f64::EPSILON;
        eventually(&format!("{name} is {value}"), || self.metric(name), is_so).await;
    }

    /// Waits until a path's answer holds this text.
    pub(crate) async fn reads(&self, path: &str, text: &str) {
        let answer = || async { self.get(path).await.body };
        eventually(&format!("{path} says {text}"), answer, |body| body.contains(text)).await;
    }

    /// Asks the API to stop, as SIGTERM does, and does not wait for it.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the API as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.join().await.expect("a clean stop");
    }
}

async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // Who is refused early may be closed on before they have said everything.
    let _refused = stream.write_all(request).await;
    Answer::read(stream).await
}

pub(crate) const JSON: &str = "content-type: application/json\r\n";
pub(crate) const LINES: &str = "content-type: application/x-ndjson\r\n";
/// The head of a request with many stamps, without its end.
pub(crate) const BULK: &str = "POST /v1/stamps/bulk HTTP/1.1\r\nhost: a\r\n";
pub(crate) const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// What came back from the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the other side closes, for a time in which any answer comes.
    pub(crate) async fn read(mut stream: impl AsyncRead + Unpin) -> Self {
        const LIMIT: Duration = Duration::from_secs(20);
        let mut bytes = Vec::new();
        let read = async {
            let mut buffer = [0; 4096];
            // A connection that is reset has said what it had to say.
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..count]);
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("the connection is closed");
        let answer = String::from_utf8(bytes).expect("a text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
