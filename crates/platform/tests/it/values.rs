//! Stamps for tests.

use chrono::{DateTime, Utc};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};
use platform::postgres::intake::Numbered;
use platform::postgres::processing::Member;

pub(crate) fn stamp(object_cid: &str) -> Stamp {
    let created: DateTime<Utc> = DateTime::from_timestamp(1_767_225_600, 0).expect("a valid time");
    Stamp::new(
        ObjectCid::parse(object_cid).expect("a valid id"),
        TimeTolerance::from_minutes(10).expect("a valid tolerance"),
        created,
    )
    .expect("a valid due time")
}

pub(crate) fn numbered(first: i64, ids: &[&str]) -> Vec<Numbered> {
    ids.iter().zip(first..).map(|(id, seq)| Numbered { seq, stamp: stamp(id) }).collect()
}

/// Members of batches of `size`, in this order.
pub(crate) fn members<'a>(ids: impl IntoIterator<Item = &'a str>, size: usize) -> Vec<Member> {
    ids.into_iter()
        .enumerate()
        .map(|(index, id)| Member {
            stamp: stamp(id),
            partition: 0,
            offset: index as i64,
            batch: index / size,
        })
        .collect()
}
