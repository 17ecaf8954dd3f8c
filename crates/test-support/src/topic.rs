//! A topic for one test, deleted at the end.

use std::time::{Duration, Instant};

use domain::message::topic_of;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::patience::eventually;
use crate::stack::stack;

const LIMIT: Duration = Duration::from_secs(10);

/// A topic of one's own.
pub struct TestTopic {
    name: String,
    servers: String,
    producer: BaseProducer,
}

/// A record as a fresh consumer reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record in its partition.
    pub offset: i64,
    /// When the record was made, by its own word or the broker's, in milliseconds since 1970.
    pub timestamp: i64,
    /// Key of the record, if it has one.
    pub key: Option<Vec<u8>>,
    /// Value of the record, if it has one.
    pub value: Option<Vec<u8>>,
}

impl TestTopic {
    /// Makes a topic with so many partitions.
    pub async fn new(partitions: i32) -> Self {
        Self::unmade().made(partitions).await
    }

    /// Makes the topic of one user, named by their uuid, with one partition.
    pub async fn of_user(user: Uuid) -> Self {
        Self::unmade_of_user(user).made(1).await
    }

    /// Returns the topic of one user, that somebody else makes.
    pub fn unmade_of_user(user: Uuid) -> Self {
        Self::unmade_with_name(topic_of(user))
    }

    /// Tells whether the topic is there.
    pub fn exists(&self) -> bool {
        let consumer: BaseConsumer = self.config().create().expect("a client");
        let all = consumer.fetch_metadata(None, LIMIT).expect("Kafka answers");
        all.topics().iter().any(|topic| topic.name() == self.name)
    }

    /// Makes a topic with a name that means something.
    pub async fn named(name: &str, partitions: i32) -> Self {
        Self::unmade_with_name(name.to_owned()).made(partitions).await
    }

    /// Makes a topic on another Kafka than the test stack's.
    pub async fn on(servers: &str, partitions: i32) -> Self {
        Self::unmade_on(servers.to_owned(), format!("test-{}", Uuid::new_v4())).made(partitions).await
    }

    async fn made(self, partitions: i32) -> Self {
        let retention = Duration::from_hours(14 * 24).as_millis().to_string();
        self.make(partitions, &[("retention.ms", &retention)]).await;
        self
    }

    async fn make(&self, partitions: i32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let made = admin.create_topics(&[new], &AdminOptions::new()).await.expect("Kafka answers");
        made[0].as_ref().expect("a topic of one's own");
    }

