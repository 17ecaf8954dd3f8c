//! What hands the outbox's events to Kafka.
//!
//! Two producers. One packs many events into a batch, as many as come while the previous one is under way. A broker
//! judges a batch as a whole, though, and refuses it for its size or for one of its records; so what was refused goes
//! to the other producer, which sends each event in a batch of its own, and only the culprit is refused again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::outbox::{OutboxEvent, Publication};
use domain::stamp::Stamp;
use domain::stamp::event;
use platform::kafka::KafkaSettings;
use platform::kafka::producer::{PROMPT, producer_config, trace_headers};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use store::clock::Clock;

use super::outbox::Outbox;

/// How long to wait while the producer's queue is full.
const FULL: Duration = Duration::from_millis(20);
/// How long to wait while the producer takes nothing for another reason.
const FAILED: Duration = Duration::from_millis(200);
/// Refused events that are named in the log between two calms: a broker that refuses everything fills no disk.
const NAMED: usize = 20;

/// How a producer packs events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As many events in a batch as there are.
    Together,
    /// Each event in a batch of its own.
    Alone,
}

/// A producer, made anew when it has failed for good.
pub struct Publisher {
    kafka: KafkaSettings,
    topic: String,
    packing: Packing,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    producer: Mutex<Arc<ThreadedProducer<Deliveries>>>,
}

impl Publisher {
    /// Makes a producer.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn new(
        kafka: KafkaSettings,
        topic: String,
        packing: Packing,
        outbox: Arc<Outbox>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KafkaError> {
        let producer = Mutex::new(Arc::new(Self::producer(&kafka, packing, &outbox)?));
        Ok(Self { kafka, topic, packing, outbox, clock, producer })
    }

    /// Makes a producer and drops it.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
        config(kafka, Packing::Together).create::<BaseProducer>().map(drop)
    }

    fn producer(
        kafka: &KafkaSettings,
        packing: Packing,
        outbox: &Arc<Outbox>,
    ) -> Result<ThreadedProducer<Deliveries>, KafkaError> {
        let deliveries = Deliveries { outbox: Arc::clone(outbox), named: AtomicUsize::new(0) };
        config(kafka, packing).create_with_context(deliveries)
    }

    fn current(&self) -> Arc<ThreadedProducer<Deliveries>> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands an event of the outbox to the producer, waiting while its queue is full. The outbox is told what became of
    /// it.
    pub async fn publish(&self, publication: Publication<Stamp>) {
        let value = event::encode(&publication.payload);
        let key = publication.payload.object_cid().clone();
        let mut publication = Box::new(publication);
        loop {
            let headers = trace_headers(publication.payload.trace());
            let record = BaseRecord::with_opaque_to(&self.topic, publication)
                .key(key.as_str())
                .payload(value.as_slice())
                // Brokers refuse a time that is an hour ahead of theirs, and delete by it what is old.
                .timestamp(self.clock.now().timestamp_millis())
                .headers(headers);
            let producer = self.current();
            let Err((error, back)) = producer.send(record) else { return };
            publication = back.delivery_opaque;
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => tokio::time::sleep(FULL).await,
                // The client knows by itself that no broker would take it.
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    return producer.context().decided(Err(&error), *publication);
                }
                _ => {
                    tracing::warn!(error = error.to_string(), "the producer takes no events");
                    tokio::time::sleep(FAILED).await;
                    self.replace_if_failed(&producer);
                }
            }
        }
    }

    /// Replaces a producer that a fatal error has ended (KIP-360); what it had not delivered fails with it and
    /// is published again.
    fn replace_if_failed(&self, failed: &Arc<ThreadedProducer<Deliveries>>) {
        if failed.client().fatal_error().is_none() {
            return;
        }
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match Self::producer(&self.kafka, self.packing, &self.outbox) {
            Ok(producer) => {
                tracing::warn!("the producer failed for good; a new one takes its place");
                *current = Arc::new(producer);
            }
            Err(error) => tracing::error!(error = error.to_string(), "no new producer can be made"),
        }
    }

    /// Waits until Kafka has everything, for so long at most. Blocks.
    pub fn flush(&self, limit: Duration) {
        if let Err(error) = self.current().flush(limit) {
            tracing::warn!(
                error = error.to_string(),
                "not everything reached Kafka; the outbox keeps the rest"
            );
        }
    }
}

fn config(kafka: &KafkaSettings, packing: Packing) -> ClientConfig {
    let mut config = producer_config(kafka, &PROMPT);
    // The outbox keeps an event for as long as Kafka is away, so it is never given up.
    config.set("message.timeout.ms", "0");
    if packing == Packing::Alone {
        config.set("batch.num.messages", "1");
    }
    config
}

/// What is told of every acknowledgement, on the producer's thread.
struct Deliveries {
    outbox: Arc<Outbox>,
    /// How many refused events the log has named since Kafka last took one.
    named: AtomicUsize,
}

impl Deliveries {
    fn decided(&self, result: Result<(), &KafkaError>, publication: Publication<Stamp>) {
        let event = match result {
            Ok(()) => {
                self.named.store(0, Ordering::Relaxed);
                OutboxEvent::Delivered { owner: publication.owner, number: publication.number }
            }
            Err(error) if is_own_fault(error) => OutboxEvent::Lost(publication),
            Err(error) => {
                self.name(&publication, error);
                OutboxEvent::Refused(publication)
            }
        };
        self.outbox.tell(event);
    }

    /// Names the culprit in the log; of a batch nobody, since any of its events may be the culprit.
    fn name(&self, publication: &Publication<Stamp>, error: &KafkaError) {
        if !publication.alone {
            return;
        }
        let named = self.named.fetch_add(1, Ordering::Relaxed);
        if named < NAMED {
            let object_cid = publication.payload.object_cid().as_str();
            tracing::warn!(
                stamp.object_cid = object_cid,
                error = error.to_string(),
                "Kafka refuses an event; it is tried again and again"
            );
        } else if named == NAMED {
            tracing::warn!("Kafka refuses further events; stamp_api_outbox_refused counts them");
        }
    }
}

/// Tells whether the client itself gave an event up, as when it failed for good: its own codes are negative.
fn is_own_fault(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_none_or(|code| (code as i32) < 0)
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), kafka.reason = reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Publication<Stamp>>;

    fn delivery(&self, result: &DeliveryResult<'_>, publication: Box<Publication<Stamp>>) {
        self.decided(result.as_ref().map(drop).map_err(|(error, _)| error), *publication);
    }
}
