//! Why a record holds neither a stamp nor a message.

use std::fmt;
use std::str::Utf8Error;

use crate::fields::{FieldErrors, MalformedJson};
use crate::message::{BODY, IS_ACTIVE, NS_MESSAGE, REFERENCE_URL, SUBJECT};
use crate::stamp::{CREATED_DATE, OBJECT_CID};

/// Why a record can't be understood: a code for programs and a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    reason: Reason,
    detail: String,
}

impl Rejection {
    /// The longest detail, in bytes of UTF-8.
    pub const MAX_DETAIL_BYTES: usize = 256;

    /// Returns a rejection whose detail is cut to [`MAX_DETAIL_BYTES`](Self::MAX_DETAIL_BYTES), with a space
    /// for every control character, so that it is safe in a log line, a terminal and a table.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(Self::MAX_DETAIL_BYTES));
        if detail.contains(char::is_control) {
            detail = detail.replace(char::is_control, " ");
        }
        Self { reason, detail }
    }

    /// Returns the code.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the sentence, at most [`MAX_DETAIL_BYTES`](Self::MAX_DETAIL_BYTES) long.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// The kinds of rejection. Operators filter by [`as_str`](Self::as_str), so a code once given stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A tombstone: the record's value is null.
    NoValue,
    /// No bytes, or only white space.
    Empty,
    /// The value is not UTF-8.
    NotUtf8,
    /// The value is not one JSON text.
    NotJson,
    /// JSON, but neither an object nor a string holding one.
    NotAnObject,
    /// A member of the stamp or message is there more than once.
    RepeatedMember,
    /// JSON in JSON in JSON.
    EncodedTooOften,
    /// `object_cid` is missing or wrong.
    InvalidObjectCid,
    /// `time_tolerance` is missing or wrong.
    InvalidTimeTolerance,
    /// `created_date` is wrong, or missing from a record without a timestamp.
    InvalidCreatedDate,
    /// The due time is over [`MAX_AHEAD`](crate::stamp::event::MAX_AHEAD) away.
    DueTooFarAhead,
    /// `ns-message` is missing or no object.
    NoMessage,
    /// `subject` is missing or wrong.
    InvalidSubject,
    /// `body` is missing or wrong.
    InvalidBody,
    /// `reference_url` is wrong.
    InvalidReferenceUrl,
    /// `is_active` is wrong.
    InvalidIsActive,
    /// The key in a topic that all users share is no user's uuid.
    InvalidKey,
    /// The name of a topic that should be one user's is no uuid.
    InvalidTopic,
    /// Decoding it always ends in a panic: a mistake of ours.
    Panicked,
}

impl Reason {
    /// Returns the code: a short name in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Empty => "empty",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::RepeatedMember => "repeated_member",
            Self::EncodedTooOften => "encoded_too_often",
            Self::InvalidObjectCid => "invalid_object_cid",
            Self::InvalidTimeTolerance => "invalid_time_tolerance",
            Self::InvalidCreatedDate => "invalid_created_date",
            Self::DueTooFarAhead => "due_too_far_ahead",
            Self::NoMessage => "no_message",
            Self::InvalidSubject => "invalid_subject",
            Self::InvalidBody => "invalid_body",
            Self::InvalidReferenceUrl => "invalid_reference_url",
            Self::InvalidIsActive => "invalid_is_active",
            Self::InvalidKey => "invalid_key",
            Self::InvalidTopic => "invalid_topic",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Utf8Error> for Rejection {
    fn from(error: Utf8Error) -> Self {
        MalformedJson::from(error).into()
    }
}

impl From<serde_json::Error> for Rejection {
    fn from(error: serde_json::Error) -> Self {
        MalformedJson::from(error).into()
    }
}

impl From<MalformedJson> for Rejection {
    fn from(error: MalformedJson) -> Self {
        let reason = match error {
            MalformedJson::NotUtf8(_) => Reason::NotUtf8,
            MalformedJson::Syntax(_) => Reason::NotJson,
            // The two about arrays never come from reading an object.
            MalformedJson::NotAnObject | MalformedJson::NotAnArray | MalformedJson::TooManyItems { .. } => {
                Reason::NotAnObject
            }
            MalformedJson::Repeated(_) => Reason::RepeatedMember,
        };
        Self::new(reason, error.to_string())
    }
}

/// The first field that is wrong gives the reason; the detail names them all.
impl From<FieldErrors> for Rejection {
    fn from(errors: FieldErrors) -> Self {
        let reason = match errors.iter().next() {
            Some((OBJECT_CID, _)) => Reason::InvalidObjectCid,
            Some((CREATED_DATE, _)) => Reason::InvalidCreatedDate,
            Some((NS_MESSAGE, _)) => Reason::NoMessage,
            Some((SUBJECT, _)) => Reason::InvalidSubject,
            Some((BODY, _)) => Reason::InvalidBody,
            Some((REFERENCE_URL, _)) => Reason::InvalidReferenceUrl,
            Some((IS_ACTIVE, _)) => Reason::InvalidIsActive,
            _ => Reason::InvalidTimeTolerance,
        };
        Self::new(reason, errors.to_string())
    }
}
