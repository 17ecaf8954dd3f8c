//! What the routes share.

use std::sync::Arc;

use anyhow::anyhow;
use domain::stamp::TimeTolerance;
use store::Database;

use super::error::ApiError;
use super::sparing::SparingLog;
use crate::auth::Auth;
use crate::stamps::gate::{Gate, OpenIntake};

/// The part of the service that requests see.
pub struct AppState {
    /// The connections over which stamps and batches are read.
    pub stamps: Database,
    /// The connections over which messages are read and changed.
    pub messages: Database,
    /// The longest tolerance that is taken in.
    pub max_time_tolerance: TimeTolerance,
    /// Who may use the routes.
    pub auth: Auth,
    /// Whether stamps are taken in, and by what.
    pub gate: Arc<Gate>,
    /// What the log is told of callers that are refused.
    pub refusals: SparingLog,
}

impl AppState {
    /// Returns the state of a service that takes no stamps in yet.
    pub fn new(stamps: Database, messages: Database, max_time_tolerance: TimeTolerance, auth: Auth) -> Self {
        let (gate, refusals) = (Arc::default(), SparingLog::default());
        Self { stamps, messages, max_time_tolerance, auth, gate, refusals }
    }

    /// Returns the intake.
    ///
    /// # Errors
    /// 503 while the intake is closed.
    pub fn intake(&self) -> Result<OpenIntake, ApiError> {
        self.gate.intake().ok_or_else(|| ApiError::Unavailable(anyhow!("the intake is not open")))
    }
}
