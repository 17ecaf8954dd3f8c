//! A database, a topic, and the services on them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use test_support::patience::{polled, within};
use test_support::{Role, TestDatabase, TestTopic, eventually, stack};

use crate::process::Process;

/// How long a load may take until all of it is processed, published and read.
const LIMIT: Duration = Duration::from_secs(60);
/// How far apart looks into the topic are: each is a client of its own.
const LOOKS: Duration = Duration::from_millis(200);

/// A database, a topic and a group of a test's own.
#[allow(missing_docs, reason = "the names say it")]
pub struct World {
    pub database: TestDatabase,
    pub topic: TestTopic,
    pub client: reqwest::Client,
}

impl World {
    /// Makes a topic of twelve partitions and an empty database.
    pub async fn new() -> Self {
        Self {
            database: TestDatabase::new().await,
            topic: TestTopic::new(12).await,
            client: reqwest::Client::new(),
        }
    }

    /// Returns the group of the world's listeners: a rebalance of one that all tests share would hold up them all.
    pub fn group(&self) -> &str {
        self.topic.name()
    }

    /// Starts one of the services with further variables. It connects to the database with a role that may do what the
    /// service needs and no more.
    pub fn start(&self, program: &str, variables: &[(&str, &str)]) -> Process {
        self.start_as(variables, program, Process::start)
    }

