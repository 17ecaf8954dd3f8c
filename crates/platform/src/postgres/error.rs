//! What a database error means for whoever asked. Decided here once; the caller picks the reaction.

use tokio::time::error::Elapsed;
use tokio_postgres::error::SqlState;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database is away, busy, full or changing hands: try again later, the same way.
    Transient,
    /// The values are at fault (SQLSTATE class 22): the same statement without them would work.
    Data,
    /// Neither, so a mistake of ours or of the schema's: stop and say so.
    Fatal,
}

/// A failed question or statement.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server answered with an error, or the connection broke.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The same, as Diesel tells it.
    #[error(transparent)]
    Diesel(#[from] diesel::result::Error),
    /// No connection could be opened.
    #[error("can't connect: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("the database did not answer in time")]
    Timeout(#[from] Elapsed),
}

/// `tokio_postgres` shows only the kind of an error; what the server said is its source.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        None => std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}

impl From<deadpool_postgres::PoolError> for DatabaseError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => Self::Postgres(error),
            other => Self::Connect(other.to_string()),
        }
    }
}

impl From<diesel_async::pooled_connection::deadpool::PoolError> for DatabaseError {
    fn from(error: diesel_async::pooled_connection::deadpool::PoolError) -> Self {
        Self::Connect(error.to_string())
    }
}

impl DatabaseError {
    /// Classifies the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Postgres(error) => error.code().map_or(ErrorClass::Transient, classify),
            // Diesel tells no SQLSTATE; what it runs is small and answered with "try again" either way.
            Self::Diesel(_) | Self::Connect(_) | Self::Timeout(_) => ErrorClass::Transient,
        }
    }

    /// Tells whether the statement certainly had no effect: the server itself refused it.
    pub fn had_no_effect(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_some(),
            Self::Connect(_) => true,
            Self::Diesel(_) | Self::Timeout(_) => false,
        }
    }
}

/// Classes of SQLSTATE as PostgreSQL's manual lists them in appendix A.
fn classify(state: &SqlState) -> ErrorClass {
    let code = state.code();
    match &code[..2] {
        "08" | "28" | "3D" | "40" | "53" | "55" | "57" | "58" => ErrorClass::Transient,
        "22" => ErrorClass::Data,
        // A standby that is being promoted; a prepared statement that a pooler forgot.
        _ if matches!(code, "25006" | "26000") => ErrorClass::Transient,
        _ => ErrorClass::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_the_data_s_fault() {
        for code in [
            "08006", "28P01", "3D000", "40P01", "40001", "53100", "55P03", "57P01", "57014", "58030", "25006",
        ] {
            assert_eq!(classify(&SqlState::from_code(code)), ErrorClass::Transient, "{code}");
        }
        for code in ["22021", "22003", "22P02"] {
            assert_eq!(classify(&SqlState::from_code(code)), ErrorClass::Data, "{code}");
        }
        for code in ["23505", "42P01", "42703", "42501", "XX000"] {
            assert_eq!(classify(&SqlState::from_code(code)), ErrorClass::Fatal, "{code}");
        }
    }
}
