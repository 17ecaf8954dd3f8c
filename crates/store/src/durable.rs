//! A commit that outlasts a crash of the server, whatever the server, its databases and roles have as defaults.
//!
//! A promise that was given rests on such a commit: a stamp that was answered with 201, an offset that is committed in
//! Kafka. So every statement that writes sets `synchronous_commit` for its own transaction. A setting of the session
//! would do as long as there is no pooler between, which may drop it or hand the transaction to another session.
//!
//! Whoever reads a row may rest a promise on it too, a 409 or the offset of an event that was read twice. That is why
//! no writing statement is left out: while every commit waits for the disk, what can be seen is on it.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::Bool;

/// A condition, always true, for the rows that a statement writes, or for those that they are made of.
///
/// The server decides it once for a statement, before the first of these rows. `remote_apply` stays, because it
/// promises more; what promises less becomes `on`.
pub(crate) const DURABLE: &str = "(SELECT set_config('synchronous_commit', \
     CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)) \
     IS NOT NULL";

/// Returns [`DURABLE`] for Diesel's queries.
pub(crate) fn durable() -> SqlLiteral<Bool> {
    sql::<Bool>(DURABLE)
}
