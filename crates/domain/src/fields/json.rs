//! How members are found in JSON.
//!
//! Values are taken as their text first (`RawValue`): a number keeps every digit that way, and what nests
//! deeply is skipped without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FieldValue, Members, RepeatedField};

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// JSON's white space (RFC 8259, section 2).
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
    /// More items than are taken at once.
    #[error("Ensure there are no more than {max} items.")]
    TooManyItems {
        /// The most items that are taken.
        max: usize,
    },
    /// An object in which one of the members that are read is repeated.
    #[error(transparent)]
    Repeated(#[from] RepeatedField),
}

/// Takes the members of these names from one JSON object; a byte order mark may precede it. Other members are
/// ignored, whatever they hold.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<FieldValue<'a>>; N], MalformedJson> {
    let object = Object(Members::named(names));
    Ok(read(text, object, '{', MalformedJson::NotAnObject)??.into_values())
}

/// Takes the items of a JSON array of at most `max`, as they are written; a byte order mark may precede it.
pub(crate) fn array(text: &str, max: usize) -> Result<Vec<&str>, MalformedJson> {
    let items = read(text, Array { max }, '[', MalformedJson::NotAnArray)?;
    let items = items.ok_or(MalformedJson::TooManyItems { max })?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// Takes the lines of a text of at most `max`, without those that are empty; a byte order mark may precede it. A line may
/// be anything.
pub(crate) fn lines(text: &[u8], max: usize) -> Result<Vec<&[u8]>, MalformedJson> {
    let text = text.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(text);
    let is_empty = |line: &[u8]| line.iter().all(|&byte| WHITE_SPACE.contains(&byte.into()));
    // One more tells that there are more, and the rest need not be looked at.
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !is_empty(line)).take(max + 1);
    let lines: Vec<&[u8]> = lines.collect();
    if lines.len() > max { Err(MalformedJson::TooManyItems { max }) } else { Ok(lines) }
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
struct Object<'a, const N: usize>(Members<'a, N>);

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'de, N> {
    type Value = Result<Members<'de, N>, RepeatedField>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'de, N> {
    type Value = Result<Members<'de, N>, RepeatedField>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(mut members) = self;
        let mut outcome = Ok(());
        while let Some(member) = map.next_key_seed(Name(&members))? {
            if let Some(index) = member {
                let value = map.next_value::<&RawValue>()?;
                outcome = outcome.and(members.put_at(index, value.into()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(outcome.map(|()| members))
    }
}

/// The name of a member, as the index of the one that is meant.
struct Name<'m, 'a, const N: usize>(&'m Members<'a, N>);

impl<'de, const N: usize> DeserializeSeed<'de> for Name<'_, '_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Name<'_, '_, N> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.index_of(name))
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
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'{') => Self::Object(text),
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
