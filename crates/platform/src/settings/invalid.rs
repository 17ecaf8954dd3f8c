//! Why a setting can't be used.

use std::fmt::Display;

/// A variable that is missing or has a value that can't be used. The service ends with exit code 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSetting {
    /// A required variable is not set.
    #[error("{name} is not set: {accepted}")]
    Missing {
        /// The variable.
        name: String,
        /// What it should hold.
        accepted: String,
    },
    /// A value that is not accepted.
    #[error("{name}={value:?} is not accepted: {accepted}")]
    Unacceptable {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What it should hold.
        accepted: String,
    },
    /// A secret that is not accepted. Its value is not told.
    #[error("{name} (not shown) is not accepted: {accepted}")]
    Secret {
        /// The variable.
        name: String,
        /// What it should hold.
        accepted: String,
    },
}

impl InvalidSetting {
    /// A value that is not accepted.
    pub fn new(name: &str, value: &str, accepted: impl Display) -> Self {
        Self::Unacceptable { name: name.to_owned(), value: value.to_owned(), accepted: accepted.to_string() }
    }

    /// A secret that is not accepted.
    pub fn secret(name: &str, accepted: impl Display) -> Self {
        Self::Secret { name: name.to_owned(), accepted: accepted.to_string() }
    }
}
