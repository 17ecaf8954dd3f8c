//! The three members of a stamp as a client sent them, and their way into a [`Stamp`].

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{FieldErrors, InvalidDate, InvalidTolerance, ObjectCid, Stamp, TimeTolerance, parse_date};

/// The member that holds the identifier.
pub const OBJECT_CID: &str = "object_cid";
/// The member that holds the tolerance in minutes.
pub const TIME_TOLERANCE: &str = "time_tolerance";
/// The member that holds the date from which the tolerance counts.
pub const CREATED_DATE: &str = "created_date";

const REQUIRED: &str = "This field is required.";
const NULL: &str = "This field may not be null.";
const NOT_TEXT: &str = "Not a valid string.";

/// The members of a stamp as they came, present or not, right or wrong.
///
/// Read from JSON by [`from_json`](Self::from_json), from a form by
/// [`from_text_pairs`](Self::from_text_pairs); made into a stamp by [`parse`](Self::parse).
#[derive(Debug, Default)]
pub struct StampFields<'a> {
    object_cid: Option<FieldValue<'a>>,
    time_tolerance: Option<FieldValue<'a>>,
    created_date: Option<FieldValue<'a>>,
}

/// One of the three members is there more than once, so nobody can tell which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The field {field} is given more than once.")]
pub struct RepeatedField {
    field: &'static str,
}

impl RepeatedField {
    /// Returns the name of the field.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl From<RepeatedField> for FieldErrors {
    fn from(repeated: RepeatedField) -> Self {
        Self::of(repeated.field, "This field may be given only once.")
    }
}

impl<'a> StampFields<'a> {
    /// Takes the members from the decoded pairs of an `application/x-www-form-urlencoded` body.
    ///
    /// Other names are ignored. An empty `created_date` is an absent one: that is how a form leaves a field
    /// out.
    ///
    /// # Errors
    ///
    /// [`RepeatedField`] if one of the three names comes twice.
    pub fn from_text_pairs(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, RepeatedField> {
        let mut fields = Self::default();
        for (name, text) in pairs {
            fields.put(Member::named(&name), FieldValue::Text(text))?;
        }
        if matches!(&fields.created_date, Some(FieldValue::Text(text)) if text.is_empty()) {
            fields.created_date = None;
        }
        Ok(fields)
    }

    /// Returns the stamp that the members describe.
    ///
    /// * `object_cid`: a text, or a JSON number taken as its text, exactly as written.
    /// * `time_tolerance`: see [`TimeTolerance`]'s `FromStr`, as text or as a JSON number.
    /// * `created_date`: see [`parse_date`]. Absent or null it is `default_created_date`; without that one it
    ///   is required.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with every field that is wrong, in the order above.
    pub fn parse(self, default_created_date: Option<DateTime<Utc>>) -> Result<Stamp, FieldErrors> {
        let mut errors = FieldErrors::default();
        let object_cid = errors.keep(OBJECT_CID, object_cid(self.object_cid));
        let time_tolerance = errors.keep(TIME_TOLERANCE, time_tolerance(self.time_tolerance));
        let created_date = errors.keep(CREATED_DATE, created_date(self.created_date, default_created_date));
        let (Some(object_cid), Some(time_tolerance), Some(created_date)) =
            (object_cid, time_tolerance, created_date)
        else {
            return Err(errors);
        };
        Stamp::new(object_cid, time_tolerance, created_date)
            .map_err(|error| FieldErrors::of(CREATED_DATE, error.to_string()))
    }

    /// Sets a member that is not there yet.
    pub(super) fn put(&mut self, member: Member, value: FieldValue<'a>) -> Result<(), RepeatedField> {
        let (field, slot) = match member {
            Member::ObjectCid => (OBJECT_CID, &mut self.object_cid),
            Member::TimeTolerance => (TIME_TOLERANCE, &mut self.time_tolerance),
            Member::CreatedDate => (CREATED_DATE, &mut self.created_date),
            Member::Other => return Ok(()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(RepeatedField { field }),
        }
    }
}

/// What the HTTP intake asks of a stamp beyond its being one. An event from Kafka is not held to it.
#[derive(Debug, Clone, Copy)]
pub struct IntakeLimits {
    /// The longest tolerance that is taken in.
    pub max_tolerance: TimeTolerance,
    /// The time of the request.
    pub now: DateTime<Utc>,
}

impl IntakeLimits {
    /// How far a `created_date` may be ahead of `now`, for clients whose clock is fast.
    pub const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);

    /// Refuses a stamp that would wait too long or is made too far ahead.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with both fields, if both are wrong.
    pub fn check(&self, stamp: &Stamp) -> Result<(), FieldErrors> {
        let mut errors = FieldErrors::default();
        if stamp.time_tolerance() > self.max_tolerance {
            let sentence = format!("Ensure this value is less than or equal to {}.", self.max_tolerance);
            errors.push(TIME_TOLERANCE, sentence);
        }
        // Subtracted, because `now` may not be added to at the end of chrono's time.
        if stamp.created_date() - self.now > Self::MAX_AHEAD {
            let sentence = format!(
                "Ensure this date is no more than {} minutes in the future.",
                Self::MAX_AHEAD.num_minutes()
            );
            errors.push(CREATED_DATE, sentence);
        }
        errors.or(())
    }
}

/// The name of a member.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Member {
    ObjectCid,
    TimeTolerance,
    CreatedDate,
    #[serde(other)]
    Other,
}

impl Member {
    fn named(name: &str) -> Self {
        match name {
            OBJECT_CID => Self::ObjectCid,
            TIME_TOLERANCE => Self::TimeTolerance,
            CREATED_DATE => Self::CreatedDate,
            _ => Self::Other,
        }
    }
}

/// The value of a member.
#[derive(Debug)]
pub(super) enum FieldValue<'a> {
    /// A JSON string or the value of a form field.
    Text(Cow<'a, str>),
    /// A JSON number, as it is written.
    Number(&'a str),
    Null,
    /// What no member can be: true, false, an array, an object, a string with half a surrogate pair.
    Other,
}

fn object_cid(value: Option<FieldValue>) -> Result<ObjectCid, String> {
    let text = match value.ok_or(REQUIRED)? {
        FieldValue::Text(text) => text,
        FieldValue::Number(text) => text.into(),
        FieldValue::Null => return Err(NULL.into()),
        FieldValue::Other => return Err(NOT_TEXT.into()),
    };
    ObjectCid::parse(text).map_err(|error| error.to_string())
}

fn time_tolerance(value: Option<FieldValue>) -> Result<TimeTolerance, String> {
    let parsed = match value.ok_or(REQUIRED)? {
        FieldValue::Text(text) => text.parse(),
        FieldValue::Number(text) => text.parse(),
        FieldValue::Null => return Err(NULL.into()),
        FieldValue::Other => Err(InvalidTolerance::NotAnInteger),
    };
    parsed.map_err(|error| error.to_string())
}

fn created_date(value: Option<FieldValue>, default: Option<DateTime<Utc>>) -> Result<DateTime<Utc>, String> {
    let parsed = match value {
        None | Some(FieldValue::Null) => return default.ok_or_else(|| REQUIRED.into()),
        Some(FieldValue::Text(text)) => parse_date(&text),
        Some(FieldValue::Number(_) | FieldValue::Other) => Err(InvalidDate::WrongFormat),
    };
    parsed.map_err(|error| error.to_string())
}
