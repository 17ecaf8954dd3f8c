//! What is wrong with the fields of a request, field by field.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Sentences for the client, by field name, in the order in which the fields were first named.
///
/// Serializes as a JSON object of lists, `{"object_cid": ["This field is required."]}`, and prints as one
/// line, `object_cid: This field is required.; time_tolerance: A valid integer is required.`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<(&'static str, Vec<String>)>);

impl FieldErrors {
    /// Returns the errors that consist of this one sentence.
    pub fn of(field: &'static str, sentence: impl Into<String>) -> Self {
        Self(vec![(field, vec![sentence.into()])])
    }

    /// Adds a sentence about a field.
    pub fn push(&mut self, field: &'static str, sentence: impl Into<String>) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, sentences)) => sentences.push(sentence.into()),
            None => self.0.push((field, vec![sentence.into()])),
        }
    }

    /// Tells whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns each field that is wrong and its sentences, at least one.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0.iter().map(|(field, sentences)| (*field, sentences.as_slice()))
    }

    /// Returns the good value, or keeps the sentence about the bad one.
    pub(crate) fn keep<T>(&mut self, field: &'static str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|sentence| self.push(field, sentence)).ok()
    }

    /// Returns `value` if nothing is wrong.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, sentences)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {}", sentences.join(" "))?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, sentences) in self.iter() {
            map.serialize_entry(field, sentences)?;
        }
        map.end()
    }
}
