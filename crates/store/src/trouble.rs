//! What the server complains of that takes a person to mend: a table that has gone, a right that is missing, a sequence
//! that has ended.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::DatabaseError;

/// For how long a complaint is shown: what is wrong still, shows itself again within a few seconds.
const SHOWN: Duration = Duration::from_secs(30);

/// The last complaint.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<(Instant, String)>>);

impl Trouble {
    /// Takes note of an error, if it takes a person to mend it.
    pub(crate) fn note(&self, error: &DatabaseError) {
        if error.asks_for_a_person() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), error.to_string()));
        }
    }

    /// Returns the last complaint, if it is not long ago.
    pub(crate) fn lately(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(noted, _)| noted.elapsed() < SHOWN).map(|(_, why)| why.clone())
    }
}
