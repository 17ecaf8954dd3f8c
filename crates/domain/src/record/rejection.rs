//! Why a record holds neither a stamp nor a message.

use std::str::Utf8Error;

use super::reason::Reason;
use crate::fields::{FieldErrors, MalformedJson};

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

    /// Returns the rejection of a record whose fields are wrong. The first of them gives the reason; the detail names
    /// them all.
    ///
    /// * `reasons`: the fields that such a record is read for, each with the reason that it gives when it is wrong.
    pub(crate) fn of_fields(errors: &FieldErrors, reasons: &[(&'static str, Reason)]) -> Self {
        let first = errors.iter().next().map(|(field, _)| field);
        let reason = reasons.iter().find(|(field, _)| first == Some(*field)).map(|(_, reason)| *reason);
        // No field is read that is not among them, and the record is an object by now.
        Self::new(reason.unwrap_or(Reason::NotAnObject), errors.to_string())
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
