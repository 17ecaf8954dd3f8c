//! The kinds of reasons for which a record becomes a dead letter.

use std::fmt;

/// Why a record became a dead letter. Operators filter by [`as_str`](Self::as_str), so a code once given stays.
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
    /// PostgreSQL can't hold one of the values of a stamp or message that was understood.
    RefusedByDatabase,
    /// Decoding the record always ends in a panic: a mistake of ours.
    Panicked,
}

impl Reason {
    /// All reasons there are.
    pub const ALL: [Self; 20] = [
        Self::NoValue,
        Self::Empty,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::RepeatedMember,
        Self::EncodedTooOften,
        Self::InvalidObjectCid,
        Self::InvalidTimeTolerance,
        Self::InvalidCreatedDate,
        Self::DueTooFarAhead,
        Self::NoMessage,
        Self::InvalidSubject,
        Self::InvalidBody,
        Self::InvalidReferenceUrl,
        Self::InvalidIsActive,
        Self::InvalidKey,
        Self::InvalidTopic,
        Self::RefusedByDatabase,
        Self::Panicked,
    ];

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
            Self::RefusedByDatabase => "refused_by_database",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
