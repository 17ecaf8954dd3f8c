//! What `/readyz` looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use platform::health::{Condition, Health};
use platform::kafka::reachability::Reachability;
use prometheus::IntGauge;
use store::Database;
use store::readiness::DatabaseState;
use tokio::sync::watch;

use crate::deliveries::metrics::DeliveryMetrics;
use crate::metrics::ListenerMetrics;

/// From so many tries in vain on it is said that no batch can be delivered.
const FAILING: i64 = 5;

/// Whether the groups were joined for the first time.
#[derive(Clone, Default)]
pub(crate) struct Joined {
    pub(crate) stamps: Arc<AtomicBool>,
    pub(crate) messages: Arc<AtomicBool>,
    /// Whether Kafka has refused, or not answered for so long that a listener is ready without it.
    pub(crate) waited_enough: Arc<AtomicBool>,
}

/// Returns the listener's health.
///
/// * `kafka`, `database`: what was seen of the servers last.
/// * `troubled`: any of the process's pools.
pub(crate) fn health(
    kafka: &watch::Receiver<Reachability>,
    database: watch::Receiver<DatabaseState>,
    troubled: Database,
    joined: &Joined,
    metrics: &ListenerMetrics,
) -> Health {
    let stall = metrics.stall.clone();
    let group = "the consumer group has not been joined yet";
    let group_of_messages = "the consumer group of messages has not been joined yet";
    Health::new(kafka.clone())
        .require(Box::new(move || database.borrow().reason()))
        .require(not_yet(metrics, &joined.stamps, &joined.waited_enough, group))
        .require(not_yet(metrics, &joined.messages, &joined.waited_enough, group_of_messages))
        .desire(not_joined(&joined.stamps, group))
        .desire(not_joined(&joined.messages, group_of_messages))
        .desire(Box::new(move || troubled.trouble()))
        .desire(Box::new(move || stall.reason()))
        .desire(any_of(&metrics.refused, |_| {
            "Kafka refuses to let topics be read or a group be joined; the log names the right".to_owned()
        }))
        .desire(any_of(&metrics.poisoned, |partitions| {
            format!("too many records of {partitions} partitions become dead letters")
        }))
        .desire(any_of(&metrics.unreadable, |_| {
            "a partition stands still at a batch that can't be decoded".to_owned()
        }))
        .desire(any_of(&metrics.held_back, |partitions| {
            format!("an open transaction of another producer holds back records of {partitions} partitions")
        }))
        .desire(failing(&metrics.deliveries))
        .desire(any_of(&metrics.silent, |partitions| {
            format!("{partitions} partitions have records of which none comes")
        }))
}

/// Waits for a group, unless Kafka refuses or has been waited for long enough: what is overdue leaves without Kafka.
fn not_yet(
    metrics: &ListenerMetrics,
    joined: &Arc<AtomicBool>,
    waited_enough: &Arc<AtomicBool>,
    what: &'static str,
) -> Condition {
    let (refused, waited_enough) = (metrics.refused.clone(), Arc::clone(waited_enough));
    let not_joined = not_joined(joined, what);
    Box::new(move || {
        // A refusal that ends is no reason to be of no use again.
        if refused.get() > 0 {
            waited_enough.store(true, Ordering::Release);
        }
        if waited_enough.load(Ordering::Acquire) { None } else { not_joined() }
    })
}

fn not_joined(joined: &Arc<AtomicBool>, what: &'static str) -> Condition {
    let joined = Arc::clone(joined);
    Box::new(move || (!joined.load(Ordering::Acquire)).then(|| what.to_owned()))
}

/// Complains while no batch can be delivered.
fn failing(metrics: &DeliveryMetrics) -> Condition {
    let metrics = metrics.clone();
    Box::new(move || {
        let (failing, waiting) = (metrics.failing.get(), metrics.waiting.get());
        (failing >= FAILING && waiting > 0).then(|| {
            format!("the last {failing} tries to deliver a batch were in vain, and {waiting} wait; `queue-listener deliveries list` says why")
        })
    })
}

/// Complains while a gauge counts anything.
fn any_of(gauge: &IntGauge, complaint: fn(i64) -> String) -> Condition {
    let gauge = gauge.clone();
    Box::new(move || (gauge.get() > 0).then(|| complaint(gauge.get())))
}
