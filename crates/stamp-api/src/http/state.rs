//! What the routes share.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::anyhow;
use domain::stamp::TimeTolerance;
use store::Database;
use store::clock::Clock;

use crate::auth::Auth;
use crate::http::error::ApiError;
use crate::stamps::intake::Intake;

/// The part of the service that requests see.
pub struct AppState {
    /// Where stamps and batches are read.
    pub database: Database,
    /// The longest tolerance that is taken in.
    pub max_time_tolerance: TimeTolerance,
    /// Who may use the routes.
    pub auth: Auth,
    /// Empty until the database has been there for the first time, and again once the service stops: the
    /// intake ends when nobody holds it any more.
    intake: RwLock<Option<OpenIntake>>,
}

/// What it takes to take a stamp in. Cheap to clone.
#[derive(Clone)]
pub struct OpenIntake {
    /// The time that counts.
    pub clock: Arc<dyn Clock>,
    /// Where stamps go.
    pub intake: Intake,
}

impl AppState {
    /// A service that takes no stamps in yet.
    pub fn new(database: Database, max_time_tolerance: TimeTolerance, auth: Auth) -> Self {
        Self { database, max_time_tolerance, auth, intake: RwLock::default() }
    }

    /// Returns the intake.
    ///
    /// # Errors
    /// 503 while it is closed.
    pub fn intake(&self) -> Result<OpenIntake, ApiError> {
        let intake = self.intake.read().unwrap_or_else(PoisonError::into_inner);
        intake.clone().ok_or_else(|| ApiError::Unavailable(anyhow!("the intake is not open")))
    }

    /// Tells whether stamps are taken in.
    pub fn is_open(&self) -> bool {
        self.intake.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes stamps in from now on.
    pub fn open(&self, intake: OpenIntake) {
        *self.intake.write().unwrap_or_else(PoisonError::into_inner) = Some(intake);
    }

    /// Takes no more stamps in.
    pub fn close(&self) {
        *self.intake.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
