//! A listener in the test's own process, with a database, a topic and a group of its own.

use platform::settings::Environment;
use platform::shutdown::CancellationToken;
use queue_listener::app::{self, Running};
use queue_listener::settings::Settings;
use test_support::{TestDatabase, TestTopic, eventually, stack};

/// Longer than any test runs.
pub(crate) const LONG: i32 = 10_000;

/// What a test works with.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) topic: TestTopic,
}

/// A listener that runs until it is stopped.
pub(crate) struct Listener {
    running: Running,
    stop: CancellationToken,
}

impl World {
    pub(crate) async fn new(partitions: i32) -> Self {
        Self { database: TestDatabase::new().await, topic: TestTopic::new(partitions).await }
    }

    /// The same with a topic of one partition with settings of its own.
    pub(crate) async fn with_settings(settings: &[(&str, &str)]) -> Self {
        Self { database: TestDatabase::new().await, topic: TestTopic::with_settings(settings).await }
    }

    /// Starts a listener with further variables.
    pub(crate) fn listen(&self, variables: &[(&str, &str)]) -> Listener {
        let own = [
            ("DATABASE_URL", self.database.url()),
            ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers),
            ("STAMP_TOPIC", self.topic.name()),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ];
        let all = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::from_variables(all).expect("no files are named");
        let stop = CancellationToken::new();
        let settings = Settings::from_environment(&environment).expect("valid settings");
        Listener { running: app::start(settings, stop.clone()).expect("a listener"), stop }
    }

    /// The server's time, so many minutes ago.
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

    /// All batches, oldest first: trigger, size as stored, members counted.
    pub(crate) async fn batches(&self) -> Vec<(String, i32, i64)> {
        let sql = "SELECT b.trigger, b.size, count(p.stamp_id)
                   FROM batches b LEFT JOIN processed_stamps p ON p.batch_id = b.id
                   GROUP BY b.id ORDER BY b.id";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// The state of one stamp, if it is known.
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

const PROCESSED: &str = "SELECT count(*) FROM processed_stamps";

impl Listener {
    /// Stops it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.join().await.expect("a clean stop");
    }

    /// Asks for a path of its operators' address.
    pub(crate) async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.running.admin);
        reqwest::get(url).await.expect("an answer").text().await.expect("a text")
    }
}
