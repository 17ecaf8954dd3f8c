//! A Kafka that gives the services the rights that the documents ask for, and no other.

use std::time::Duration;

use serde_json::json;
use test_support::patience::within;
use test_support::{GuardedKafka, TestTopic, eventually};

use e2e::process::Process;
use e2e::world::World;

use crate::messages::{SECRET, USER, token};

/// A right as the table in `docs/operating.md` asks for it.
struct Right {
    user: &'static str,
    operations: Vec<String>,
    resource: String,
    variable: String,
}

/// Reads the table.
fn rights() -> Vec<Right> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md"));
    let document = document.expect("the document");
    let section = document.split("\n## ").find(|section| section.starts_with("Rights in Kafka\n"));
    let rows = section.expect("the section").lines().filter_map(|line| line.strip_prefix("| `"));
    let right = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        Right {
            user: if cells[0] == "stamp-api" { "api" } else { "listener" },
            operations: cells[1].split(", ").map(str::to_owned).collect(),
            resource: cells[2].to_owned(),
            variable: cells[3].to_owned(),
        }
    };
    rows.map(right).collect()
}

/// A world whose Kafka is guarded, with topics that its operators have made.
struct Guarded {
    world: World,
    kafka: GuardedKafka,
    messages: TestTopic,
}

impl Guarded {
    async fn new() -> Self {
        let kafka = GuardedKafka::start().await;
        let mut world = World::new().await;
        world.topic = TestTopic::on(&kafka.operators(), 3).await;
        let messages = TestTopic::on(&kafka.operators(), 1).await;
        Self { world, kafka, messages }
    }

    /// Starts a service, as a user of Kafka, and returns it with its URL for operators.
    async fn start(&self, program: &str, user: &str) -> (Process, String) {
        self.start_with(program, user, &[]).await
    }

