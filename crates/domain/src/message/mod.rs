//! A message to a user: its values, and what it is as a Kafka record.
//!
//! * this file: the values;
//! * [`record`]: a message as a Kafka record;
//! * `fields`: the members of a message as a client or producer wrote them;
//! * `address`: whose message it is: the names of topics, and keys.

mod address;
mod fields;
pub mod record;
#[cfg(test)]
mod tests;

use url::Url;

use crate::fields::FieldErrors;
pub use address::{key_text, recipient_of_key, recipient_of_topic, topic_of};
pub use fields::{BODY, IS_ACTIVE, MessageFields, NS_MESSAGE, REFERENCE_URL, SUBJECT};

/// Who made a message of which nothing else is known.
pub const DEFAULT_AUTHOR: &str = "System Account";

/// A message to a user. All of it is kept exactly as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    subject: Box<str>,
    body: Box<str>,
    reference_url: Option<Box<str>>,
    is_active: bool,
}

impl Message {
    /// The longest subject, in characters (code points): `varchar(255)`.
    pub const MAX_SUBJECT_CHARS: usize = 255;
    /// The longest `reference_url`, in characters.
    pub const MAX_REFERENCE_URL_CHARS: usize = 2_000;

    /// Returns the message.
    ///
    /// * `subject`: 1 to 255 characters; `body`: any length. Neither may be blank or hold U+0000.
    /// * `reference_url`: an absolute http or https URL with a host and no user info; an empty one is none.
    /// * `is_active`: whether the message lies in the inbox.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`] with every field that is wrong, in the order above.
    pub fn new(
        subject: &str,
        body: &str,
        reference_url: Option<&str>,
        is_active: bool,
    ) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let subject = errors.keep(SUBJECT, parse_subject(subject));
        let body = errors.keep(BODY, parse_text(body));
        let reference_url = errors.keep(REFERENCE_URL, parse_reference_url(reference_url));
        let (Some(subject), Some(body), Some(reference_url)) = (subject, body, reference_url) else {
            return Err(errors);
        };
        Ok(Self { subject, body, reference_url, is_active })
    }

    /// Returns the subject, 1 to 255 characters.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the body, which is not blank.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns where more can be read, if anywhere.
    pub fn reference_url(&self) -> Option<&str> {
        self.reference_url.as_deref()
    }

    /// Tells whether the message lies in the inbox, not in the trash.
    pub fn is_active(&self) -> bool {
        self.is_active
    }
}

fn parse_subject(text: &str) -> Result<Box<str>, String> {
    if text.len() > Message::MAX_SUBJECT_CHARS && text.chars().count() > Message::MAX_SUBJECT_CHARS {
        return Err(format!("Ensure this field has no more than {} characters.", Message::MAX_SUBJECT_CHARS));
    }
    parse_text(text)
}

fn parse_text(text: &str) -> Result<Box<str>, String> {
    if text.chars().all(char::is_whitespace) {
        Err("This field may not be blank.".to_owned())
    } else if text.contains('\0') {
        Err("Null characters are not allowed.".to_owned())
    } else {
        Ok(text.into())
    }
}

fn parse_reference_url(text: Option<&str>) -> Result<Option<Box<str>>, String> {
    const MAX: usize = Message::MAX_REFERENCE_URL_CHARS;
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > MAX && text.chars().count() > MAX {
        return Err(format!("Ensure this field has no more than {MAX} characters."));
    }
    if !is_web_address(text) {
        return Err("Enter a valid URL: absolute, http or https, with a host and no user info.".to_owned());
    }
    Ok(Some(text.into()))
}

/// Tells whether every reader takes the text for the same http or https address. [`Url`] alone is a browser: it drops
/// line breaks, turns backslashes and takes `http:host` and `http:///host` as well.
fn is_web_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && !text.contains(|char: char| char.is_control() || char.is_whitespace() || char == '\\')
        && !authority.is_empty()
        && !authority.contains('@')
        && Url::parse(text).is_ok_and(|url| url.has_host())
}
