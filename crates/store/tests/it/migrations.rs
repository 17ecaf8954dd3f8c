//! The schema goes up, down and up again.

use diesel::QueryDsl;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::MigrationHarness;
use store::Database;
use store::migrations::{MIGRATIONS, migrate};
use store::readiness::{DatabaseState, look};
use store::schema::{batches, dead_letters, messages, processed_stamps, stamp_states, stored_messages};
use test_support::TestDatabase;

/// Returns every column, index, constraint and view, one a line.
async fn shape(database: &TestDatabase) -> Vec<String> {
    let sql = "
        SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
            || coalesce(' ' || column_default, '') AS line
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public'
        ORDER BY line";
    database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

// Break: leave a statement of a `down.sql` out.
#[tokio::test(flavor = "multi_thread")]
async fn down_undoes_up_and_up_makes_the_same_again() {
    let database = TestDatabase::empty().await;
    let applied = migrate(&database.settings()).await.expect("the migrations apply");
    assert!(!applied.is_empty());
    let before = shape(&database).await;

    let connection = Database::connect_once(&database.settings()).await.expect("connected");
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.revert_all_migrations(MIGRATIONS).expect("the migrations can be undone");
    let left: Vec<String> = shape(&database)
        .await
        .into_iter()
        .filter(|line| !line.contains("__diesel_schema_migrations"))
        .collect();
    assert_eq!(left, Vec::<String>::new());

    migrate(&database.settings()).await.expect("the migrations apply again");
    assert_eq!(shape(&database).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_migration_finds_nothing_to_do() {
    let database = TestDatabase::new().await;
    assert_eq!(migrate(&database.settings()).await.expect("nothing fails"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_told_from_a_usable_one_and_a_newer_one_is_fine() {
    let empty = TestDatabase::empty().await;
    let state = look(&empty.pool()).await.expect("the database answers");
    assert!(matches!(state, DatabaseState::Outdated { .. }), "{state:?}");

    let database = TestDatabase::new().await;
    assert_eq!(look(&database.pool()).await.expect("the database answers"), DatabaseState::Usable);
    database.run("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')").await;
    assert_eq!(look(&database.pool()).await.expect("the database answers"), DatabaseState::Usable);
    database
        .run("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT min(version) FROM __diesel_schema_migrations)")
        .await;
    let state = look(&database.pool()).await.expect("the database answers");
    assert!(matches!(state, DatabaseState::Outdated { .. }), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_has_every_column_that_the_queries_name() {
    let database = TestDatabase::new().await;
    let mut connection = Database::connect_once(&database.settings()).await.expect("connected");
    batches::table.select(batches::all_columns).limit(0).execute(&mut connection).await.expect("batches");
    processed_stamps::table
        .select(processed_stamps::all_columns)
        .limit(0)
        .execute(&mut connection)
        .await
        .expect("processed_stamps");
    dead_letters::table
        .select(dead_letters::all_columns)
        .limit(0)
        .execute(&mut connection)
        .await
        .expect("dead_letters");
    stamp_states::table
        .select(stamp_states::all_columns)
        .limit(0)
        .execute(&mut connection)
        .await
        .expect("stamp_states");
    messages::table.select(messages::all_columns).limit(0).execute(&mut connection).await.expect("messages");
    stored_messages::table
        .select(stored_messages::all_columns)
        .limit(0)
        .execute(&mut connection)
        .await
        .expect("stored_messages");
}
