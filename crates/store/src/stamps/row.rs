//! A stamp out of its row, and when a pending row is looked after.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

/// A stamp that is still pending so long after it was due, and after it came, may be looked after by the sweeper.
pub(super) const SWEEP_GRACE: Duration = Duration::from_secs(30);
/// A stamp as it was stored: every row was one then.
pub(super) fn stamp(object_cid: String, time_tolerance: i32, created_date: DateTime<Utc>) -> Option<Stamp> {
    let object_cid = ObjectCid::parse(object_cid).ok()?;
    Stamp::new(object_cid, TimeTolerance::from_minutes(time_tolerance).ok()?, created_date).ok()
}
