//! Stamps, messages and dead letters for tests.

use chrono::{DateTime, Utc};
use domain::batch::heart::{Batch, Member};
use domain::batch::policy::Trigger;
use domain::message::record::NewMessage;
use domain::message::{Message, topic_of};
use domain::record::{Coordinates, DeadLetter, Reason};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};
use store::stamps::intake::Numbered;
use store::stamps::processing::Maker;
use uuid::Uuid;

pub(crate) fn stamp(object_cid: &str) -> Stamp {
    stamp_due_after(object_cid, 10)
}

/// Returns a stamp that was made at the beginning of 2026 and may wait for so many minutes.
pub(crate) fn stamp_due_after(object_cid: &str, minutes: i32) -> Stamp {
    let created: DateTime<Utc> = DateTime::from_timestamp(1_767_225_600, 0).expect("a valid time");
    Stamp::new(
        ObjectCid::parse(object_cid).expect("a valid id"),
        TimeTolerance::from_minutes(minutes).expect("a valid tolerance"),
        created,
    )
    .expect("a valid due time")
}

pub(crate) fn numbered(first: i64, ids: &[&str]) -> Vec<Numbered> {
    ids.iter().zip(first..).map(|(id, number)| Numbered { number, stamp: stamp(id) }).collect()
}

/// Returns batches of `size` with these triggers, of these ids in their order.
pub(crate) fn batches<'a>(
    ids: impl IntoIterator<Item = &'a str>,
    size: usize,
    triggers: &[Trigger],
) -> Vec<Batch> {
    let member =
        |(offset, id)| Member { stamp: stamp(id), partition: 0, offset, has_row: false, sent_late: false };
    let members: Vec<Member> = (0..).zip(ids).map(member).collect();
    let batch =
        |(trigger, members): (&Trigger, &[Member])| Batch { trigger: *trigger, members: members.to_vec() };
    triggers.iter().zip(members.chunks(size)).map(batch).collect()
}

/// Returns a message in a user's own topic, partition 0.
pub(crate) fn message(recipient: Uuid, offset: i64) -> NewMessage {
    NewMessage {
        message: Message::new(&format!("subject {offset}"), "body", None, true).expect("a valid message"),
        recipient,
        coordinates: Coordinates {
            topic: topic_of(recipient),
            partition: 0,
            offset,
            timestamp: 1_767_225_600_000,
        },
        key: Some("key".to_owned()),
    }
}

/// Returns a dead letter with nothing in it.
pub(crate) fn letter(topic: &str, partition: i32, offset: i64, timestamp: i64) -> DeadLetter {
    DeadLetter {
        coordinates: Coordinates { topic: topic.to_owned(), partition, offset, timestamp },
        key: None,
        value: None,
        headers: serde_json::json!([]),
        reason: Reason::NoValue,
        detail: "The record has no value.".to_owned(),
    }
}

/// Returns a maker whose batches are told to nobody.
pub(crate) fn maker(listener: &str, topic: &str) -> Maker {
    Maker { listener: listener.to_owned(), topic: topic.to_owned(), sink: None }
}
