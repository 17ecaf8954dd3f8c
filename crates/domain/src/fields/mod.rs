//! The members that clients and producers write, before they are parsed into values: how they are found in JSON, and
//! what is wrong with them.

mod errors;
mod json;

use std::borrow::Cow;

pub use errors::FieldErrors;
pub use json::MalformedJson;
pub(crate) use json::{array, lines, members, trim};

pub(crate) const REQUIRED: &str = "This field is required.";
pub(crate) const NULL: &str = "This field may not be null.";
pub(crate) const NOT_TEXT: &str = "Not a valid string.";

/// A member is there more than once, so nobody can tell which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The field {field} is given more than once.")]
pub struct RepeatedField {
    field: &'static str,
}

impl RepeatedField {
    /// Returns the name of the field.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl From<RepeatedField> for FieldErrors {
    fn from(repeated: RepeatedField) -> Self {
        Self::of(repeated.field, "This field may be given only once.")
    }
}

/// The members of these names, each present or not; others are ignored.
#[derive(Debug)]
pub(crate) struct Members<'a, const N: usize> {
    names: [&'static str; N],
    values: [Option<FieldValue<'a>>; N],
}

impl<'a, const N: usize> Members<'a, N> {
    pub(crate) fn named(names: [&'static str; N]) -> Self {
        Self { names, values: [const { None }; N] }
    }

    /// Sets a member that is not there yet.
    pub(crate) fn put(&mut self, name: &str, value: FieldValue<'a>) -> Result<(), RepeatedField> {
        self.index_of(name).map_or(Ok(()), |index| self.put_at(index, value))
    }

    /// Returns the members in the order of their names.
    pub(crate) fn into_values(self) -> [Option<FieldValue<'a>>; N] {
        self.values
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    fn put_at(&mut self, index: usize, value: FieldValue<'a>) -> Result<(), RepeatedField> {
        match self.values[index].replace(value) {
            None => Ok(()),
            Some(_) => Err(RepeatedField { field: self.names[index] }),
        }
    }
}

/// The value of a member.
#[derive(Debug)]
pub(crate) enum FieldValue<'a> {
    /// A JSON string or the value of a form field.
    Text(Cow<'a, str>),
    /// A JSON number, as it is written.
    Number(&'a str),
    Bool(bool),
    /// A JSON object, as it is written.
    Object(&'a str),
    Null,
    /// What no member can be: an array, a string with half a surrogate pair.
    Other,
}
