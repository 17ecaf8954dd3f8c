//! A Kafka record, whatever it holds: as a dead letter, its headers, and decoding that survives a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::record::{Reason, Rejection};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _};
use serde_json::{Value, json};

use super::text::to_text;
use crate::postgres::dead_letters::DeadLetter;

/// How often a record is tried whose decoding panics.
const ATTEMPTS: usize = 3;

/// Decodes what may panic, a few times; if it always does, that is why the record is refused.
pub fn guarded<T>(decode: impl Fn() -> Result<T, Rejection>) -> Result<T, Rejection> {
    (0..ATTEMPTS).find_map(|_| catch_unwind(AssertUnwindSafe(&decode)).ok()).unwrap_or_else(|| {
        let detail = "Decoding it ended in a panic, three times; the log has the place.";
        Err(Rejection::new(Reason::Panicked, detail))
    })
}

/// Returns a record as a dead letter, with a short code and a sentence for people.
pub fn dead_letter(record: &BorrowedMessage<'_>, reason: &str, detail: &str) -> DeadLetter {
    DeadLetter {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis().unwrap_or(-1),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers: headers(record),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

/// The headers in their order. One whose name is no text is shown as two nulls: the client library panics instead of
/// handing it out.
fn headers(record: &BorrowedMessage<'_>) -> Value {
    let shown = |header: Option<Header<'_, &[u8]>>| match header {
        Some(Header { key, value }) => json!({"key": to_text(key.as_bytes()), "value": value.map(to_text)}),
        None => json!({"key": null, "value": null}),
    };
    each_header(record).map(shown).collect()
}

/// The headers in their order, `None` for one whose name is no text.
pub fn each_header<'a>(
    record: &'a BorrowedMessage<'_>,
) -> impl Iterator<Item = Option<Header<'a, &'a [u8]>>> {
    let headers = record.headers();
    let count = headers.map_or(0, rdkafka::message::Headers::count);
    (0..count).map(move |index| catch_unwind(AssertUnwindSafe(|| headers?.try_get(index))).ok().flatten())
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
}
