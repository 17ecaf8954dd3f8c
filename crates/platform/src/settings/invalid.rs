//! Why a setting can't be used.

use std::fmt::Display;

/// A variable that is missing or has a value that can't be used. The service ends with exit code 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSetting {
    /// A required variable is not set.
    #[error("{name} is not set: {accepted}")]
    Missing {
        /// Name of the variable.
        name: String,
        /// What the variable should hold.
        accepted: String,
    },
    /// A variable has a value that is not accepted.
    #[error("{name}={value:?} is not accepted: {accepted}")]
    Unacceptable {
        /// Name of the variable.
        name: String,
        /// Value of the variable.
        value: String,
        /// What the variable should hold.
        accepted: String,
    },
    /// A variable holds a secret that is not accepted, whose value is not told.
    #[error("{name} (not shown) is not accepted: {accepted}")]
    Secret {
        /// Name of the variable.
        name: String,
        /// What the variable should hold.
        accepted: String,
    },
}

impl InvalidSetting {
    /// Returns the error for a value that is not accepted.
    pub fn new(name: &str, value: &str, accepted: impl Display) -> Self {
        Self::Unacceptable { name: name.to_owned(), value: value.to_owned(), accepted: accepted.to_string() }
    }

    /// Returns the error for a secret that is not accepted.
    pub fn secret(name: &str, accepted: impl Display) -> Self {
        Self::Secret { name: name.to_owned(), accepted: accepted.to_string() }
    }
}
