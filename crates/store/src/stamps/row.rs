//! A stamp out of its row.

use chrono::{DateTime, Utc};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

/// Returns a stamp as it was stored: every row was a stamp then.
pub(crate) fn stamp(object_cid: String, time_tolerance: i32, created_date: DateTime<Utc>) -> Option<Stamp> {
    let object_cid = ObjectCid::parse(object_cid).ok()?;
    Stamp::new(object_cid, TimeTolerance::from_minutes(time_tolerance).ok()?, created_date).ok()
}
