//! A listener in the test's own process, with a database, a topic and a group of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use platform::settings::Environment;
use platform::shutdown::CancellationToken;
use queue_listener::app::{self, RunningListener};
use queue_listener::settings::ListenerSettings;
use test_support::{Role, TestDatabase, TestTopic, eventually, stack};

/// A tolerance in minutes that is longer than any test runs.
pub(crate) const LONG: i32 = 1_000;
/// Setting with which every stamp leaves: of what comes bit by bit the last one may be alone.
pub(crate) const AT_ONCE: (&str, &str) = ("MIN_BATCH_SIZE", "1");

/// A database, a topic and a group of a test's own.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) topic: TestTopic,
}

/// A listener that runs until it is stopped.
pub(crate) struct Listener {
    running: RunningListener,
    stop: CancellationToken,
}

impl World {
    pub(crate) async fn new(partitions: i32) -> Self {
        Self { database: TestDatabase::new().await, topic: TestTopic::new(partitions).await }
    }

    /// Returns a world whose topic has one partition and settings of its own.
    pub(crate) async fn with_settings(settings: &[(&str, &str)]) -> Self {
        Self { database: TestDatabase::new().await, topic: TestTopic::with_settings(settings).await }
    }

    /// Returns the group of the world's listeners for messages. A listener reads the topics of all tests' users; in a
    /// group of all tests, a user's messages would end in any of their databases.
    pub(crate) fn message_group(&self) -> String {
        format!("messages-{}", self.topic.name())
    }

    /// Returns the group of the world's listeners: a rebalance of one that all tests share would hold up them all.
    pub(crate) fn group(&self) -> &str {
        self.topic.name()
    }

    /// Starts a listener with further variables.
    pub(crate) fn listen(&self, variables: &[(&str, &str)]) -> Listener {
        let database = self.database.url_as(Role::Listener);
        let own = [
            ("DATABASE_URL", database.as_str()),
            ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers),
            ("STAMP_TOPIC", self.topic.name()),
            ("KAFKA_GROUP_ID", self.group()),
            ("MESSAGE_GROUP_ID", &self.message_group()),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ];
        let all = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::from_variables(all).expect("no files are named");
        let stop = CancellationToken::new();
        let settings = ListenerSettings::from_environment(&environment).expect("valid settings");
        Listener { running: app::start(settings, stop.clone()).expect("a listener"), stop }
    }

    /// Returns a `queue-listener dlq …` that is to be run.
    pub(crate) fn dlq_command(&self, arguments: &str) -> Command {
        self.command("dlq", arguments)
    }

    /// Runs a `queue-listener deliveries …` that succeeds, and returns what it printed.
    pub(crate) fn deliveries(&self, arguments: &str) -> String {
        let output = self.command("deliveries", arguments).output().expect("the program can be run");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text").trim_end().to_owned()
    }

    /// Runs a `queue-listener deliveries …` that does nothing. Returns its exit code and what it complained about.
    pub(crate) fn deliveries_refused(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.command("deliveries", arguments).output().expect("the program can be run");
        assert!(output.stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Returns a command of `queue-listener` that is to be run.
    pub(crate) fn command(&self, name: &str, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_queue-listener"));
        command
            .arg(name)
            .args(arguments.split_whitespace())
            .env("DATABASE_URL", self.database.url_as(Role::Listener))
            .env("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `queue-listener dlq …` and returns its exit code and what it printed.
    pub(crate) fn try_dlq(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.dlq_command(arguments).output().expect("the program can be run");
        if !output.status.success() {
            println!("{arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
    }

    /// Runs a `queue-listener dlq …` that succeeds, and returns the last line that it printed.
    pub(crate) fn dlq(&self, arguments: &str) -> String {
        let (code, printed) = self.try_dlq(arguments);
        assert_eq!(code, Some(0), "{arguments}: {printed}");
        printed.lines().last().unwrap_or_default().to_owned()
    }

    /// Stores a dead letter of the topic, as if it had been read long ago at this offset. Returns the letter's id.
    pub(crate) async fn bury(&self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
        let sql = r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, reason, detail)
                     VALUES ($1, 7, $2, 1767225600000, $3, $4, 'not_json', 'A test.') RETURNING id"#;
        self.database.query(sql, &[&self.topic.name(), &offset, &key, &value]).await[0].get(0)
    }

    /// Returns the server's time, so many minutes ago.
    pub(crate) async fn minutes_ago(&self, minutes: f64) -> String {
        let sql = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => $1),
                          'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        self.database.query(sql, &[&(minutes * 60.0)]).await[0].get(0)
    }

    /// Waits until so many stamps are processed.
    pub(crate) async fn processed(&self, count: i64) {
        eventually("stamps processed", || self.database.number(PROCESSED), |seen| *seen >= count).await;
        assert_eq!(self.database.number(PROCESSED).await, count);
    }

    /// Returns all batches, oldest first: trigger, size as stored, members counted.
    pub(crate) async fn batches(&self) -> Vec<(String, i32, i64)> {
        let sql = "SELECT b.trigger, b.size, count(p.object_cid)
                   FROM batches b LEFT JOIN stamp_states p ON p.batch_id = b.id
                   GROUP BY b.id ORDER BY b.id";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// Returns the state of one stamp, if it is known.
    pub(crate) async fn state(&self, object_cid: &str) -> Option<String> {
        let sql = "SELECT state FROM stamp_states WHERE object_cid = $1";
        self.database.query(sql, &[&object_cid]).await.first().map(|row| row.get(0))
    }

    /// Waits until the group has committed everything up to so many records.
    pub(crate) async fn committed(&self, group: &str, offsets: i64) {
        eventually("offsets committed", || async { self.topic.committed(group) }, |seen| *seen == offsets)
            .await;
    }
}

const PROCESSED: &str = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";

impl Listener {
    /// Stops the listener as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.join().await.expect("a clean stop");
    }

    /// Waits until the listener ends by itself, and returns why.
    pub(crate) async fn failed(self) -> anyhow::Error {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.running.join());
        ended.await.expect("it ends").expect_err("it fails")
    }

    /// Returns the value of a metric in whole numbers, labels included in its name; 0 if there is none.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().expect("a number") as i64)
    }

    /// Waits until the listener has joined its groups.
    pub(crate) async fn ready(&self) {
        let is_ready = |text: &String| text.contains(r#""status":"ready""#);
        eventually("the listener is ready", || self.get("/readyz"), is_ready).await;
    }

    /// Asks for a path of the operators' address.
    pub(crate) async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.running.admin);
        reqwest::get(url).await.expect("an answer").text().await.expect("a text")
    }
}
