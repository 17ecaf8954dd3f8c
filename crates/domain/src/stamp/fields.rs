//! The three members of a stamp as a client sent them, and their way into a [`Stamp`].

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    FieldErrors, InvalidDate, InvalidTolerance, MalformedJson, ObjectCid, RepeatedField, Stamp,
    TimeTolerance, parse_date,
};
use crate::fields::{FieldValue, Members, NOT_TEXT, NULL, REQUIRED, array, lines, members};
use crate::record::Reason;

/// The member that holds the identifier.
pub const OBJECT_CID: &str = "object_cid";
/// The member that holds the tolerance in minutes.
pub const TIME_TOLERANCE: &str = "time_tolerance";
/// The member that holds the date from which the tolerance counts.
pub const CREATED_DATE: &str = "created_date";

/// The fields of a stamp, each with the reason for which a record with a wrong one is a dead letter.
pub(super) const FIELDS: [(&str, Reason); 3] = [
    (OBJECT_CID, Reason::InvalidObjectCid),
    (TIME_TOLERANCE, Reason::InvalidTimeTolerance),
    (CREATED_DATE, Reason::InvalidCreatedDate),
];

const NAMES: [&str; 3] = [FIELDS[0].0, FIELDS[1].0, FIELDS[2].0];

/// The members of a stamp as they came, present or not, right or wrong.
///
/// Read from JSON by [`from_json`](Self::from_json), from a form by
/// [`from_text_pairs`](Self::from_text_pairs); made into a stamp by [`parse`](Self::parse).
#[derive(Debug)]
pub struct StampFields<'a> {
    object_cid: Option<FieldValue<'a>>,
    time_tolerance: Option<FieldValue<'a>>,
    created_date: Option<FieldValue<'a>>,
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
        let mut members = Members::named(NAMES);
        for (name, text) in pairs {
            members.put(&name, FieldValue::Text(text))?;
        }
        let mut fields = Self::from(members.into_values());
        if matches!(&fields.created_date, Some(FieldValue::Text(text)) if text.is_empty()) {
            fields.created_date = None;
        }
        Ok(fields)
    }

    /// Takes the members from one JSON object; a UTF-8 byte order mark may precede it.
    ///
    /// Other members are ignored, whatever they hold.
    ///
    /// # Errors
    ///
    /// [`MalformedJson`], never `NotAnArray` or `TooManyItems`.
    pub fn from_json(body: &'a [u8]) -> Result<Self, MalformedJson> {
        Self::from_json_text(std::str::from_utf8(body)?)
    }

    /// Takes the members as [`from_json`](Self::from_json) does, from what is known to be UTF-8.
    pub(crate) fn from_json_text(text: &'a str) -> Result<Self, MalformedJson> {
        Ok(members(text, NAMES)?.into())
    }

    /// Takes the members from each item of a JSON array of at most `max` objects; a UTF-8 byte order mark may
    /// precede it.
    ///
    /// A bad item spoils itself only: it is an error in its place, as [`from_json`](Self::from_json) has it.
    ///
    /// # Errors
    ///
    /// [`MalformedJson`] if the body is not one array, or has more than `max` items.
    pub fn from_json_array(
        body: &'a [u8],
        max: usize,
    ) -> Result<Vec<Result<Self, MalformedJson>>, MalformedJson> {
        let items = array(std::str::from_utf8(body)?, max)?;
        Ok(items.into_iter().map(Self::from_json_text).collect())
    }

    /// Takes the members from each line of a body of at most `max` lines that hold one JSON object each; empty lines
    /// are left out, and a UTF-8 byte order mark may precede them.
    ///
    /// A bad line spoils itself only, as in [`from_json_array`](Self::from_json_array), be it JSON or not.
    ///
    /// # Errors
    ///
    /// [`MalformedJson::TooManyItems`] if there are more than `max` lines.
    pub fn from_json_lines(
        body: &'a [u8],
        max: usize,
    ) -> Result<Vec<Result<Self, MalformedJson>>, MalformedJson> {
        Ok(lines(body, max)?.into_iter().map(Self::from_json).collect())
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
}

impl<'a> From<[Option<FieldValue<'a>>; 3]> for StampFields<'a> {
    fn from([object_cid, time_tolerance, created_date]: [Option<FieldValue<'a>>; 3]) -> Self {
        Self { object_cid, time_tolerance, created_date }
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

    /// Returns the stamp that members describe, made now unless they say when.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with every field that is wrong, or of a stamp those that are beyond the limits.
    pub fn accept(&self, fields: StampFields<'_>) -> Result<Stamp, FieldErrors> {
        let stamp = fields.parse(Some(self.now))?;
        self.check(&stamp)?;
        Ok(stamp)
    }

    /// Refuses a stamp that would wait too long or is made too far ahead.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with both fields, if both are wrong.
    pub(super) fn check(&self, stamp: &Stamp) -> Result<(), FieldErrors> {
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

fn object_cid(value: Option<FieldValue>) -> Result<ObjectCid, String> {
    let text = match value.ok_or(REQUIRED)? {
        FieldValue::Text(text) => text,
        FieldValue::Number(text) => text.into(),
        FieldValue::Null => return Err(NULL.into()),
        FieldValue::Bool(_) | FieldValue::Object(_) | FieldValue::Other => return Err(NOT_TEXT.into()),
    };
    ObjectCid::parse(text).map_err(|error| error.to_string())
}

fn time_tolerance(value: Option<FieldValue>) -> Result<TimeTolerance, String> {
    let parsed = match value.ok_or(REQUIRED)? {
        FieldValue::Text(text) => text.parse(),
        FieldValue::Number(text) => text.parse(),
        FieldValue::Null => return Err(NULL.into()),
        FieldValue::Bool(_) | FieldValue::Object(_) | FieldValue::Other => {
            Err(InvalidTolerance::NotAnInteger)
        }
    };
    parsed.map_err(|error| error.to_string())
}

fn created_date(value: Option<FieldValue>, default: Option<DateTime<Utc>>) -> Result<DateTime<Utc>, String> {
    let parsed = match value {
        None | Some(FieldValue::Null) => return default.ok_or_else(|| REQUIRED.into()),
        Some(FieldValue::Text(text)) => parse_date(&text),
        Some(_) => Err(InvalidDate::WrongFormat),
    };
    parsed.map_err(|error| error.to_string())
}
