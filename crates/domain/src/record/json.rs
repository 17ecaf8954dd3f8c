//! The layers around the JSON of a record: white space, a byte order mark, JSON in a JSON string.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::reason::Reason;
use super::rejection::Rejection;
use crate::fields::trim;

/// Returns the text of the object that is a record's value, out of the JSON string if it is encoded twice. Whether
/// it is an object, its reader finds out.
pub(crate) fn object_text(value: Option<&[u8]>) -> Result<Cow<'_, str>, Rejection> {
    let value = value.ok_or_else(|| Rejection::new(Reason::NoValue, "The record has no value."))?;
    let text = trim(std::str::from_utf8(value)?);
    if text.is_empty() {
        return Err(Rejection::new(Reason::Empty, "The value is empty."));
    }
    if !text.starts_with('"') {
        return Ok(text.into());
    }
    let inner: String = serde_json::from_str(text)?;
    let object = trim(&inner);
    if object.starts_with('{') {
        Ok(inner.into())
    } else if object.starts_with('"') && serde_json::from_str::<IgnoredAny>(object).is_ok() {
        Err(Rejection::new(
            Reason::EncodedTooOften,
            "The value is JSON in JSON in JSON; two layers are read.",
        ))
    } else {
        Err(Rejection::new(Reason::NotAnObject, "The value is a JSON string that holds no JSON object."))
    }
}
