//! The schema, changed by `stamp-api migrate` and by nothing else; the services only look whether it is there.

use anyhow::{Context, anyhow};
use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{
    AnsiTransactionManager, AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::database::Database;
use crate::settings::DatabaseSettings;

/// All migrations of this version.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The advisory lock by which two `migrate` at once, as two replicas that start together may run, take turns.
const LOCK: i64 = 0x7374_616d_7073;

/// Applies the migrations that are missing, all in one transaction, and returns their names. Needs a multi-thread
/// runtime.
///
/// # Errors
/// If the database is away, its encoding lacks characters, or a migration fails; then nothing has changed.
pub async fn migrate(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let (mut connection, set_local) = Database::connect(settings).await?;
    // The lock ends with its transaction, also behind a pooler, where a session outlives those who use it.
    AnsiTransactionManager::begin_transaction(&mut connection).await?;
    connection.batch_execute(&set_local).await?;
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
        .context("can't take the lock that keeps migrations apart")?;
    let encoding = diesel::select(sql::<Text>("current_setting('server_encoding')"));
    check_encoding(encoding.get_result(&mut connection).await?)?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let applied: Vec<String> = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow!("a migration failed and was rolled back: {error}"))?
        .iter()
        .map(ToString::to_string)
        .collect();
    AnsiTransactionManager::commit_transaction(&mut harness.into_inner()).await?;
    Ok(names().into_iter().filter(|(version, _)| applied.contains(version)).map(|(_, name)| name).collect())
}

/// Makes sure that a database holds every character of stamps and messages.
///
/// # Errors
/// If its encoding lacks most of them.
pub(crate) fn check_encoding(encoding: String) -> Result<(), WrongEncoding> {
    if encoding == "UTF8" { Ok(()) } else { Err(WrongEncoding(encoding)) }
}

/// A database whose encoding lacks characters that stamps and messages have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database's encoding is {0}, which lacks characters that stamps and messages have; make another one: \
     CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
)]
pub struct WrongEncoding(String);

/// Returns the name of the first migration that is missing, if one is; a newer schema lacks none.
pub(crate) fn missing(applied: &[String]) -> Option<String> {
    names().into_iter().find(|(version, _)| !applied.contains(version)).map(|(_, name)| name)
}

/// Returns the version and the name of every migration, oldest first.
fn names() -> Vec<(String, String)> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().unwrap_or_default();
    let name = |migration: &dyn Migration<Pg>| {
        (migration.name().version().to_string(), migration.name().to_string())
    };
    let mut names: Vec<_> = migrations.iter().map(|migration| name(migration.as_ref())).collect();
    names.sort();
    names
}
