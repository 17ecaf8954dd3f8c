//! How the members of a stamp are found in a JSON body.
//!
//! Values are taken as their text first (`RawValue`): a number keeps every digit that way, and what nests
//! deeply is skipped without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{FieldValue, Member};
use super::{RepeatedField, StampFields};

const BYTE_ORDER_MARK: char = '\u{feff}';
/// RFC 8259, section 2.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Why bytes are not the JSON that is asked for.
#[derive(Debug, thiserror::Error)]
pub enum MalformedJson {
    /// Not UTF-8 (RFC 8259, section 8.1).
    #[error("The JSON is not UTF-8: {0}.")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Not JSON, or more than one value.
    #[error("The JSON is malformed: {0}.")]
    Syntax(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("A JSON object is required.")]
    NotAnObject,
    /// JSON, but not an array.
    #[error("A JSON array is required.")]
    NotAnArray,
    /// An array of more items than are taken at once.
    #[error("Ensure the array has no more than {max} items.")]
    TooManyItems {
        /// The most items that are taken.
        max: usize,
    },
    /// An object in which one of the three members is repeated.
    #[error(transparent)]
    Repeated(#[from] RepeatedField),
}

impl<'a> StampFields<'a> {
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

    /// [`from_json`](Self::from_json) of what is known to be UTF-8.
    pub(crate) fn from_json_text(text: &'a str) -> Result<Self, MalformedJson> {
        Ok(read(text, Object, '{', MalformedJson::NotAnObject)??)
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
        let text = std::str::from_utf8(body)?;
        let items = read(text, Array { max }, '[', MalformedJson::NotAnArray)?;
        let items = items.ok_or(MalformedJson::TooManyItems { max })?;
        Ok(items.into_iter().map(|item| Self::from_json_text(item.get())).collect())
    }
}

/// Returns the text without white space around it and without a byte order mark in front.
pub(crate) fn trim(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_matches(WHITE_SPACE)
}

/// Reads one JSON value that begins with `opening`; one that begins otherwise is `unexpected`.
fn read<'a, S: DeserializeSeed<'a>>(
    text: &'a str,
    shape: S,
    opening: char,
    unexpected: MalformedJson,
) -> Result<S::Value, MalformedJson> {
    let text = trim(text);
    if !text.starts_with(opening) {
        serde_json::from_str::<IgnoredAny>(text)?;
        return Err(unexpected);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = shape.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A JSON object with at most one of each member. A repetition is told apart by its type, because serde's
/// own errors are nothing but text.
struct Object;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Result<StampFields<'de>, RepeatedField>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Result<StampFields<'de>, RepeatedField>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = StampFields::default();
        let mut outcome = Ok(());
        while let Some(member) = map.next_key()? {
            if let Member::Other = member {
                map.next_value::<IgnoredAny>()?;
            } else {
                let value = map.next_value::<&RawValue>()?;
                outcome = outcome.and(fields.put(member, value.into()));
            }
        }
        Ok(outcome.map(|()| fields))
    }
}

/// A JSON array, item by item, or `None` if there are more than `max`: what is not taken is not kept either,
/// so that a body of `[1,1,1,…` costs no memory.
struct Array {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Array {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.max {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Some(items)),
            }
        }
        let mut is_more = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok((!is_more).then_some(items))
    }
}

impl<'a> From<&'a RawValue> for FieldValue<'a> {
    fn from(value: &'a RawValue) -> Self {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') => unquoted(text).map_or(Self::Other, Self::Text),
            Some(b'-' | b'0'..=b'9') => Self::Number(text),
            Some(b'n') => Self::Null,
            _ => Self::Other,
        }
    }
}

/// Returns what a JSON string holds, or `None` if that is no text: half a surrogate pair (`"\ud800"`).
fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    if string.contains('\\') {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    string.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}
