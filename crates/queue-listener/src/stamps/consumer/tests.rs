//! The poll thread on a real broker; the test stands in for the heart.

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use platform::settings::Environment;
use prometheus::Registry;
use test_support::{TestTopic, eventually, stack};
use tokio::sync::mpsc::{self as channels, Receiver, UnboundedReceiver};

use domain::batch::assignment::Assignment;

use super::*;

/// A clock that stands still: the time does not matter here.
struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn sleep_until(&self, _: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

struct Listening {
    /// The consumer, whose end is the end of the thread.
    consumer: Consumer,
    client: CurrentClient,
    metrics: ListenerMetrics,
    fetched: Receiver<Chunk<Other>>,
    control: UnboundedReceiver<Control>,
}

impl Listening {
    fn start(topic: &TestTopic, silence: Duration) -> Self {
        let servers = ("KAFKA_BOOTSTRAP_SERVERS".to_owned(), stack().kafka_bootstrap_servers.clone());
        let environment = Environment::from_variables([servers]).expect("no files are named");
        let kafka = KafkaSettings::from_environment(&environment).expect("valid settings");
        let metrics = ListenerMetrics::register(&Registry::new()).expect("a registry of its own");
        let (control_sender, control) = channels::unbounded_channel();
        let (fetched_sender, fetched) = channels::channel(4);
        let shared = ConsumerState::new(topic.name(), control_sender, Arc::default(), metrics.clone());
        let group_id = topic.name().to_owned();
        let clients = Clients { kafka, group_id, shared: Arc::new(shared), silence };
        let consumer = Consumer::start_with(clients, fetched_sender, Arc::new(StandingClock));
        let (consumer, OffsetCommitter(client)) = consumer.expect("a consumer");
        Self { consumer, client, metrics, fetched, control }
    }

    /// Waits for the next word about partitions that come or go. A revocation is answered with nothing to commit.
    async fn control(&mut self) -> Control {
        loop {
            let control = tokio::time::timeout(Duration::from_secs(30), self.control.recv()).await;
            match control.expect("within 30 s").expect("the thread runs") {
                Control::Known(_) => {}
                Control::Revoked { assignments, lost, reply } => {
                    if let Some(reply) = &reply {
                        reply.send(Vec::new()).expect("it is waited for");
                    }
                    return Control::Revoked { assignments, lost, reply };
                }
                assigned @ Control::Assigned(_) => return assigned,
            }
        }
    }

    async fn assigned(&mut self) -> Vec<Assignment> {
        match self.control().await {
            Control::Assigned(assignments) => assignments,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for records.
    async fn records(&mut self) -> usize {
        let records = async {
            loop {
                let chunk = self.fetched.recv().await.expect("the thread runs");
                if !chunk.records.is_empty() {
                    return chunk.records.len();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), records).await.expect("within 30 s")
    }
}

// Break: don't store `stuck` in stamps/consumer/watchdog.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_has_records_and_is_silent_gets_a_fresh_consumer() {
    let topic = TestTopic::new(1).await;
    let mut listening = Listening::start(&topic, Duration::from_secs(3));
    let first = listening.assigned().await;
    topic.send(None, Some(b"heard"));
    assert_eq!(listening.records().await, 1);

    // What a lost resume leaves behind.
    let client = listening.client.get().expect("a client");
    client.pause(&client.assignment().expect("an assignment")).expect("paused");
    drop(client);
    topic.send(None, Some(b"not heard"));
    topic.flush();
    assert!(matches!(listening.control().await, Control::Revoked { lost: false, .. }));
    let second = listening.assigned().await;
    assert!(first[0].number < second[0].number, "{first:?}, {second:?}");
    assert_eq!(listening.records().await, 2, "nothing was committed, so both are read");
    let silent = || async { listening.metrics.silent.get() };
    eventually("the word of it is taken back", silent, |silent| *silent == 0).await;
}

// Break: let `convict` in batch/heart/reader.rs take any end for a later one.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_new_records_is_left_alone_however_silent_it_is() {
    let topic = TestTopic::new(2).await;
    let mut listening = Listening::start(&topic, SILENCE);
    topic.send(None, Some(b"the last one"));
    listening.assigned().await;
    assert_eq!(listening.records().await, 1);
    let client = listening.client.get().expect("a client");
    // Both partitions are under suspicion at once.
    let shared = &client.context().shared;
    assert_eq!(shared.reader().suspects(Duration::ZERO, shared.elapsed()).len(), 2);
    // Two looks are needed to find a partition silent.
    let looks = || async {
        watchdog::silent(&client, &client.context().shared, Duration::ZERO);
        watchdog::silent(&client, &client.context().shared, Duration::ZERO)
    };
    eventually("everything was read", looks, Vec::is_empty).await;
    assert!(looks().await.is_empty());
}

// Break: let `fetch` in stamps/consumer/mod.rs return at once if the chunk is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_chunk_is_full_goes_on_serving_its_group() {
    let topic = TestTopic::new(2).await;
    (0..8 * CHUNK_RECORDS).for_each(|_| topic.send(None, Some(b"{}")));
    topic.flush();
    let mut first = Listening::start(&topic, SILENCE);
    assert_eq!(first.assigned().await.len(), 2);
    // Nobody takes its records, so that it pauses with a full chunk in its hands.
    let paused = || async { first.metrics.paused.get() };
    eventually("it is paused", paused, |paused| *paused == 1).await;
    let mut second = Listening::start(&topic, SILENCE);
    assert!(matches!(first.control().await, Control::Revoked { lost: false, .. }));
    assert_eq!(second.assigned().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_committed_last_is_committed_although_nobody_takes_records_any_more() {
    let topic = TestTopic::new(1).await;
    let mut listening = Listening::start(&topic, SILENCE);
    let assignment = listening.assigned().await[0];
    topic.send(None, Some(b"taken"));
    assert_eq!(listening.records().await, 1);
    // The heart has ended, and the thread finds that out by the next record, before it is told to stop.
    let Listening { consumer, client, fetched, .. } = listening;
    drop(fetched);
    topic.send(None, Some(b"taken by nobody"));
    topic.flush();
    let client = client.get().expect("a client");
    let read = || async { client.position().expect("a position").elements()[0].offset() };
    eventually("it is read", read, |position| *position == Offset::Offset(2)).await;
    drop(client);
    consumer.close(vec![Commit { assignment, offset: 1 }], CLOSE_PATIENCE).await;
    assert_eq!(topic.committed(topic.name()), 1);
}
