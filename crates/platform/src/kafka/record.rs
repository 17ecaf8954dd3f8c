//! A Kafka record out of the hands of the client library.

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::record::{Header, KafkaRecord};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};

/// Returns a record as the rest of the project knows it. Nothing of it is copied.
pub fn read<'a>(record: &'a BorrowedMessage<'_>) -> KafkaRecord<'a> {
    KafkaRecord {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis().unwrap_or(-1),
        key: record.key(),
        value: record.payload(),
        headers: headers(record),
    }
}

/// Returns the headers in their order. One whose name is no text is `None`: the client library panics instead of handing
/// it out.
fn headers<'a>(record: &'a BorrowedMessage<'_>) -> Vec<Option<Header<'a>>> {
    let Some(headers) = record.headers() else { return Vec::new() };
    let header = |index| {
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()?;
        Some(Header { name: header.key, value: header.value })
    };
    (0..headers.count()).map(header).collect()
}
