//! Whose message a record holds: the names of topics, and keys.

use uuid::Uuid;

use crate::record::text::hex;
use crate::record::{Reason, Rejection};

/// Returns the name of a user's topic: the uuid in lower case, with hyphens.
pub fn topic_of(recipient: Uuid) -> String {
    recipient.to_string()
}

/// Returns the user whose topic has this name, `None` for any other topic: [`topic_of`] alone names one.
pub fn recipient_of_topic(topic: &str) -> Option<Uuid> {
    Uuid::try_parse(topic).ok().filter(|recipient| topic_of(*recipient) == topic)
}

/// Returns the user that a record in a topic of all users is for: its key, as [`key_text`] has it, in any of a
/// uuid's usual forms.
///
/// # Errors
///
/// [`Rejection`] with [`Reason::InvalidKey`].
pub fn recipient_of_key(key: Option<&str>) -> Result<Uuid, Rejection> {
    let refused = |detail| Rejection::new(Reason::InvalidKey, detail);
    let key =
        key.ok_or_else(|| refused("The record has no key; it should be the user's uuid.".to_owned()))?;
    Uuid::try_parse(key).map_err(|error| refused(format!("The key is no user's uuid: {error}.")))
}

/// Returns a record's key as a text that a database can store.
///
/// A text stays as it is; a JSON string loses its quotes and escapes; bytes that are no text, or hold U+0000 in
/// either layer, become `\x…` in lower-case hex.
pub fn key_text(key: Option<&[u8]>) -> Option<String> {
    key.map(|bytes| {
        let text = std::str::from_utf8(bytes).ok().map(|text| {
            let is_quoted = text.starts_with('"') && text.ends_with('"');
            let unquoted = is_quoted.then(|| serde_json::from_str(text).ok()).flatten();
            unquoted.unwrap_or_else(|| text.to_owned())
        });
        text.filter(|text| !text.contains('\0')).unwrap_or_else(|| hex(bytes))
    })
}
