//! Connections to PostgreSQL.
//!
//! Two pools share one budget. Diesel's runs everything that is read or changed a row at a time. The writes of
//! many rows in one statement, on which the guarantees rest, go through `tokio-postgres` itself, which
//! diesel-async stands on too: only there an error carries its SQLSTATE, and what a listener does about an
//! error depends on it.

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::QueueMode;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool,
};
use futures_util::future::{BoxFuture, try_join_all};

use platform::settings::InvalidSetting;

use crate::error::DatabaseError;
use crate::settings::DatabaseSettings;
use crate::tls::Target;

/// How long one small question may take in all, a connection for it included.
pub const QUESTION_LIMIT: Duration = Duration::from_millis(1_800);

/// The connections of one process to its database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    diesel: deadpool::Pool<AsyncPgConnection>,
    bulk: deadpool_postgres::Pool,
}

impl Database {
    /// Prepares the pools; connections are opened when they are needed.
    ///
    /// # Errors
    /// If `DATABASE_URL` can't be understood or names a certificate that can't be read.
    pub fn new(settings: &DatabaseSettings, application_name: &str) -> Result<Self, InvalidSetting> {
        let target = Target::parse(&settings.url, application_name)?;
        let bulk_size = (settings.pool_size / 2).clamp(1, 4);
        let invalid = |error: &dyn std::fmt::Display| InvalidSetting::secret("DATABASE_URL", error);
        let bulk = deadpool_postgres::Pool::builder(target.bulk_manager())
            .max_size(bulk_size)
            // The connection that was used last knows its statements and their tables best.
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|error| invalid(&error))?;
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Verified;
        config.custom_setup = Box::new(move |_| {
            let target = target.clone();
            Box::pin(async move { target.connect().await })
        });
        // The address is the set-up function's business: this manager never sees it.
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let diesel = deadpool::Pool::builder(manager)
            .max_size(settings.pool_size - bulk_size)
            .queue_mode(QueueMode::Lifo)
            .runtime(::deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|error| invalid(&error))?;
        Ok(Self { diesel, bulk })
    }

    /// Returns how many connections are used, how many idle, and how many are waited for.
    pub fn connections(&self) -> (i64, i64, i64) {
        let (one, other) = (self.diesel.status(), self.bulk.status());
        let (size, idle) = (one.size + other.size, one.available + other.available);
        ((size - idle) as i64, idle as i64, (one.waiting + other.waiting) as i64)
    }

    /// Runs a question over a Diesel connection, bounded by [`QUESTION_LIMIT`].
    ///
    /// # Errors
    /// Whatever the database says; a question that takes too long counts as a lost connection.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, diesel::QueryResult<T>>,
    {
        self.ask_within(QUESTION_LIMIT, question).await
    }

    /// Runs a question over a Diesel connection, bounded by `limit`.
    ///
    /// # Errors
    /// Whatever the database says; a question that takes too long counts as a lost connection.
    pub(crate) async fn ask_within<T, F>(&self, limit: Duration, question: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, diesel::QueryResult<T>>,
    {
        let deadline = tokio::time::Instant::now() + limit;
        let mut connection =
            tokio::time::timeout_at(deadline, self.diesel.get()).await.map_err(|_| no_connection())??;
        match tokio::time::timeout_at(deadline, question(&mut connection)).await {
            Ok(answer) => Ok(answer?),
            Err(elapsed) => {
                // Whatever comes over this connection later belongs to nobody.
                drop(deadpool::Object::take(connection));
                Err(elapsed.into())
            }
        }
    }

    /// Runs one bulk statement over a connection of its own. It may take `limit`, whatever it waited for the
    /// connection before, and that may take as long again.
    ///
    /// # Errors
    /// Whatever the database says; [`DatabaseError::Timeout`] is the statement's own slowness.
    pub(crate) async fn bulk<T, F>(&self, limit: Duration, statement: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c deadpool_postgres::Client) -> BoxFuture<'c, Result<T, tokio_postgres::Error>>,
    {
        let client = self.bulk_client(tokio::time::Instant::now() + limit).await?;
        finish(client, tokio::time::Instant::now() + limit, statement).await
    }

    /// Runs one small question over a bulk connection, bounded by [`QUESTION_LIMIT`], the connection included.
    ///
    /// # Errors
    /// Whatever the database says; a question that takes too long counts as a lost connection.
    pub(crate) async fn ask_bulk<T, F>(&self, question: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c deadpool_postgres::Client) -> BoxFuture<'c, Result<T, tokio_postgres::Error>>,
    {
        let deadline = tokio::time::Instant::now() + QUESTION_LIMIT;
        let client = self.bulk_client(deadline).await?;
        finish(client, deadline, question).await
    }

    /// Opens all bulk connections and has each run what `statement` does.
    ///
    /// # Errors
    /// Whatever the database says; [`DatabaseError::Timeout`] is the statement's own slowness.
    pub(crate) async fn on_every_bulk_connection<F>(
        &self,
        limit: Duration,
        statement: F,
    ) -> Result<(), DatabaseError>
    where
        F: for<'c> Fn(&'c deadpool_postgres::Client) -> BoxFuture<'c, Result<(), tokio_postgres::Error>>,
    {
        let deadline = tokio::time::Instant::now() + limit;
        let all = (0..self.bulk.status().max_size).map(|_| self.bulk_client(deadline));
        let clients = try_join_all(all).await?;
        try_join_all(clients.into_iter().map(|client| finish(client, deadline, &statement))).await?;
        Ok(())
    }

    async fn bulk_client(
        &self,
        deadline: tokio::time::Instant,
    ) -> Result<deadpool_postgres::Client, DatabaseError> {
        Ok(tokio::time::timeout_at(deadline, self.bulk.get()).await.map_err(|_| no_connection())??)
    }

    /// Opens a connection of its own, without a pool and without the limits of one: for migrations.
    ///
    /// # Errors
    /// If the URL is wrong or the database is away.
    pub async fn connect_once(settings: &DatabaseSettings) -> anyhow::Result<AsyncPgConnection> {
        let target = Target::parse(&settings.url, "stamp-api migrate")?.without_timeouts();
        target.connect().await.context("can't connect to the database that DATABASE_URL names")
    }
}

/// Runs a statement to its end, or throws its connection away: whatever comes over it later belongs to nobody.
async fn finish<T, F>(
    client: deadpool_postgres::Client,
    deadline: tokio::time::Instant,
    statement: F,
) -> Result<T, DatabaseError>
where
    F: for<'c> FnOnce(&'c deadpool_postgres::Client) -> BoxFuture<'c, Result<T, tokio_postgres::Error>>,
{
    match tokio::time::timeout_at(deadline, statement(&client)).await {
        Ok(answer) => Ok(answer?),
        Err(elapsed) => {
            drop(deadpool_postgres::Object::take(client));
            Err(elapsed.into())
        }
    }
}

fn no_connection() -> DatabaseError {
    DatabaseError::Connect("no free connection in time".to_owned())
}
