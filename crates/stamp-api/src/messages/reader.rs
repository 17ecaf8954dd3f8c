//! Reads a topic from where it is stored to where it ends, in no group.

use std::collections::HashMap;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use domain::message::record::{MessageRecord, Recipients};
use domain::record::{Coordinates, KafkaRecord};
use platform::kafka::producer::Quiet;
use platform::kafka::refusal::takes_an_operator;
use platform::kafka::{KafkaSettings, record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

/// How long anything may stand still: the queue, Kafka, the database. A client is told within 2 s.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_800);
/// Records that are stored together.
const CHUNK: usize = 500;
/// The most bytes of records that are stored together; a chunk has one record at least, whatever its size.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The pause between two looks at a topic that has just been made and has no leader yet.
const PAUSE: Duration = Duration::from_millis(20);

/// A topic that was not read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The consumer can't be made, or Kafka reports an error.
    #[error("the topic can't be read")]
    Kafka(#[from] KafkaError),
    /// Nothing came from Kafka.
    #[error("Kafka did not answer in time (the last error was {last:?})")]
    Silence {
        /// What the client reported meanwhile; it goes on trying by itself.
        last: Option<KafkaError>,
    },
    /// There was more in the topic than can be stored in the time.
    #[error("the topic was not read to its end in time")]
    TooLong,
}

/// A consumer that reads one topic after the other.
pub(super) struct TopicReader {
    consumer: BaseConsumer<Quiet>,
    readings: usize,
}

/// The partitions of a topic, each with the offsets that it has.
type Ends = Vec<(i32, Range<i64>)>;

/// The rest of a partition that is still to be read.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    /// The record to begin with, if that is the one that is stored.
    stored: Option<Coordinates>,
    /// The first offset that the partition has.
    low: i64,
    /// The first offset that the partition did not have when the reading began.
    high: i64,
}

impl TopicReader {
    /// Makes a consumer; connections are opened when they are needed.
    ///
    /// # Errors
    /// If the client can't be made.
    pub(super) fn new(kafka: &KafkaSettings) -> KafkaResult<Self> {
        let consumer = kafka
            .client_config_with(&[
                // A request that waits at the end of one topic holds the next one up.
                ("fetch.wait.max.ms", "10"),
                ("reconnect.backoff.ms", "50"),
                ("queued.min.messages", "1000"),
                ("queued.max.messages.kbytes", "8192"),
            ])
            // librdkafka wants a name before it assigns anything. Nobody joins a group and nothing is committed.
            .set("group.id", "stamp-api-check")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // What retention removes meanwhile is not waited for.
            .set("auto.offset.reset", "earliest")
            .create_with_context(Quiet)?;
        Ok(Self { consumer, readings: 0 })
    }

    /// Returns how many topics the consumer was asked to read.
    pub(super) fn readings(&self) -> usize {
        self.readings
    }