    /// Makes a topic of one partition with settings of its own.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let topic = Self::unmade();
        topic.make(1, settings).await;
        topic
    }

    /// Gives the topic one setting and all others their default.
    pub async fn set(&self, name: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let setting = AlterConfig::new(ResourceSpecifier::Topic(&self.name)).set(name, value);
        let altered = admin.alter_configs([&setting], &AdminOptions::new()).await.expect("Kafka answers");
        altered[0].as_ref().expect("the topic takes the setting");
    }

    /// Deletes the topic and makes it again under the same name, empty.
    pub async fn make_again(&self, partitions: i32) {
        self.delete().await;
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new();
        let make = || async { admin.create_topics([&new], &options).await.expect("Kafka answers").remove(0) };
        eventually("the old topic is gone and the new one made", make, Result::is_ok).await.expect("made");
    }

    /// Deletes the records that a partition holds, as its retention does.
    pub async fn delete_records(&self, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(&self.name, partition, Offset::End).expect("an offset");
        }
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        admin.delete_records(&all, &options).await.expect("Kafka deletes the records");
    }

    /// Returns a name for a topic that somebody else makes.
    pub fn unmade() -> Self {
        Self::unmade_with_name(format!("test-{}", Uuid::new_v4()))
    }

    fn unmade_with_name(name: String) -> Self {
        Self::unmade_on(stack().kafka_bootstrap_servers.clone(), name)
    }

    fn unmade_on(servers: String, name: String) -> Self {
        let producer = producer_config(&servers).create().expect("a producer");
        Self { name, servers, producer }
    }

    fn config(&self) -> ClientConfig {
        config(&self.servers)
    }

    /// Returns the topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Publishes a record and waits until it is queued; [`flush`](Self::flush) waits until Kafka has it.
    pub fn send(&self, key: Option<&str>, value: Option<&[u8]>) {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.name);
        (record.key, record.payload) = (key, value);
        self.send_record(record);
    }

    /// Publishes a record with whatever key, partition, timestamp and headers it has.
    pub fn send_record<K: ToBytes + ?Sized>(&self, mut record: BaseRecord<'_, K, [u8]>) {
        while let Err((_, back)) = self.producer.send(record) {
            record = back;
            self.producer.poll(Duration::from_millis(10));
        }
    }

    /// Waits until Kafka has everything.
    pub fn flush(&self) {
        self.producer.flush(LIMIT).expect("Kafka takes the records");
    }

    /// Publishes a record in a compressed batch of its own, after everything that was sent before, and waits until
    /// Kafka has it.
    pub fn send_compressed(&self, key: &str, value: &[u8]) {
        self.flush();
        let producer: BaseProducer =
            producer_config(&self.servers).set("compression.type", "zstd").create().expect("a producer");
        let record = BaseRecord::to(&self.name).key(key).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("room for one record");
        producer.flush(LIMIT).expect("Kafka takes the record");
    }

    /// Publishes the event of a stamp.
    pub fn send_stamp(&self, object_cid: &str, time_tolerance: i32, created_date: &str) {
        let event = event(object_cid, time_tolerance, created_date);
        self.send(Some(object_cid), Some(event.as_bytes()));
    }

    /// Publishes the event of a stamp to a partition.
    pub fn send_stamp_to(&self, partition: i32, object_cid: &str, time_tolerance: i32, created_date: &str) {
        let event = event(object_cid, time_tolerance, created_date);
        let record = BaseRecord::to(&self.name).partition(partition).key(object_cid);
        self.send_record(record.payload(event.as_bytes()));
    }

    /// Reads the whole topic with a consumer that belongs to no group.
    pub fn read(&self) -> Vec<ReadRecord> {
        self.read_as(|record| ReadRecord {
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp().to_millis().unwrap_or(-1),
            key: record.key().map(<[u8]>::to_vec),
            value: record.payload().map(<[u8]>::to_vec),
        })
    }

    /// Reads the whole topic with a consumer that belongs to no group, and returns what `read` makes of each record.
    pub fn read_as<T>(&self, read: impl Fn(&BorrowedMessage<'_>) -> T) -> Vec<T> {
        let consumer: BaseConsumer = self.config().set("group.id", "nobody").create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(&self.name), LIMIT).expect("the topic's partitions");
        let mut records = Vec::new();
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = consumer.fetch_watermarks(&self.name, partition.id(), LIMIT).expect("its ends");
            if low == high {
                continue;
            }
            let mut assignment = TopicPartitionList::new();
            assignment
                .add_partition_offset(&self.name, partition.id(), Offset::Offset(low))
                .expect("an offset");
            consumer.assign(&assignment).expect("assigned");
            let started = Instant::now();
            let mut next = low;
            while next < high {
                assert!(started.elapsed() < LIMIT, "partition {} can't be read to its end", partition.id());
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else {
                    continue;
                };
                next = record.offset() + 1;
                records.push(read(&record));
            }
        }
        records
    }

    /// Returns the sum of the offsets that a group has committed; what it has not committed counts as 0.
    pub fn committed(&self, group: &str) -> i64 {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(&self.name), LIMIT).expect("the topic's partitions");
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            partitions.add_partition(&self.name, partition.id());
        }
        let committed = consumer.committed_offsets(partitions, LIMIT).expect("the group's offsets");
        committed
            .elements()
            .iter()
            .filter_map(|element| element.offset().to_raw())
            .filter(|raw| *raw > 0)
            .sum()
    }

    /// Moves a group's offset in partition 0 by hand, as an operator does while no member is there. A member that
    /// could not leave in time is waited for until its session ends.
    pub async fn move_offset(&self, group: &str, offset: i64) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut position = TopicPartitionList::new();
        position.add_partition_offset(&self.name, 0, Offset::Offset(offset)).expect("an offset");
        let commit =
            || async { consumer.commit(&position, CommitMode::Sync).map_err(|error| error.to_string()) };
        eventually("the group takes the offset", commit, Result::is_ok).await.expect("it does");
    }

    /// Deletes the topic.
    pub async fn delete(&self) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        admin.delete_topics(&[&self.name], &options).await.expect("Kafka answers");
    }
}

impl Drop for TestTopic {
    fn drop(&mut self) {
        let (name, config) = (self.name.clone(), self.config());
        let deleted = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let admin: AdminClient<DefaultClientContext> = config.create().expect("an admin client");
            drop(runtime.block_on(admin.delete_topics(&[&name], &AdminOptions::new())));
        });
        // A topic that stays behind harms nobody.
        let _left_behind = deleted.join();
    }
}

fn event(object_cid: &str, time_tolerance: i32, created_date: &str) -> String {
    format!(
        r#"{{"object_cid":"{object_cid}","time_tolerance":{time_tolerance},"created_date":"{created_date}"}}"#
    )
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

/// Returns what producers are made from, for records of any size: what is too large is for the topic to say.
fn producer_config(servers: &str) -> ClientConfig {
    let mut config = config(servers);
    config.set("message.max.bytes", "1000000000");
    config
}
