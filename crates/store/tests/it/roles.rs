//! What the roles of `deploy/postgres/roles.sql` may not do. That they may do what they must, the tests of the services
//! show, which run with them.

use diesel_async::AsyncMigrationHarness;
use diesel_migrations::MigrationHarness;
use platform::settings::Secret;
use store::Database;
use store::migrations::{MIGRATIONS, migrate};
use store::settings::DatabaseSettings;
use test_support::database::roles_sql;
use test_support::{Role, TestDatabase};
use tokio_postgres::error::SqlState;

/// What only `stamp-api migrate` may do.
const SCHEMA: &[&str] = &[
    "CREATE TABLE mine (id bigint)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE stamps ADD COLUMN mine bigint",
    "CREATE INDEX mine ON stamps (created_date)",
    "DROP TABLE left_events",
    "DROP VIEW stamp_states",
    "TRUNCATE pending_stamps",
    "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')",
    "DELETE FROM __diesel_schema_migrations",
    "ALTER SEQUENCE batches_id_seq RESTART",
    "SELECT setval('batches_id_seq', 1)",
];

/// What neither service ever does.
const NEITHER_SERVICE: &[&str] = &[
    "UPDATE stamps SET time_tolerance = 0",
    "DELETE FROM stamps",
    "UPDATE batches SET size = 1",
    "DELETE FROM batches",
    "UPDATE processed_stamps SET batch_id = 1",
    "DELETE FROM processed_stamps",
    "UPDATE pending_stamps SET stamp_id = 1",
    "UPDATE pending_stamps SET owner = 1",
    "UPDATE dead_letters SET value = NULL",
    "UPDATE stored_messages SET kafka_offset = 1",
    "DELETE FROM stored_messages",
    "DELETE FROM left_events",
];

const API: &[&str] = &[
    "GRANT USAGE ON SEQUENCE batches_id_seq TO PUBLIC",
    "INSERT INTO batches (trigger, size, listener, topic, processed_at) VALUES ('deadline', 1, '', '', now())",
    "SELECT nextval('batches_id_seq')",
    "INSERT INTO deliveries (batch_id, sink) VALUES (1, 'kafka')",
    "UPDATE deliveries SET claims = 2",
    "INSERT INTO processed_stamps VALUES (1, 1, 1, now(), 1, 1)",
    "DELETE FROM pending_stamps",
    "UPDATE pending_stamps SET retry_at = now()",
    "INSERT INTO left_events (stamp_id, owner, seq) VALUES (1, 1, 1)",
    "DELETE FROM dead_letters",
    "UPDATE messages SET body = ''",
    "UPDATE messages SET recipient = gen_random_uuid()",
    "DELETE FROM messages",
];

const LISTENER: &[&str] = &[
    "GRANT SELECT ON messages TO PUBLIC",
    "SELECT seen_at FROM intake_owners",
    "UPDATE deliveries SET sink = 'kafka'",
    "DELETE FROM deliveries",
    "SELECT FROM left_events",
    "UPDATE left_events SET published_at = now()",
    "INSERT INTO intake_owners (published_through) VALUES (0)",
    "UPDATE intake_owners SET retired = true",
    "DELETE FROM intake_owners",
    "UPDATE pending_stamps SET sweeps = 0",
    "UPDATE stored_messages SET body = ''",
    "SELECT FROM messages",
    "UPDATE messages SET is_active = false",
    "SELECT FROM stamp_states",
];

const READER: &[&str] = &[
    "GRANT SELECT ON left_events TO PUBLIC",
    "INSERT INTO stamps (object_cid, time_tolerance, created_date) VALUES ('x', 1, now())",
    "INSERT INTO batches (trigger, size, listener, topic, processed_at) VALUES ('deadline', 1, '', '', now())",
    "INSERT INTO dead_letters (topic, partition, \"offset\", \"timestamp\", reason, detail) VALUES ('', 0, 0, 0, '', '')",
    "UPDATE messages SET is_active = false",
    "DELETE FROM messages",
    "UPDATE deliveries SET claims = 2",
    "DELETE FROM dead_letters",
    "SELECT FROM stamps FOR UPDATE",
    "SELECT FROM pending_stamps",
    "SELECT FROM processed_stamps",
    "SELECT FROM intake_owners",
    "SELECT FROM stored_messages",
    "SELECT FROM __diesel_schema_migrations",
    "SELECT nextval('batches_id_seq')",
];

