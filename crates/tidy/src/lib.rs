//! Reads the sources and documents of the project, for the tests that compare them.
//!
//! Nothing is compiled or run: a file is text, and what is asked of it can be seen in the text.

#![allow(clippy::missing_panics_doc, reason = "a failed expectation is a failed test")]
#![allow(clippy::expect_used, reason = "a failed expectation is a failed test")]

pub mod documents;
pub mod imports;
pub mod prometheus;
pub mod sources;
