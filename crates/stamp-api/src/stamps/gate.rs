//! The intake, while there is one.

use std::sync::{Arc, PoisonError, RwLock};

use store::clock::Clock;

use super::intake::Intake;

/// What it takes to take a stamp in. Cheap to clone.
#[derive(Clone)]
pub struct OpenIntake {
    /// The time that counts for stamps.
    pub clock: Arc<dyn Clock>,
    /// The intake that stores stamps.
    pub intake: Intake,
}

/// Holds the intake: none until the database has been there for the first time, and none again once the service stops,
/// for the intake ends when nobody holds it any more.
#[derive(Default)]
pub struct Gate(RwLock<Option<OpenIntake>>);

impl Gate {
    /// Returns the intake, if there is one.
    pub fn intake(&self) -> Option<OpenIntake> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether stamps are taken in.
    pub fn is_open(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes stamps in from now on.
    pub fn open(&self, intake: OpenIntake) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(intake);
    }

    /// Takes no more stamps in.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
