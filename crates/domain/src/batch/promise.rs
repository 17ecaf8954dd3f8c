//! What counts as a missed deadline: a broken promise, not whatever leaves after its time.

use chrono::{DateTime, TimeDelta, Utc};

/// How long after its due time a stamp leaves at the latest.
pub const PROMISED: TimeDelta = TimeDelta::seconds(2);
/// How long after its due time a stamp may be sent for the promise to hold: a client may send one whose time is long
/// over, and clocks differ a little.
pub const SENT_IN_TIME: TimeDelta = TimeDelta::seconds(1);

/// Tells whether a record was sent too late for anybody to keep the time of its stamp.
///
/// * `timestamp`: the record's own, in milliseconds since 1970; a negative one tells nothing.
pub fn is_sent_late(due: DateTime<Utc>, timestamp: i64) -> bool {
    let sent = DateTime::from_timestamp_millis(timestamp).filter(|_| timestamp >= 0);
    sent.is_some_and(|sent| sent - due > SENT_IN_TIME)
}

/// Tells whether a stamp that was sent in time has left too late.
pub fn is_missed(due: DateTime<Utc>, processed_at: DateTime<Utc>) -> bool {
    processed_at - due > PROMISED
}

#[cfg(test)]
mod tests {
    use super::*;

    // Break: compare with `PROMISED` in `is_sent_late`.
    #[test]
    fn a_stamp_is_sent_late_if_its_record_is_over_a_second_younger_than_its_due_time() {
        let due = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
        for (timestamp, expected) in [
            (1_699_999_999_000, false),
            (1_700_000_001_000, false),
            (1_700_000_001_001, true),
            (1_800_000_000_000, true),
            (i64::MAX, false),
            (-1, false),
        ] {
            assert_eq!(is_sent_late(due, timestamp), expected, "{timestamp}");
        }
        let before_1970 = DateTime::from_timestamp(-100, 0).expect("a valid time");
        assert!(!is_sent_late(before_1970, -1), "a record without a timestamp");
    }

    #[test]
    fn a_deadline_is_missed_two_seconds_after_it() {
        let due = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
        assert!(!is_missed(due, due + PROMISED));
        assert!(is_missed(due, due + PROMISED + TimeDelta::microseconds(1)));
    }
}
