//! The schema, changed by `stamp-api migrate` and by nothing else; the services only look whether it is there.

use anyhow::{Context, anyhow};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::database::Database;
use crate::error::DatabaseError;
use crate::settings::DatabaseSettings;

/// All migrations of this version.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The advisory lock by which two `migrate` at once, as two replicas that start together may run, take turns.
const LOCK: i64 = 0x7374_616d_7073;

/// Applies the migrations that are missing and returns their names. Needs a multi-thread runtime.
///
/// # Errors
/// If the database is away or a migration fails; that one is rolled back.
pub async fn migrate(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let mut connection = Database::connect_once(settings).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
        .context("can't take the lock that keeps migrations apart")?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let applied = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow!("a migration failed and was rolled back: {error}"))?;
    let applied: Vec<String> = applied.iter().map(ToString::to_string).collect();
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
    #[derive(QueryableByName)]
    struct Exists {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        exists: bool,
    }
    let applied: Vec<String> = database
        .ask(|connection| {
            Box::pin(async move {
                let table = diesel::sql_query(
                    "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS exists",
                )
                .get_result::<Exists>(connection)
                .await?;
                if !table.exists {
                    return Ok(Vec::new());
                }
                use crate::schema::__diesel_schema_migrations::dsl;
                dsl::__diesel_schema_migrations.select(dsl::version).load(connection).await
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