    /// Begins to read a topic: all that is there now and not `stored`. Returns `None` if there is no such topic.
    ///
    /// # Errors
    /// If Kafka does not say within the time what there is.
    pub(super) fn begin(
        &mut self,
        topic: &str,
        recipients: Recipients,
        stored: &[Coordinates],
        deadline: Instant,
    ) -> Result<Option<TopicReading<'_>>, Unread> {
        self.readings += 1;
        let Some(ends) = self.ends(topic, deadline)? else { return Ok(None) };
        let mut spans = HashMap::new();
        let mut assignment = TopicPartitionList::new();
        for (partition, offsets) in ends.into_iter().filter(|(_, offsets)| !offsets.is_empty()) {
            let stored = stored.iter().find(|stored| stored.partition == partition);
            let span = Span::new(stored.cloned(), offsets);
            assignment.add_partition_offset(topic, partition, Offset::Offset(span.first()))?;
            spans.insert(partition, span);
        }
        self.consumer.assign(&assignment)?;
        let consumer = &self.consumer;
        Ok(Some(TopicReading { consumer, topic: topic.to_owned(), recipients, spans, deadline }))
    }

    /// Returns what each partition has, `None` if there is no such topic.
    fn ends(&self, topic: &str, deadline: Instant) -> Result<Option<Ends>, Unread> {
        loop {
            match self.ends_now(topic, deadline) {
                Ok(ends) => return Ok(ends),
                Err(error) if refuses(&error) => return Err(error.into()),
                Err(error) if Instant::now() + PAUSE >= deadline => {
                    return Err(Unread::Silence { last: Some(error) });
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn ends_now(&self, topic: &str, deadline: Instant) -> KafkaResult<Option<Ends>> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let metadata = self.consumer.fetch_metadata(Some(topic), left())?;
        let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic);
        let found = metadata.topics().first().ok_or(unknown)?;
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
        }
        // An offset for a time, of which these two are special ones: all partitions in one question.
        let ask = |time: Offset| {
            let mut times = TopicPartitionList::new();
            for partition in found.partitions() {
                times.add_partition_offset(topic, partition.id(), time)?;
            }
            self.consumer.offsets_for_times(times, left())
        };
        let (lows, highs) = (ask(Offset::Beginning)?, ask(Offset::End)?);
        let offset = |list: &TopicPartitionList, partition: i32| {
            let element = list.find_partition(topic, partition);
            let element = element.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition))?;
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NoOffset)),
            }
        };
        let ids = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id);
        ids.map(|id| Ok((id, offset(&lows, id)?..offset(&highs, id)?))).collect::<KafkaResult<_>>().map(Some)
    }
}

/// Tells whether waiting for Kafka is in vain.
pub(super) fn refuses(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(takes_an_operator)
}

/// A topic that is being read. Dropped, the reading leaves the consumer free for another one.
pub(super) struct TopicReading<'r> {
    consumer: &'r BaseConsumer<Quiet>,
    topic: String,
    recipients: Recipients,
    /// The partitions that are not read to their end, by number.
    spans: HashMap<i32, Span>,
    /// The time by which something has to come.
    deadline: Instant,
}

impl TopicReading<'_> {
    /// Returns the next records, those of a partition in their order; none at the end.
    ///
    /// # Errors
    /// If nothing comes for too long, or the topic is not all read by `end`.
    pub(super) fn next_chunk(&mut self, end: Instant) -> Result<Vec<MessageRecord>, Unread> {
        let (mut chunk, mut bytes, mut last) = (Vec::new(), 0, None);
        while !self.spans.is_empty() && chunk.len() < CHUNK && bytes < CHUNK_BYTES {
            let now = Instant::now();
            if now >= end {
                return Err(Unread::TooLong);
            }
            if now >= self.deadline {
                return Err(Unread::Silence { last });
            }
            match self.consumer.poll(self.deadline.min(end) - now) {
                None => continue,
                Some(Ok(record)) => {
                    if let Some(record) = self.take(&record::read(&record))? {
                        bytes += record.size();
                        chunk.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.reached_end(partition)?,
                Some(Err(error)) if refuses(&error) => return Err(error.into()),
                // Whatever can be mended, the client mends by itself.
                Some(Err(error)) => {
                    last = Some(error);
                    continue;
                }
            }
            self.deadline = Instant::now() + PATIENCE;
        }
        // While a chunk is stored nothing is asked of Kafka.
        self.deadline = Instant::now() + PATIENCE;
        Ok(chunk)
    }

    /// Returns the record if it is to be stored.
    fn take(&mut self, record: &KafkaRecord<'_>) -> KafkaResult<Option<MessageRecord>> {
        let KafkaRecord { topic, partition, offset, timestamp, .. } = *record;
        let Some(span) = self.spans.get_mut(&partition).filter(|_| topic == self.topic) else {
            return Ok(None);
        };
        let found = span.look_at(offset, timestamp);
        if offset + 1 >= span.high && found != Found::Another {
            self.spans.remove(&partition);
        }
        match found {
            Found::New => Ok(Some(MessageRecord::decode(record, self.recipients))),
            Found::Another => self.rewind(partition).map(|()| None),
            Found::Stored | Found::Beyond => Ok(None),
        }
    }

    /// Takes note that there are no more records, though there may be offsets: markers of transactions have some, and
    /// what a compaction removed.
    fn reached_end(&mut self, partition: i32) -> KafkaResult<()> {
        match self.spans.get_mut(&partition).map(|span| span.stored.take()) {
            Some(Some(_not_found)) => self.rewind(partition),
            Some(None) => {
                self.spans.remove(&partition);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Goes back to the first record of a partition: the stored one is not where it was, so all records may be new.
    fn rewind(&self, partition: i32) -> KafkaResult<()> {
        let low = self.spans.get(&partition).map_or(Offset::Beginning, |span| Offset::Offset(span.low));
        self.consumer.seek(&self.topic, partition, low, PATIENCE)
    }
}

impl Drop for TopicReading<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::warn!(error = error.to_string(), "a topic that was checked can't be let go");
        }
        // What was fetched ahead is not for the next reading.
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }
}

/// What a record is for a span.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The record to begin with, which is stored.
    Stored,
    /// Not the record to begin with: the topic was deleted and recreated, or it was compacted.
    Another,
    /// A record to be stored.
    New,
    /// A record that came later than the request.
    Beyond,
}

