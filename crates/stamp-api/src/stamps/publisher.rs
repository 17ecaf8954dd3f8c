//! What hands the outbox's events to Kafka.
//!
//! Two producers. One packs many events into a batch, as many as come while the previous one is under way. A broker
//! judges a batch as a whole, though, and refuses it for its size or for one of its records; so what was refused goes
//! to the other producer, which sends each event in a batch of its own, and only the culprit is refused again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::outbox::{OutboxEvent, Publication};
use domain::stamp::Stamp;
use domain::stamp::event;
use platform::kafka::KafkaSettings;
use platform::kafka::producer::{PROMPT, producer_config, traceparent};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use store::clock::Clock;
use tokio::sync::Notify;

use super::outbox::Outbox;

/// How long to wait while the producer's queue is full.
const FULL: Duration = Duration::from_millis(20);
/// How long to wait while the producer takes nothing for another reason.
const FAILED: Duration = Duration::from_millis(200);
/// Refused events that are named in the log between two calms: a broker that refuses everything fills no disk.
const NAMED: usize = 20;

/// The acknowledgements that somebody waits for.
#[derive(Debug)]
struct Outstanding {
    left: AtomicUsize,
    failed: AtomicBool,
    done: Notify,
}

impl Outstanding {
    fn delivered(&self, success: bool) {
        if !success {
            self.failed.store(true, Ordering::Release);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// An event with whoever is told what became of it.
enum Delivery {
    Outbox(Publication<Stamp>),
    Awaited(Stamp, Arc<Outstanding>),
}

impl Delivery {
    fn stamp(&self) -> &Stamp {
        match self {
            Self::Outbox(publication) => &publication.payload,
            Self::Awaited(stamp, _) => stamp,
        }
    }
}

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
        self.send(Delivery::Outbox(publication)).await;
    }

    async fn send(&self, delivery: Delivery) {
        let value = event::encode(delivery.stamp());
        let key = delivery.stamp().object_cid().clone();
        let mut delivery = Box::new(delivery);
        loop {
            let headers =
                OwnedHeaders::new().insert(Header { key: "traceparent", value: Some(&traceparent()) });
            let record = BaseRecord::with_opaque_to(&self.topic, delivery)
                .key(key.as_str())
                .payload(value.as_slice())
                // Brokers refuse a time that is an hour ahead of theirs, and delete by it what is old.
                .timestamp(self.clock.now().timestamp_millis())
                .headers(headers);
            let producer = self.current();
            let Err((error, back)) = producer.send(record) else { return };
            delivery = back.delivery_opaque;
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => tokio::time::sleep(FULL).await,
                // The client knows by itself that no broker would take it.
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    return producer.context().decided(Err(&error), *delivery);
                }
                _ => {
                    tracing::warn!(error = error.to_string(), "the producer takes no events");
                    tokio::time::sleep(FAILED).await;
                    self.replace_if_failed(&producer);
                }
            }
        }
    }

    /// Publishes stamps and waits until Kafka has decided on all. Returns whether it took them.
    pub async fn publish_all(&self, stamps: Vec<Stamp>) -> bool {
        if stamps.is_empty() {
            return true;
        }
        let outstanding = Arc::new(Outstanding {
            left: AtomicUsize::new(stamps.len()),
            failed: AtomicBool::new(false),
            done: Notify::new(),
        });
        for stamp in stamps {
            self.send(Delivery::Awaited(stamp, Arc::clone(&outstanding))).await;
        }
        outstanding.done.notified().await;
        !outstanding.failed.load(Ordering::Acquire)
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
    fn decided(&self, result: Result<(), &KafkaError>, delivery: Delivery) {
        match (delivery, result) {
            (Delivery::Awaited(_, outstanding), result) => outstanding.delivered(result.is_ok()),
            (Delivery::Outbox(publication), Ok(())) => {
                self.named.store(0, Ordering::Relaxed);
                let Publication { owner, number, .. } = publication;
                self.outbox.tell(OutboxEvent::Delivered { owner, number });
            }
            (Delivery::Outbox(publication), Err(error)) if is_own_fault(error) => {
                self.outbox.tell(OutboxEvent::Lost(publication));
            }
            (Delivery::Outbox(publication), Err(error)) => {
                self.name(&publication, error);
                self.outbox.tell(OutboxEvent::Refused(publication));
            }
        }
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
                object_cid,
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
        tracing::debug!(error = error.to_string(), reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        self.decided(result.as_ref().map(drop).map_err(|(error, _)| error), *delivery);
    }
}