    /// Starts a service as [`start`](Self::start) does, in a way of one's own.
    pub fn start_as(
        &self,
        variables: &[(&str, &str)],
        program: &str,
        start: impl FnOnce(&str, &[(&str, &str)]) -> Process,
    ) -> Process {
        // A listener reads the topics of all tests' users; in a group of all tests, a user's messages would end in any
        // of their databases.
        let messages = format!("messages-{}", self.topic.name());
        let role = if program == "stamp-api" { Role::Api } else { Role::Listener };
        let database = self.database.url_as(role);
        let own = [
            ("DATABASE_URL", database.as_str()),
            ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers),
            ("STAMP_TOPIC", self.topic.name()),
            ("KAFKA_GROUP_ID", self.group()),
            ("MESSAGE_GROUP_ID", &messages),
            ("HTTP_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ];
        let all: Vec<_> = own.into_iter().chain(variables.iter().copied()).collect();
        start(program, &all)
    }

    /// Starts the API and waits until it is ready. Returns it with its URL.
    pub async fn api(&self) -> (Process, String) {
        self.api_with(&[]).await
    }

    /// Starts the API with further variables and waits until it is ready. Returns it with its URL.
    pub async fn api_with(&self, variables: &[(&str, &str)]) -> (Process, String) {
        let api = self.start("stamp-api", variables);
        let url = format!("http://{}", api.address("stamps").await);
        self.ready(&url).await;
        (api, url)
    }

    /// Starts a listener and waits until it has joined its group.
    pub async fn listener(&self, variables: &[(&str, &str)]) -> Process {
        self.listener_with_url(variables).await.0
    }

    /// Starts a listener and waits until it has joined its group. Returns it with the URL of its operators' address.
    pub async fn listener_with_url(&self, variables: &[(&str, &str)]) -> (Process, String) {
        let listener = self.start("queue-listener", variables);
        let url = format!("http://{}", listener.address("metrics").await);
        // After a while it is ready without a group, for what it takes from the table.
        let has_joined = |answer: &Option<(u16, String)>| {
            answer
                .as_ref()
                .is_some_and(|(status, text)| *status == 200 && !text.contains("has not been joined"))
        };
        within(LIMIT, &format!("{url} has joined"), || self.get(&url, "/readyz"), has_joined).await;
        (listener, url)
    }

    /// Returns the value of a metric, its labels included in the name.
    pub async fn metric(&self, url: &str, name: &str) -> Option<f64> {
        let (_, text) = self.get(url, "/metrics").await?;
        metric(&text, name)
    }

    /// Waits until a service is ready.
    pub async fn ready(&self, url: &str) {
        let readiness = || self.get(url, "/readyz");
        let is_ready =
            |answer: &Option<(u16, String)>| answer.as_ref().is_some_and(|(status, _)| *status == 200);
        eventually(&format!("{url} is ready"), readiness, is_ready).await;
    }

    /// Waits until `/readyz` has this status and says this.
    pub async fn readiness(&self, url: &str, status: u16, text: &str) {
        let is_so = |answer: &Option<(u16, String)>| {
            answer.as_ref().is_some_and(|(seen, body)| *seen == status && body.contains(text))
        };
        eventually(&format!("{url}/readyz is {status} {text:?}"), || self.get(url, "/readyz"), is_so).await;
    }

    /// Asks for a path and returns status and body; `None` where no complete answer came.
    pub async fn get(&self, url: &str, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{url}{path}")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Asks for a stamp until it is processed.
    pub async fn processed(&self, url: &str, object_cid: &str) -> Value {
        let stamp = || async {
            let text = self
                .client
                .get(format!("{url}/v1/stamps/{object_cid}"))
                .send()
                .await
                .ok()?
                .text()
                .await
                .ok()?;
            serde_json::from_str::<Value>(&text).ok()
        };
        let is_processed =
            |stamp: &Option<Value>| stamp.as_ref().is_some_and(|stamp| stamp["state"] == "processed");
        eventually(&format!("{object_cid} is processed"), stamp, is_processed).await.expect("a stamp")
    }

    /// Posts a form to `create_stamp` and returns status and body; `None` where no complete answer came.
    pub async fn create(&self, url: &str, object_cid: &str, time_tolerance: &str) -> Option<(u16, String)> {
        let form = format!("object_cid={object_cid}&time_tolerance={time_tolerance}");
        let request = self
            .client
            .post(format!("{url}/datasender/create_stamp/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Returns the server's time, as an event tells it.
    pub async fn now(&self) -> String {
        let sql = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        self.database.query(sql, &[]).await[0].get(0)
    }

    /// Asserts that every stamp is processed, in exactly one batch, and the batches say what they hold.
    pub async fn every_stamp_is_in_one_batch(&self, count: i64) {
        self.every_stamp_is_in_one_batch_of(count, 10).await;
    }

    /// Asserts that every stamp is processed, in exactly one batch of up to `max`, and the batches say what they hold.
    pub async fn every_stamp_is_in_one_batch_of(&self, count: i64, max: i32) {
        let processed = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
        let seen = || self.database.number(processed);
        within(LIMIT, "stamps are processed", seen, |seen| *seen >= count).await;
        assert_eq!(self.database.number(processed).await, count);
        assert_eq!(self.database.number("SELECT count(*) FROM stamps").await, count);
        assert_eq!(self.database.number("SELECT count(*) FROM pending_stamps").await, 0);
        assert_eq!(self.database.number("SELECT coalesce(sum(size), 0)::bigint FROM batches").await, count);
        let wrong = format!(
            "SELECT count(*) FROM batches b WHERE size > {max}
                OR size <> (SELECT count(*) FROM stamp_states p WHERE p.batch_id = b.id)"
        );
        assert_eq!(self.database.number(&wrong).await, 0);
    }

    /// Waits until the topic holds an event of each of `count` stamps, and no event waits any more.
    ///
    /// A stamp that left by the table may leave before its event is published.
    pub async fn every_event_is_published(&self, count: usize) {
        let published = || async {
            let keys = self.topic.read().into_iter().map(|record| record.key);
            keys.collect::<BTreeSet<_>>().len()
        };
        polled(LOOKS, LIMIT, "every event is published", published, |seen| *seen == count).await;
        let waiting = || self.database.number("SELECT count(*) FROM left_events WHERE published_at IS NULL");
        eventually("it is noted", waiting, |left| *left == 0).await;
    }

    /// Waits until the topic holds an event of each of `count` stamps, and the listeners have read them all: stamps that
    /// are processed may have left by the table.
    pub async fn every_event_is_read(&self, count: usize) {
        self.every_event_is_published(count).await;
        let read = || async { (self.topic.committed(self.group()), self.topic.read().len() as i64) };
        polled(LOOKS, LIMIT, "every event is read", read, |(committed, records)| committed == records).await;
    }
}

/// Returns the value of a metric in a text of metrics, its labels included in the name.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text =
            "# HELP a_total x\na_total{result=\"dead\"} 1\na_total{result=\"processed\"} 25\na_totals 3\n";
        assert_eq!(metric(text, r#"a_total{result="processed"}"#), Some(25.0));
        assert_eq!(metric(text, "a_total"), None);
    }
}