impl Span {
    fn new(stored: Option<Coordinates>, offsets: Range<i64>) -> Self {
        // What lies outside was removed by retention, or was in a topic that was longer.
        let stored = stored.filter(|stored| offsets.contains(&stored.offset));
        Self { stored, low: offsets.start, high: offsets.end }
    }

    /// Returns the offset to begin with.
    fn first(&self) -> i64 {
        self.stored.as_ref().map_or(self.low, |stored| stored.offset)
    }

    fn look_at(&mut self, offset: i64, timestamp: i64) -> Found {
        match self.stored.take() {
            Some(stored) if (stored.offset, stored.timestamp) == (offset, timestamp) => Found::Stored,
            Some(_) if offset > self.low => Found::Another,
            _ if offset >= self.high => Found::Beyond,
            _ => Found::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(stored: Option<(i64, i64)>) -> Span {
        let topic = "t".to_owned();
        let stored = stored.map(|(offset, timestamp)| Coordinates { topic, partition: 0, offset, timestamp });
        Span::new(stored, 10..20)
    }

    #[test]
    fn a_partition_is_read_from_its_stored_record_if_that_is_still_there() {
        for (stored, first, why) in [
            (None, 10, "nothing is stored"),
            (Some((10, 7)), 10, "the first one"),
            (Some((19, 7)), 19, "the last one"),
            (Some((9, 7)), 10, "retention has removed it"),
            (Some((20, 7)), 10, "the topic was longer, so it was another one"),
        ] {
            assert_eq!(span(stored).first(), first, "{why}");
        }
    }

    #[test]
    fn only_the_very_record_that_is_stored_is_passed_over() {
        for (stored, record, found, why) in [
            (None, (10, 7), Found::New, "nothing is stored"),
            (None, (19, 7), Found::New, "the last one of the time of the request"),
            (None, (20, 7), Found::Beyond, "one that came later"),
            (Some((15, 7)), (15, 7), Found::Stored, "that one"),
            (Some((15, 7)), (15, 8), Found::Another, "another one in its place"),
            (Some((15, 7)), (16, 7), Found::Another, "it is gone"),
            (Some((15, 7)), (25, 7), Found::Another, "it is gone, and so is all the rest"),
            (Some((10, 7)), (10, 8), Found::New, "another one, with which the partition begins"),
        ] {
            assert_eq!(span(stored).look_at(record.0, record.1), found, "{why}");
        }
        let mut again = span(Some((15, 7)));
        assert_eq!(again.look_at(15, 8), Found::Another);
        assert_eq!(again.look_at(10, 8), Found::New, "the second time everything is new");
    }
}
