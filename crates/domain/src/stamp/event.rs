//! A stamp as the value of a Kafka record.
//!
//! [`encode`] knows one form. [`decode`] is wider: producers of all kinds write to the topic, and what it
//! refuses becomes a dead letter with a [`Rejection`] beside it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Stamp;
use super::date::format_date;
use super::fields::{CREATED_DATE, FIELDS, StampFields};
use crate::record::{Reason, Rejection, object_text};

/// How far ahead of the present the due time of an event may lie.
///
/// Far above what the HTTP intake lets through, so that nothing it accepted is refused here later; a limit
/// at all, because an event waits in memory and holds back the offsets behind it.
pub const MAX_AHEAD: TimeDelta = TimeDelta::days(366);

/// Returns the record value of a stamp, without white space, the members in this order:
/// `{"object_cid":"…","time_tolerance":10,"created_date":"2026-01-01T00:00:00.000000Z"}`.
pub fn encode(stamp: &Stamp) -> Vec<u8> {
    let object_cid = Value::from(stamp.object_cid().as_str());
    let time_tolerance = stamp.time_tolerance();
    let created_date = format_date(stamp.created_date());
    format!(
        r#"{{"object_cid":{object_cid},"time_tolerance":{time_tolerance},"created_date":"{created_date}"}}"#
    )
    .into_bytes()
}

/// Returns the stamp that a record holds.
///
/// Accepted are one JSON object with the members of a stamp (see [`StampFields::parse`]) and the same object
/// encoded twice, that is a JSON string holding it; a UTF-8 byte order mark in front of either. Other members
/// are ignored.
///
/// * `record_timestamp`: the record's own; it stands in for a `created_date` that is absent or null.
/// * `now`: the present, from which [`MAX_AHEAD`] counts. Any time in the past is fine.
///
/// # Errors
///
/// [`Rejection`]: this very value can't be understood, today or later.
pub fn decode(
    value: Option<&[u8]>,
    record_timestamp: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Stamp, Rejection> {
    let object = object_text(value)?;
    let stamp = StampFields::from_json_text(&object)?.parse(record_timestamp);
    let stamp = stamp.map_err(|errors| Rejection::of_fields(&errors, &FIELDS))?;
    if stamp.due() - now > MAX_AHEAD {
        let detail = format!(
            "{CREATED_DATE} plus the time tolerance is {}, over {} days ahead.",
            format_date(stamp.due()),
            MAX_AHEAD.num_days()
        );
        return Err(Rejection::new(Reason::DueTooFarAhead, detail));
    }
    Ok(stamp)
}
