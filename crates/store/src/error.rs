//! What a database error means for whoever asked. Decided here once; the caller picks the reaction.

pub use domain::batch::heart::Failure;
use tokio::time::error::Elapsed;
use tokio_postgres::error::Severity;

/// What to do about a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database is away, busy, full or changing hands: try again later, the same way.
    Transient,
    /// The values are at fault (SQLSTATE class 22): the same statement without them would work.
    Data,
    /// A mistake of ours or of the schema's, which neither time nor other values mend: stop and say so.
    Fatal,
}

/// A failed question or statement.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server answered with an error, or the connection broke.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// An answer was not what Diesel expects.
    #[error(transparent)]
    Diesel(diesel::result::Error),
    /// No connection could be opened, or none got free in time: nothing was sent.
    #[error("can't connect: {0}")]
    Connect(String),
    /// The statement took over its time. Waiting for a connection is not part of it.
    #[error("the database did not answer in time")]
    Timeout(#[from] Elapsed),
}

/// Returns what the server said: `tokio_postgres` shows only the kind of an error, whose source has the rest.
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
            // Whatever the server says to a new connection, nothing was asked yet.
            deadpool_postgres::PoolError::Backend(error) => Self::Connect(describe(&error)),
            other => Self::Connect(other.to_string()),
        }
    }
}

impl From<diesel::result::Error> for DatabaseError {
    /// Finds the error that was handed through Diesel.
    fn from(error: diesel::result::Error) -> Self {
        match error {
            diesel::result::Error::QueryBuilderError(error) => match error.downcast() {
                Ok(error) => Self::Postgres(*error),
                Err(other) => Self::Diesel(diesel::result::Error::QueryBuilderError(other)),
            },
            other => Self::Diesel(other),
        }
    }
}

impl DatabaseError {
    /// Returns which kind of failure the error is.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Postgres(error) => error.as_db_error().map_or(Failure::Unanswered, |server| {
                // A server that panics while it commits may find the commit in its log afterwards.
                let panicked = server.parsed_severity() == Some(Severity::Panic);
                if panicked { Failure::Unanswered } else { of_state(server.code().code()) }
            }),
            Self::Connect(_) => Failure::Unavailable,
            Self::Timeout(_) => Failure::Slow,
            Self::Diesel(_) => Failure::Fatal,
        }
    }

    /// Returns what to do about the error.
    pub fn class(&self) -> ErrorClass {
        match self.failure() {
            Failure::Data => ErrorClass::Data,
            Failure::Fatal => ErrorClass::Fatal,
            Failure::Unavailable | Failure::Slow | Failure::Unanswered => ErrorClass::Transient,
        }
    }

    /// Tells whether the statement certainly had no effect: it was not sent, or the server itself refused it.
    pub fn had_no_effect(&self) -> bool {
        match self.failure() {
            Failure::Data | Failure::Unavailable | Failure::Fatal => true,
            // The server gave it up, not this side.
            Failure::Slow => matches!(self, Self::Postgres(_)),
            Failure::Unanswered => false,
        }
    }
}

/// Returns what a SQLSTATE says, by the classes of appendix A of PostgreSQL's manual.
fn of_state(code: &str) -> Failure {
    match code {
        // `statement_timeout`, or a person who cancelled what took too long.
        "57014" => Failure::Slow,
        // The completion is unknown; a server that crashed; and what a pooler says when it loses the server.
        "40003" | "57P02" => Failure::Unanswered,
        _ if code.starts_with("08") => Failure::Unanswered,
        // A standby that is being promoted; a prepared statement that a pooler forgot.
        "25006" | "26000" => Failure::Unavailable,
        _ => match code.get(..2) {
            Some("28" | "3D" | "40" | "53" | "55" | "57" | "58") => Failure::Unavailable,
            Some("22") => Failure::Data,
            _ => Failure::Fatal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_the_data_s_fault() {
        for (expected, codes) in [
            (Failure::Data, "22021 22003 22P02"),
            (Failure::Unavailable, "28P01 3D000 40P01 40001 53100 53300 55P03 57P01 57P03 58030 25006 26000"),
            (Failure::Slow, "57014"),
            (Failure::Unanswered, "08006 08P01 08007 40003 57P02"),
            (Failure::Fatal, "23505 42P01 42703 42501 XX000"),
        ] {
            for code in codes.split(' ') {
                assert_eq!(of_state(code), expected, "{code}");
            }
        }
    }

    #[tokio::test]
    async fn only_what_was_never_sent_or_was_refused_certainly_had_no_effect() {
        let too_long = tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>()).await;
        let too_long = DatabaseError::from(too_long.expect_err("nothing is ever ready"));
        assert_eq!((too_long.failure(), too_long.had_no_effect()), (Failure::Slow, false));
        let unconnected = DatabaseError::Connect("no free connection in time".to_owned());
        assert_eq!((unconnected.failure(), unconnected.had_no_effect()), (Failure::Unavailable, true));
    }
}
