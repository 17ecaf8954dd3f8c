//! A Kafka record as the pipeline takes it: a stamp that was understood, or a dead letter.

use chrono::{DateTime, Utc};
use domain::batch::Position;
use domain::batch::pending::Message;
use domain::event;
use platform::postgres::dead_letters::DeadLetter;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use serde_json::json;

/// A record that was read.
#[derive(Debug)]
pub(crate) enum Record {
    /// It holds a stamp.
    Stamp(Message),
    /// It can't be understood.
    Dead(Position, Box<DeadLetter>),
}

impl Record {
    /// Decodes a record that was read during an assignment.
    pub(crate) fn decode(record: &BorrowedMessage<'_>, assignment: u32, now: DateTime<Utc>) -> Self {
        let position = Position { partition: record.partition(), assignment, offset: record.offset() };
        let timestamp = record.timestamp().to_millis();
        let recorded = timestamp.and_then(DateTime::from_timestamp_millis);
        match event::decode(record.payload(), recorded, now) {
            Ok(stamp) => Self::Stamp(Message { stamp, position }),
            Err(rejection) => {
                let letter = DeadLetter {
                    topic: record.topic().to_owned(),
                    partition: record.partition(),
                    offset: record.offset(),
                    timestamp: timestamp.unwrap_or(-1),
                    key: record.key().map(<[u8]>::to_vec),
                    value: record.payload().map(<[u8]>::to_vec),
                    headers: headers(record),
                    reason: rejection.reason().as_str().to_owned(),
                    detail: rejection.detail().to_owned(),
                };
                Self::Dead(position, Box::new(letter))
            }
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Stamp(_) => 128,
            Self::Dead(_, letter) => 256 + letter.value.as_ref().map_or(0, Vec::len),
        }
    }
}

fn headers(record: &BorrowedMessage<'_>) -> serde_json::Value {
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| json!({"key": text(header.key.as_bytes()), "value": header.value.map(text)}))
        .collect()
}

/// Bytes as PostgreSQL's text can hold them: those that are no text, or hold a NUL, as `\x…` in hex.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => bytes.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        assert_eq!(text(b"plain"), "plain");
        assert_eq!(text(&[0xff, 0x00]), "\\xff00");
        assert_eq!(text(b"a\0b"), "\\x610062");
    }
}
