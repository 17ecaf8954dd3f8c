//! A Kafka record as a client hands it over, whatever it holds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::coordinates::Coordinates;
use super::dead_letter::DeadLetter;
use super::reason::Reason;
use super::rejection::Rejection;
use super::text::to_text;
use crate::trace::{TRACEPARENT, TraceContext};

/// How often a record is tried whose decoding panics.
const ATTEMPTS: usize = 3;

/// A Kafka record that was read, borrowed from the client that read it.
#[derive(Debug, Clone)]
pub struct KafkaRecord<'a> {
    /// Topic of the record.
    pub topic: &'a str,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record in its partition.
    pub offset: i64,
    /// Timestamp of the record in milliseconds since 1970; -1 if it has none.
    pub timestamp: i64,
    /// Key of the record, if it has one.
    pub key: Option<&'a [u8]>,
    /// Value of the record, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers of the record in their order; `None` for a header whose name is no text.
    pub headers: Vec<Option<Header<'a>>>,
}

/// A header of a record.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// Name of the header.
    pub name: &'a str,
    /// Value of the header, if it has one.
    pub value: Option<&'a [u8]>,
}

impl KafkaRecord<'_> {
    /// Returns where the record was read.
    pub fn coordinates(&self) -> Coordinates {
        let Self { topic, partition, offset, timestamp, .. } = *self;
        Coordinates { topic: topic.to_owned(), partition, offset, timestamp }
    }

    /// Returns where the record was asked for, by its header `traceparent`. Of several the first one counts.
    pub fn trace(&self) -> Option<TraceContext> {
        let named = |header: &&Header<'_>| header.name == TRACEPARENT;
        TraceContext::parse(self.headers.iter().flatten().find(named)?.value?)
    }

    /// Returns the record as a dead letter, with a reason and a sentence for people.
    pub fn dead_letter(&self, reason: Reason, detail: &str) -> DeadLetter {
        DeadLetter {
            coordinates: self.coordinates(),
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.iter().map(|header| shown(header.as_ref())).collect(),
            reason,
            detail: detail.to_owned(),
        }
    }
}

/// Returns a header as a dead letter keeps it: `{"key": …, "value": …}`, two nulls for one whose name is no text.
fn shown(header: Option<&Header<'_>>) -> Value {
    match header {
        Some(Header { name, value }) => json!({"key": to_text(name.as_bytes()), "value": value.map(to_text)}),
        None => json!({"key": null, "value": null}),
    }
}

/// Returns the time that a record's timestamp names, `None` for -1, which stands for none.
pub fn time_of(timestamp: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(timestamp).filter(|_| timestamp != -1)
}

/// Decodes what may panic, a few times; if it always does, that is why the record is refused.
///
/// # Errors
/// What `decode` fails with, or [`Reason::Panicked`].
pub fn guarded<T>(decode: impl Fn() -> Result<T, Rejection>) -> Result<T, Rejection> {
    (0..ATTEMPTS).find_map(|_| catch_unwind(AssertUnwindSafe(&decode)).ok()).unwrap_or_else(|| {
        let detail = "Decoding it ended in a panic, three times; the log has the place.";
        Err(Rejection::new(Reason::Panicked, detail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_every_time_is_given_up_and_what_recovers_is_not() {
        let tries = std::cell::Cell::new(0);
        let failing_until = |success: i32| {
            tries.set(0);
            guarded(|| {
                tries.set(tries.get() + 1);
                assert!(tries.get() >= success, "deliberate");
                Ok(())
            })
        };
        assert_eq!(failing_until(3), Ok(()));
        let given_up = failing_until(4).expect_err("it always panics");
        assert_eq!((given_up.reason(), tries.get()), (Reason::Panicked, 3));
    }

    #[test]
    fn only_minus_one_stands_for_no_time() {
        assert_eq!(time_of(-1), None);
        assert_eq!(time_of(-2).map(|time| time.timestamp_millis()), Some(-2));
        assert_eq!(time_of(0).map(|time| time.timestamp_millis()), Some(0));
        assert_eq!(time_of(i64::MAX), None, "no calendar has it");
    }
}
