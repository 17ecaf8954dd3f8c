//! What a database error means for whoever asked. Decided here once; the caller picks the reaction.

pub use domain::batch::heart::Failure;
use tokio::time::error::Elapsed;
use tokio_postgres::error::{DbError, Severity};

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
    // No source: what it would add is in the text already.
    Postgres(tokio_postgres::Error),
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

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
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

    /// Returns the SQLSTATE that the server has answered with.
    fn state(&self) -> Option<&str> {
        match self {
            Self::Postgres(error) => error.code().map(tokio_postgres::error::SqlState::code),
            _ => None,
        }
    }

    /// Tells whether the session takes no writes: it is a standby's, or was opened while the database was read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.state() == Some("25006")
    }

    /// Tells whether there is a stamp already of the id of one that was inserted.
    pub(crate) fn is_taken(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        self.state() == Some("23505")
            // A sequence of internal ids that has fallen behind takes a person to mend.
            && error.as_db_error().and_then(DbError::constraint) == Some("stamps_object_cid_key")
    }

    /// Tells whether the server knows no table of that name.
    pub(crate) fn is_missing_table(&self) -> bool {
        self.state() == Some("42P01")
    }

    /// Tells whether it takes a person to mend what the server complains of.
    pub(crate) fn asks_for_a_person(&self) -> bool {
        self.state().is_some_and(asks_for_a_person)
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
        // Less at once takes less time: `statement_timeout`, a person who cancelled, `transaction_timeout`.
        "57014" | "25P04" => Failure::Slow,
        // The completion is unknown; a server that crashed.
        "40003" | "57P02" => Failure::Unanswered,
        // What another session, or a person, mends: a sequence that has ended, or is behind its table after a restore; a
        // plan or a name that a pooler or a migration has made useless.
        "2200H" | "23505" | "0A000" | "26000" | "42P05" => Failure::Unavailable,
        _ => match code.get(..2) {
            // A standby, a session that was closed for its idleness.
            Some("25" | "28" | "3D" | "40" | "53" | "55" | "57" | "58") => Failure::Unavailable,
            // What a pooler says when it loses the server; an internal error, of a pooler too.
            Some("08" | "XX") => Failure::Unanswered,
            // More than the server can do at once.
            Some("54") => Failure::Slow,
            Some("22") => Failure::Data,
            _ => Failure::Fatal,
        },
    }
}

/// Tells whether a SQLSTATE is one of those that no waiting mends unless a person acts.
fn asks_for_a_person(code: &str) -> bool {
    of_state(code) == Failure::Fatal || matches!(code, "2200H" | "23505") || code.starts_with("XX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_the_data_s_fault() {
        for (expected, codes) in [
            (Failure::Data, "22021 22003 22P02"),
            (Failure::Unavailable, "28P01 3D000 40P01 40001 53100 53300 55P03 57P01 57P03 57P05 58030"),
            (Failure::Unavailable, "25006 25P02 25P03 26000 42P05 0A000 2200H 23505"),
            (Failure::Slow, "57014 25P04 54000 54001"),
            (Failure::Unanswered, "08006 08P01 08007 40003 57P02 XX000 XX001"),
            (Failure::Fatal, "42P01 42703 42501 23502 P0001"),
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