    /// Starts a service as [`start`](Self::start) does, with further variables.
    async fn start_with(
        &self,
        program: &str,
        user: &str,
        further: &[(&'static str, &str)],
    ) -> (Process, String) {
        let mut variables = self.kafka.variables(user);
        variables.extend(further.iter().map(|(name, value)| (*name, (*value).to_owned())));
        variables.push(("MESSAGE_TOPIC", self.messages.name().to_owned()));
        variables.push(("MESSAGE_GROUP_ID", "messages".to_owned()));
        if program == "stamp-api" {
            variables.push((SECRET.0, SECRET.1.to_owned()));
        }
        let borrowed: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        let process = self.world.start(program, &borrowed);
        let url = format!("http://{}", process.address("metrics").await);
        (process, url)
    }

    fn name_of(&self, variable: &str) -> &str {
        match variable {
            "STAMP_TOPIC" => self.world.topic.name(),
            "MESSAGE_TOPIC" => self.messages.name(),
            "KAFKA_GROUP_ID" => self.world.group(),
            "MESSAGE_GROUP_ID" => "messages",
            other => panic!("{other} names no resource"),
        }
    }

    fn change(&self, right: &Right, change: fn(&GuardedKafka, &str, &[&str], &str, &str)) {
        let operations: Vec<&str> = right.operations.iter().map(String::as_str).collect();
        change(&self.kafka, right.user, &operations, &right.resource, self.name_of(&right.variable));
    }

    /// Sends a message and checks for it, and returns the statuses.
    async fn message(&self, url: &str, token: &str) -> [Option<(u16, bool)>; 2] {
        let path = format!("{url}/v1/users/{USER}/messages");
        let body = json!({"ns-message": {"subject": "s", "body": "b"}}).to_string();
        let send = self.world.client.post(&path).header("content-type", "application/json").body(body);
        let check = self.world.client.post(format!("{path}/check"));
        let mut answers = [None, None];
        for (answer, request) in answers.iter_mut().zip([send, check]) {
            let response = request.bearer_auth(token).send().await.ok();
            *answer = response.map(|it| (it.status().as_u16(), it.headers().contains_key("retry-after")));
        }
        answers
    }
}

// Break: make topics without looking for them first in `TopicMaker::ensure`, or in `make` of messages/sender.rs.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_rights_of_the_table_all_works_and_without_them_the_services_say_so() {
    let guarded = Guarded::new().await;
    let world = &guarded.world;
    let (api, api_admin) = guarded.start("stamp-api", "api").await;
    let url = format!("http://{}", api.address("stamps").await);
    let (_listener, listener) = guarded.start("queue-listener", "listener").await;
    let token = token(USER, &["--scope", "messages:send"]);

    // Rights are missing at the start: stamps are taken in, and what stands still says so.
    world.readiness(&url, 200, "Kafka refuses").await;
    world.readiness(&listener, 200, "Kafka refuses").await;
    assert_eq!(world.create(&url, "early", "0").await.expect("an answer").0, 201);
    for answer in guarded.message(&url, &token).await {
        assert_eq!(answer, Some((503, false)), "an operator has to act");
    }

    for right in rights() {
        guarded.change(&right, GuardedKafka::grant);
    }
    let all_is_well = async || {
        for url in [&url, &listener] {
            let is_ready = |answer: &Option<(u16, String)>| {
                answer.as_ref().is_some_and(|(_, body)| body.contains(r#""ready""#))
            };
            let limit = Duration::from_secs(60);
            within(limit, &format!("{url} is ready"), || world.get(url, "/readyz"), is_ready).await;
        }
        let messages = || guarded.message(&url, &token);
        let worked = [Some((201, false)), Some((200, false))];
        eventually("messages are sent and found", messages, |seen| *seen == worked).await;
    };
    world.processed(&url, "early").await;
    all_is_well().await;

    // Each right is taken away from services that run, and given back.
    for (number, right) in rights().iter().enumerate() {
        guarded.change(right, GuardedKafka::take_back);
        let id = format!("meanwhile-{number}");
        assert_eq!(world.create(&url, &id, "0").await.expect("an answer").0, 201);
        let who = if right.user == "api" { &api_admin } else { &listener };
        if right.user == "api" && right.variable == "MESSAGE_TOPIC" {
            let refused = [Some((503, false)), Some((503, false))];
            let messages = || guarded.message(&url, &token);
            eventually("messages are refused", messages, |seen| *seen == refused).await;
        }
        world.readiness(who, 200, "Kafka refuses").await;
        guarded.change(right, GuardedKafka::grant);
        world.processed(&url, &id).await;
        all_is_well().await;
    }
    world.every_stamp_is_in_one_batch(7).await;
}

// Break: let `note` of the listener's group/refusals.rs return false.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_be_described_and_not_read_and_a_group_that_may_not_be_joined_are_told_of() {
    let guarded = Guarded::new().await;
    let world = &guarded.world;
    let (_listener, listener) = guarded.start("queue-listener", "listener").await;
    let topics = [world.topic.name(), guarded.messages.name()];
    for topic in topics {
        guarded.kafka.grant("listener", &["Describe"], "topic", topic);
    }
    let refused = || world.metric(&listener, "queue_listener_refused");
    world.readiness(&listener, 200, "a group be joined").await;
    for group in [world.group(), "messages"] {
        guarded.kafka.grant("listener", &["Read"], "group", group);
    }
    // Of the groups it is told that they were joined; that the topics can't be read was not known before.
    eventually("both topics are refused", refused, |seen| *seen == Some(2.0)).await;
    // Nothing is in the topics, so that no record tells of the right.
    for topic in topics {
        guarded.kafka.grant("listener", &["Read"], "topic", topic);
    }
    world.readiness(&listener, 200, r#""ready""#).await;
    assert_eq!(refused().await, Some(0.0));
    // The client tells of a refusal again only after it has read the partition in between.
    world.topic.send_stamp("between", 0, &world.now().await);
    world.every_stamp_is_in_one_batch(1).await;
    guarded.kafka.take_back("listener", &["Read"], "topic", topics[0]);
    eventually("the stamps' topic is refused", refused, |seen| *seen == Some(1.0)).await;
    world.readiness(&listener, 200, "Kafka refuses").await;
    guarded.kafka.grant("listener", &["Read"], "topic", topics[0]);
    world.readiness(&listener, 200, r#""ready""#).await;
}

// Break: let `is_refusal` of the listener's deliveries/kafka.rs take every error for one.
#[tokio::test(flavor = "multi_thread")]
async fn batches_wait_to_be_told_until_their_topic_may_be_written_to() {
    let guarded = Guarded::new().await;
    let world = &guarded.world;
    let told = TestTopic::on(&guarded.kafka.operators(), 1).await;
    for topic in [world.topic.name(), guarded.messages.name()] {
        guarded.kafka.grant("listener", &["Read"], "topic", topic);
    }
    for group in [world.group(), "messages"] {
        guarded.kafka.grant("listener", &["Read"], "group", group);
    }
    let sink = [("BATCH_SINK", "kafka"), ("BATCH_TOPIC", told.name()), ("MIN_BATCH_SIZE", "1")];
    let (_listener, listener) = guarded.start_with("queue-listener", "listener", &sink).await;
    world.topic.send_stamp("a", 0, &world.now().await);
    world.every_stamp_is_in_one_batch(1).await;
    let refused = "SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL AND attempts > 0
                   AND last_error LIKE '%authorization%'";
    eventually("the topic refuses", || world.database.number(refused), |count| *count == 1).await;
    world.readiness(&listener, 200, "tries to deliver a batch were in vain").await;
    guarded.kafka.grant("listener", &["Write"], "topic", told.name());
    let delivered = "SELECT count(*) FROM deliveries WHERE delivered_at IS NOT NULL";
    let limit = Duration::from_secs(90);
    within(limit, "the batch is told", || world.database.number(delivered), |count| *count == 1).await;
    assert_eq!(told.read().len(), 1);
    world.readiness(&listener, 200, r#""ready""#).await;
}