// Break: grant DELETE on stamps to stamp_api in deploy/postgres/roles.sql.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_does_not_need_it_may_not_do() {
    let database = TestDatabase::new().await;
    for (role, refused) in [
        (Role::Api, [SCHEMA, NEITHER_SERVICE, API]),
        (Role::Listener, [SCHEMA, NEITHER_SERVICE, LISTENER]),
        (Role::Reader, [SCHEMA, NEITHER_SERVICE, READER]),
    ] {
        let client = database.connect_as(role).await;
        for sql in refused.concat() {
            let error = client.batch_execute(sql).await.expect_err(sql);
            let code = error.code().map(SqlState::code);
            assert_eq!(code, Some("42501"), "{role:?}: {sql}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_what_is_for_readers() {
    let database = TestDatabase::new().await;
    let reader = database.connect_as(Role::Reader).await;
    for name in ["stamp_states", "messages", "stamps", "batches", "dead_letters", "deliveries"] {
        reader.batch_execute(&format!("SELECT * FROM {name}")).await.expect(name);
    }
}

/// Returns every relation of the database with its owner and its rights, one a line.
async fn rights(database: &TestDatabase) -> Vec<String> {
    let sql = "
        SELECT relname || ' ' || pg_get_userbyid(relowner) || ' ' || coalesce(relacl::text, '') AS line
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
        UNION ALL SELECT attrelid::regclass || '.' || attname || ' ' || attacl::text
            FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid::regclass::text NOT LIKE 'pg\\_%'
        UNION ALL SELECT nspname || ' ' || nspacl::text FROM pg_namespace WHERE nspname = 'public'
        ORDER BY line";
    database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

// Break: leave the REVOKE of the relations out of deploy/postgres/roles.sql.
#[tokio::test(flavor = "multi_thread")]
async fn the_roles_may_be_made_twice_and_lose_what_they_should_not_have() {
    let database = TestDatabase::new().await;
    let admin = database.connect_as_admin().await;
    let before = rights(&database).await;
    admin
        .batch_execute(
            "GRANT ALL ON stamps, stored_messages TO stamp_api, stamp_reader;
             GRANT UPDATE (object_cid) ON stamps TO stamp_listener;
             GRANT ALL ON SEQUENCE batches_id_seq TO stamp_reader",
        )
        .await
        .expect("rights that nobody needs");
    assert_ne!(rights(&database).await, before);
    for _ in 0..2 {
        admin.batch_execute(&roles_sql()).await.expect("the roles have their rights");
        assert_eq!(rights(&database).await, before);
    }
}

// Break: leave a table out of the list of what stamp_migrator owns in deploy/postgres/roles.sql.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_migrations_make_belongs_to_the_migrator_who_can_undo_and_make_it() {
    let database = TestDatabase::new().await;
    let others = "SELECT count(*) FROM pg_class
                  WHERE relnamespace = 'public'::regnamespace AND pg_get_userbyid(relowner) <> 'stamp_migrator'";
    assert_eq!(database.number(others).await, 0);
    let url = Secret::new(database.url_as(Role::Migrator));
    let settings = DatabaseSettings { url, pool_size: 1 };
    let connection = Database::connect_once(&settings).await.expect("connected");
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.revert_all_migrations(MIGRATIONS).expect("the migrations can be undone");
    assert!(!migrate(&settings).await.expect("the migrations apply").is_empty());
    // What it has just made is its own until the roles are made again, by somebody who may.
    let admin = database.connect_as_admin().await;
    admin.batch_execute(&roles_sql()).await.expect("the roles have their rights");
    assert_eq!(database.number(others).await, 0);
}
