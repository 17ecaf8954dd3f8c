//! The members of a message as they were written, and their way into a [`Message`].

use std::borrow::Cow;

use super::{Message, parse_reference_url, parse_subject, parse_text};
use crate::fields::{FieldErrors, FieldValue, MalformedJson, NOT_TEXT, NULL, REQUIRED, members};
use crate::record::Reason;

/// The member that holds the message.
pub const NS_MESSAGE: &str = "ns-message";
/// The member that holds the subject.
pub const SUBJECT: &str = "subject";
/// The member that holds the text.
pub const BODY: &str = "body";
/// The member that says where more can be read.
pub const REFERENCE_URL: &str = "reference_url";
/// The member that says whether the message lies in the inbox.
pub const IS_ACTIVE: &str = "is_active";

/// The fields of a message, each with the reason for which a record with a wrong one is a dead letter.
pub(super) const FIELDS: [(&str, Reason); 5] = [
    (NS_MESSAGE, Reason::NoMessage),
    (SUBJECT, Reason::InvalidSubject),
    (BODY, Reason::InvalidBody),
    (REFERENCE_URL, Reason::InvalidReferenceUrl),
    (IS_ACTIVE, Reason::InvalidIsActive),
];

const MEMBERS: [&str; 4] = [FIELDS[1].0, FIELDS[2].0, FIELDS[3].0, FIELDS[4].0];

const NOT_AN_OBJECT: &str = "A JSON object is required.";
const NOT_A_BOOLEAN: &str = "Must be a valid boolean.";

/// The members of a message as they came, present or not, right or wrong.
///
/// Read by [`from_json`](Self::from_json), made into a message by [`parse`](Self::parse).
#[derive(Debug)]
pub struct MessageFields<'a>(Result<[Option<FieldValue<'a>>; 4], &'static str>);

impl<'a> MessageFields<'a> {
    /// Takes the members from `{"ns-message": {…}}`; a UTF-8 byte order mark may precede it.
    ///
    /// Other members, beside it and in it, are ignored, whatever they hold. That `ns-message` is missing or no
    /// object is for [`parse`](Self::parse) to say.
    ///
    /// # Errors
    ///
    /// [`MalformedJson`], never `NotAnArray` or `TooManyItems`; `Repeated` if `ns-message` or a member of it comes
    /// twice.
    pub fn from_json(body: &'a [u8]) -> Result<Self, MalformedJson> {
        Self::from_json_text(std::str::from_utf8(body)?)
    }

    /// Takes the members as [`from_json`](Self::from_json) does, from what is known to be UTF-8.
    pub(crate) fn from_json_text(text: &'a str) -> Result<Self, MalformedJson> {
        let [message] = members(text, [NS_MESSAGE])?;
        Ok(Self(match message {
            Some(FieldValue::Object(object)) => Ok(members(object, MEMBERS)?),
            Some(FieldValue::Null) => Err(NULL),
            Some(_) => Err(NOT_AN_OBJECT),
            None => Err(REQUIRED),
        }))
    }

    /// Returns the message that the members describe.
    ///
    /// * `subject`, `body`, `reference_url`: see [`Message::new`]. The last may be absent or null.
    /// * `is_active`: true or false; absent or null it is true.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with every field that is wrong, in the order above; `ns-message` alone if it is missing or
    /// no object.
    pub fn parse(self) -> Result<Message, FieldErrors> {
        let members = self.0.map_err(|sentence| FieldErrors::of(NS_MESSAGE, sentence))?;
        let [subject, body, reference_url, is_active] = members;
        let mut errors = FieldErrors::default();
        let subject = errors.keep(SUBJECT, text(subject).and_then(|text| parse_subject(&text)));
        let body = errors.keep(BODY, text(body).and_then(|text| parse_text(&text)));
        let reference_url = errors.keep(
            REFERENCE_URL,
            optional_text(reference_url).and_then(|text| parse_reference_url(text.as_deref())),
        );
        let is_active = errors.keep(IS_ACTIVE, boolean(is_active.as_ref()));
        let (Some(subject), Some(body), Some(reference_url), Some(is_active)) =
            (subject, body, reference_url, is_active)
        else {
            return Err(errors);
        };
        Ok(Message { subject, body, reference_url, is_active })
    }
}

fn text(value: Option<FieldValue>) -> Result<Cow<str>, String> {
    match value.ok_or(REQUIRED)? {
        FieldValue::Text(text) => Ok(text),
        FieldValue::Null => Err(NULL.into()),
        _ => Err(NOT_TEXT.into()),
    }
}

fn optional_text(value: Option<FieldValue>) -> Result<Option<Cow<str>>, String> {
    match value {
        None | Some(FieldValue::Null) => Ok(None),
        some => text(some).map(Some),
    }
}

fn boolean(value: Option<&FieldValue>) -> Result<bool, String> {
    match value {
        None | Some(FieldValue::Null) => Ok(true),
        Some(FieldValue::Bool(bool)) => Ok(*bool),
        Some(_) => Err(NOT_A_BOOLEAN.into()),
    }
}
