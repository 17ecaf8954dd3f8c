//! A stamp out of its row, and when a pending row is looked after.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

/// How long after its due time and its arrival a pending stamp may be looked after by the sweeper.
pub(super) const SWEEP_GRACE: Duration = Duration::from_secs(30);
/// Returns a stamp as it was stored: every row was a stamp then.
pub(super) fn stamp(object_cid: String, time_tolerance: i32, created_date: DateTime<Utc>) -> Option<Stamp> {
    let object_cid = ObjectCid::parse(object_cid).ok()?;
    Stamp::new(object_cid, TimeTolerance::from_minutes(time_tolerance).ok()?, created_date).ok()
}
