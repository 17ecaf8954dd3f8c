//! A stamp: which document (`object_cid`), when it was made and how long it may wait.
//!
//! The types here can't hold a wrong value, so whoever has a [`Stamp`] has nothing left to check.
//!
//! * this file: the values;
//! * [`event`]: a stamp as the value of a Kafka record;
//! * `date`: dates from and to text;
//! * `fields`: the three members of a stamp as a client sent them, and what is wrong with them.

mod date;
pub mod event;
mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::trace::TraceContext;

pub use crate::fields::{FieldErrors, MalformedJson, RepeatedField};
pub use date::{InvalidDate, format_date, parse_date};
pub use fields::{CREATED_DATE, IntakeLimits, OBJECT_CID, StampFields, TIME_TOLERANCE};

/// A document waiting for its batch, for at most [`time_tolerance`](Self::time_tolerance) minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    object_cid: ObjectCid,
    time_tolerance: TimeTolerance,
    created_date: DateTime<Utc>,
    /// Few stamps have one, and all are kept by the million.
    trace: Option<Box<TraceContext>>,
}

/// A `created_date`, or a due time, that a `timestamptz` and RFC 3339 can't both hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Ensure this date, and this date plus the time tolerance, lie in the years 0001 to 9999.")]
pub struct DueOutOfRange;

impl Stamp {
    /// Returns the stamp, its `created_date` cut to whole microseconds, which is what a `timestamptz` keeps.
    ///
    /// # Errors
    ///
    /// [`DueOutOfRange`] if `created_date` or the due time lies outside the years 0001 to 9999.
    pub fn new(
        object_cid: ObjectCid,
        time_tolerance: TimeTolerance,
        created_date: DateTime<Utc>,
    ) -> Result<Self, DueOutOfRange> {
        let created_date = date::in_whole_micros(created_date).ok_or(DueOutOfRange)?;
        created_date
            .checked_add_signed(time_tolerance.duration())
            .filter(date::is_in_range)
            .ok_or(DueOutOfRange)?;
        Ok(Self { object_cid, time_tolerance, created_date, trace: None })
    }

    /// Returns the stamp as one that was asked for in a trace, or in none. A trace changes nothing about a stamp but what
    /// people can look up.
    #[must_use]
    pub fn with_trace(self, trace: Option<TraceContext>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }

    /// Returns where the stamp was asked for, if that is known.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// Returns the identifier of the document.
    pub fn object_cid(&self) -> &ObjectCid {
        &self.object_cid
    }

    /// Returns how long the stamp may wait after its `created_date`.
    pub fn time_tolerance(&self) -> TimeTolerance {
        self.time_tolerance
    }

    /// Returns when the stamp was made, in whole microseconds.
    pub fn created_date(&self) -> DateTime<Utc> {
        self.created_date
    }

    /// Returns the time at which the stamp must be processed: `created_date + time_tolerance`.
    pub fn due(&self) -> DateTime<Utc> {
        // `new` has tried this very sum.
        self.created_date + self.time_tolerance.duration()
    }

    /// Returns the owned identifier, the tolerance and the `created_date`.
    pub fn into_parts(self) -> (ObjectCid, TimeTolerance, DateTime<Utc>) {
        (self.object_cid, self.time_tolerance, self.created_date)
    }
}

/// The identifier of a document: 1 to 255 characters (code points), kept exactly as they came.
///
/// The text is not normalised and not trimmed; `" a"` and `"a"` are two documents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectCid(Box<str>);

/// Why a text is no [`ObjectCid`], as a sentence for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectCid {
    /// Empty, or nothing but white space.
    #[error("This field may not be blank.")]
    Blank,
    /// Over 255 characters.
    #[error("Ensure this field has no more than {} characters.", ObjectCid::MAX_CHARS)]
    TooLong,
    /// The database's `text` can't hold U+0000.
    #[error("Null characters are not allowed.")]
    Nul,
}

impl ObjectCid {
    /// The longest identifier, in characters (code points): `varchar(255)`.
    pub const MAX_CHARS: usize = 255;

    /// Returns the text as an identifier, untouched.
    ///
    /// # Errors
    /// [`InvalidObjectCid`] if the text is blank, too long or holds U+0000.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, InvalidObjectCid> {
        let text = text.into();
        if text.chars().all(char::is_whitespace) {
            Err(InvalidObjectCid::Blank)
        } else if text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS {
            Err(InvalidObjectCid::TooLong)
        } else if text.contains('\0') {
            Err(InvalidObjectCid::Nul)
        } else {
            Ok(Self(text))
        }
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a map keyed by identifiers be asked with a plain text.
impl Borrow<str> for ObjectCid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// How long a stamp may wait, in whole minutes: 0 to 2,147,483,647 (an `integer` column).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TimeTolerance(i32);

/// Why a value is no [`TimeTolerance`], as a sentence for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTolerance {
    /// Not a decimal integer.
    #[error("A valid integer is required.")]
    NotAnInteger,
    /// Below 0.
    #[error("Ensure this value is greater than or equal to 0.")]
    Negative,
    /// Above 2,147,483,647.
    #[error("Ensure this value is less than or equal to {}.", i32::MAX)]
    TooLarge,
}

impl TimeTolerance {
    /// Returns a tolerance of so many minutes; negative ones are refused.
    ///
    /// # Errors
    /// [`InvalidTolerance::Negative`].
    pub fn from_minutes(minutes: i32) -> Result<Self, InvalidTolerance> {
        if minutes < 0 { Err(InvalidTolerance::Negative) } else { Ok(Self(minutes)) }
    }

    /// Returns the tolerance in minutes, never negative.
    pub fn minutes(self) -> i32 {
        self.0
    }

    fn duration(self) -> TimeDelta {
        TimeDelta::minutes(i64::from(self.0))
    }
}

/// Reads decimal digits with an optional sign `-` and an optional fraction of zeros: `10`, `10.0`.
///
/// An exponent, a `+` and white space are refused.
impl FromStr for TimeTolerance {
    type Err = InvalidTolerance;

    fn from_str(text: &str) -> Result<Self, InvalidTolerance> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_integer = !whole.is_empty()
            && whole.bytes().all(|digit| digit.is_ascii_digit())
            && !fraction.is_empty()
            && fraction.bytes().all(|digit| digit == b'0');
        if !is_integer {
            return Err(InvalidTolerance::NotAnInteger);
        }
        // Only a number that is too large is left to fail here; `-0` is 0.
        match whole.parse() {
            Ok(0) => Ok(Self(0)),
            _ if negative => Err(InvalidTolerance::Negative),
            Ok(minutes) => Ok(Self(minutes)),
            Err(_) => Err(InvalidTolerance::TooLarge),
        }
    }
}

impl fmt::Display for TimeTolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
