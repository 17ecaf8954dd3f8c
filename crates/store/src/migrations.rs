//! The schema, changed by `stamp-api migrate` and by nothing else; the services only look whether it is there.

use anyhow::{Context, anyhow};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AnsiTransactionManager, AsyncMigrationHarness, RunQueryDsl, TransactionManager};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::database::Database;
use crate::error::DatabaseError;
use crate::settings::DatabaseSettings;

/// All migrations of this version.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The advisory lock by which two `migrate` at once, as two replicas that start together may run, take turns.
const LOCK: i64 = 0x7374_616d_7073;

/// Applies the migrations that are missing, all in one transaction, and returns their names. Needs a multi-thread
/// runtime.
///
/// # Errors
/// If the database is away or a migration fails; then nothing has changed.
pub async fn migrate(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let mut connection = Database::connect_once(settings).await?;
    // The lock ends with its transaction, also behind a pooler, where a session outlives those who use it.
    AnsiTransactionManager::begin_transaction(&mut connection).await?;
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
        .context("can't take the lock that keeps migrations apart")?;
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

/// Whether the database's schema serves this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// The schema serves this version; a newer schema does too.
    Usable,
    /// Migrations are missing.
    Outdated {
        /// Name of the first migration that is missing.
        missing: String,
    },
}

/// Looks which migrations have run and returns whether the schema serves this version.
///
/// # Errors
/// If the database can't be asked.
pub async fn schema_state(database: &Database) -> Result<SchemaState, DatabaseError> {
    let applied: Vec<String> = database
        .ask(|session| {
            Box::pin(async move {
                let table = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL";
                if !session.query_one(table, &[]).await?.try_get::<_, bool>(0)? {
                    return Ok(Vec::new());
                }
                let rows = session.query("SELECT version::text FROM __diesel_schema_migrations", &[]).await?;
                rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
            })
        })
        .await?;
    let missing = names().into_iter().find(|(version, _)| !applied.contains(version));
    Ok(missing.map_or(SchemaState::Usable, |(_, missing)| SchemaState::Outdated { missing }))
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
