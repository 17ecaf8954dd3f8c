//! Publishes dead letters once more, with what they are replays of in their headers.

use chrono::{DateTime, Utc};
use domain::record::replay::{OFFSET, PARTITION, REPLAYS, TIMESTAMP, TOPIC};
use domain::record::text::to_bytes;
use futures_util::future::join_all;
use platform::kafka::KafkaSettings;
use platform::kafka::producer::producer_config;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use store::clock::{Clock as _, PostgresClock};
use store::dead_letters::queries::{LetterSummary, WholeLetter};

/// A producer for replays.
pub(super) struct ReplayPublisher {
    producer: FutureProducer,
    clock: PostgresClock,
}

impl ReplayPublisher {
    /// Makes a producer.
    ///
    /// # Errors
    /// If the client can't be made.
    pub(super) fn new(kafka: &KafkaSettings, clock: PostgresClock) -> KafkaResult<Self> {
        Ok(Self { producer: config(kafka).create()?, clock })
    }

    /// Makes a producer and drops it.
    ///
    /// # Errors
    /// If the client can't be made.
    pub(super) fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
        config(kafka).create::<FutureProducer>().map(drop)
    }

    /// Publishes dead letters and waits until Kafka has decided on all.
    pub(super) async fn publish(&self, letters: &[WholeLetter]) -> Vec<KafkaResult<()>> {
        let mut delivered = join_all(letters.iter().map(|letter| self.send(letter))).await;
        for (letter, delivered) in letters.iter().zip(&mut delivered) {
            // The limit of a topic is for records that are sent together: alone it may fit.
            if code(delivered) == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                *delivered = self.send(letter).await;
            }
        }
        delivered
    }

    /// Hands a dead letter to the producer at once, and tells later what became of it.
    fn send(&self, letter: &WholeLetter) -> impl Future<Output = KafkaResult<()>> + use<> {
        let delivery =
            self.producer.send_result(record(letter, self.clock.now())).map_err(|(error, _)| error);
        async {
            match delivery?.await {
                Ok(delivered) => delivered.map(drop).map_err(|(error, _)| error),
                Err(_canceled) => Err(KafkaError::Canceled),
            }
        }
    }
}

fn config(kafka: &KafkaSettings) -> ClientConfig {
    let mut config = producer_config(kafka, &[]);
    config
        .set("message.timeout.ms", "30000")
        // What a record may weigh is the broker's to say: it took this one once.
        .set("message.max.bytes", "1000000000")
        // One that came compressed may be too large for its topic otherwise.
        .set("compression.type", "zstd");
    config
}

fn code(delivered: &KafkaResult<()>) -> Option<RDKafkaErrorCode> {
    delivered.as_ref().err().and_then(KafkaError::rdkafka_error_code)
}

fn record(letter: &WholeLetter, now: DateTime<Utc>) -> FutureRecord<'_, [u8], [u8]> {
    FutureRecord {
        topic: &letter.summary.topic,
        partition: None,
        payload: letter.value.as_deref(),
        key: letter.key.as_deref(),
        timestamp: Some(now.timestamp_millis()),
        headers: Some(headers(letter)),
    }
}

/// Returns the record's own headers, then those of the replay: where a name is there twice, the last one counts.
fn headers(letter: &WholeLetter) -> OwnedHeaders {
    let own = letter.headers.as_array().into_iter().flatten();
    let headers = own.fold(OwnedHeaders::new(), |headers, header| {
        // One whose name is no text was not stored, and could not be sent.
        match header["key"].as_str().map(|name| String::from_utf8(to_bytes(name))) {
            Some(Ok(name)) => {
                let value = header["value"].as_str().map(to_bytes);
                headers.insert(Header { key: &name, value: value.as_ref() })
            }
            _ => headers,
        }
    });
    let LetterSummary { topic, partition, offset, timestamp, replays, .. } = &letter.summary;
    headers
        .insert(Header { key: TOPIC, value: Some(topic) })
        .insert(Header { key: PARTITION, value: Some(&partition.to_string()) })
        .insert(Header { key: OFFSET, value: Some(&offset.to_string()) })
        .insert(Header { key: TIMESTAMP, value: Some(&timestamp.to_string()) })
        .insert(Header { key: REPLAYS, value: Some(&replays.to_string()) })
}

/// Tells whether an error says that Kafka is away, so that trying the next record is in vain too.
pub(super) fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, Fatal, MessageTimedOut};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | Fatal | MessageTimedOut))
}
