//! Statements over one session.
//!
//! A session of one's own remembers statements by name. Behind a pooler that hands each transaction to another session,
//! nothing outlasts a transaction: there every statement is a transaction of its own, without a name, which sets first
//! what a session would have been opened with. All of it is sent at once and takes one round trip.

use std::sync::Arc;

use deadpool_postgres::{Client, Object};
use futures_util::TryStreamExt;
use futures_util::future::join3;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, RowStream};

use super::open::Target;
use super::parameter::Parameter;
use crate::error::DatabaseError;

/// What a statement has answered.
pub(crate) struct Answered {
    /// The rows that the statement returns.
    pub(crate) rows: Vec<Row>,
    /// How many rows the statement has written, or else returned.
    pub(crate) affected: u64,
}

/// A connection that is held for as long as statements run over it one after the other.
pub(crate) struct Session {
    client: Client,
    target: Arc<Target>,
    takes_back: bool,
}

impl Session {
    pub(crate) fn new(client: Client, target: Arc<Target>) -> Self {
        Self { client, target, takes_back: false }
    }

    /// From now on takes back what each statement does, once it is done: it only tells whether it works.
    pub(crate) fn take_back(&mut self) {
        self.takes_back = true;
    }

    /// Closes the connection: nobody gets it any more.
    pub(crate) fn throw_away(self) {
        drop(Object::take(self.client));
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>, DatabaseError> {
        Ok(self.run(sql, parameters).await?.rows)
    }

    /// Runs a statement that returns one row.
    pub(crate) async fn query_one(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Row, DatabaseError> {
        self.query_opt(sql, parameters).await?.ok_or_else(|| diesel::result::Error::NotFound.into())
    }

    /// Runs a statement that returns one row or none.
    pub(crate) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(sql, parameters).await?.pop())
    }

    /// Runs a statement and returns how many rows it has written.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<u64, DatabaseError> {
        Ok(self.run(sql, parameters).await?.affected)
    }

    /// Runs a statement the way that the target needs.
    pub(super) async fn run(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Answered, Error> {
        if self.takes_back {
            return self.in_transaction(sql, parameters, "ROLLBACK").await;
        }
        if self.target.is_pooled() {
            return self.in_transaction(sql, parameters, "COMMIT").await;
        }
        let answer = self.prepared(sql, parameters).await;
        match answer.as_ref().err().and_then(Error::code) {
            // The name belongs to another session, or is taken in this one: it is not ours alone.
            Some(&(SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT)) => {
                self.target.found_pooler("it forgets prepared statements");
            }
            // The tables have changed since the statement was planned.
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => self.client.statement_cache.clear(),
            _ => return answer,
        }
        // The statement was not run: the server has refused its name, or its plan.
        self.in_transaction(sql, parameters, "COMMIT").await
    }

    /// Runs a statement under a name, which the session remembers.
    async fn prepared(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Answered, Error> {
        let types: Vec<Type> = parameters.iter().map(|parameter| parameter.sql_type()).collect();
        let statement = self.client.prepare_typed_cached(sql, &types).await?;
        let values = parameters.iter().map(|&parameter| parameter as &(dyn ToSql + Sync));
        read(self.client.query_raw(&statement, values).await?).await
    }

    /// Runs a statement as a transaction of its own.
    ///
    /// A commit of what failed is answered as a rollback and without an error. What failed before it has had one.
    async fn in_transaction(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
        end: &str,
    ) -> Result<Answered, Error> {
        let values =
            parameters.iter().map(|&parameter| (parameter as &(dyn ToSql + Sync), parameter.sql_type()));
        let statement = async { read(self.client.query_typed_raw(sql, values).await?).await };
        // In this order they are sent, before anything is answered.
        let (begun, answer, ended) =
            join3(self.client.batch_execute(self.target.begin()), statement, self.client.batch_execute(end))
                .await;
        begun?;
        let answer = answer?;
        ended?;
        Ok(answer)
    }

    /// Runs statements that have no parameters and tell nothing.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }
}

async fn read(stream: RowStream) -> Result<Answered, Error> {
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    Ok(Answered { rows, affected: stream.rows_affected().unwrap_or_default() })
}
