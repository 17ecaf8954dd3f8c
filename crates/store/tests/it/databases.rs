//! Databases as people have them: what their URLs say, how they are set, and what happens to them.

use platform::settings::Secret;
use store::migrations::migrate;
use store::readiness::{DatabaseState, look, wait_for_database};
use store::settings::DatabaseSettings;
use store::stamps::intake::{self, GroupCommit, Taken};
use store::stamps::{batches, owners, processing};
use store::{Database, ErrorClass};
use test_support::{Directory, OwnPostgres, PgBouncer, TestDatabase, eventually};

use crate::values::numbered;

fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings { url: Secret::new(url), pool_size: 4 }
}

fn pool(url: &str) -> Database {
    Database::new(&settings(url), "test").unwrap_or_else(|error| panic!("{error}"))
}

/// Stores a stamp and reads it, and what Diesel reads.
async fn work(database: &Database, id: &str) {
    let owner = owners::register(database).await.expect("an owner");
    let stored = intake::store(database, owner, &numbered(1, &[id]), Taken::Unlikely).await.expect("stored");
    assert!(matches!(stored, GroupCommit::Committed { .. }));
    assert_eq!(owners::outbox(database, owner, 0, 10).await.expect("read").len(), 1);
    assert_eq!(batches::find(database, 1).await.expect("read"), None);
}

// Break: leave `theirs` out of `with` in connection/open.rs.
#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_url_hold_for_the_services_and_for_migrate_also_behind_a_pooler() {
    let database = TestDatabase::empty().await;
    let pooler = PgBouncer::start(database.url(), "transaction", &["default_pool_size = 2"]).await;
    for (schema, url) in [("direct", database.url()), ("pooled", pooler.url())] {
        database.run(&format!("CREATE SCHEMA {schema}")).await;
        let url = format!("{url}?options=-c%20search_path%3D{schema}%20--work_mem=3MB");
        let applied = migrate(&settings(&url)).await.expect("the migrations apply");
        assert!(!applied.is_empty(), "{schema}");
        assert_eq!(migrate(&settings(&url)).await.expect("nothing fails"), Vec::<String>::new());
        let pool = pool(&url);
        assert_eq!(look(&pool).await.expect("it answers"), DatabaseState::Usable);
        work(&pool, "a").await;
        assert_eq!(database.number(&format!("SELECT count(*) FROM {schema}.stamps")).await, 1);
    }
    let public = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.number(public).await, 0);
}

// Break: let `hosts_and_ports` in url.rs return the first host alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_leads_to_the_first_of_several_hosts_that_can_be_written_to_and_to_a_socket() {
    let sockets = Directory::new();
    let setting = format!("unix_socket_directories={}", sockets.path("."));
    let mut primary = OwnPostgres::start(&[&setting]).await;
    migrate(&settings(&primary.url("postgres"))).await.expect("the migrations apply");
    let standby = primary.standby().await;
    let (first, second) = (standby.port(), primary.port());
    let hosts = format!("127.0.0.1:1,127.0.0.1:{first},127.0.0.1:{second}");
    let several = format!("postgres://postgres:postgres@{hosts}/postgres?target_session_attrs=read-write");
    work(&pool(&several), "several").await;
    let directory = sockets.path(".").replace('/', "%2F");
    for (id, url) in [
        ("host", format!("postgres://postgres:postgres@/postgres?host={directory}&port={second}")),
        ("authority", format!("postgres://postgres:postgres@{directory}:{second}/postgres?sslmode=require")),
    ] {
        work(&pool(&url), id).await;
    }
}

// Break: leave out the `timeout` of `open` in connection/open.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_connections_and_says_nothing_holds_up_the_next_one_for_a_while_only() {
    let database = TestDatabase::new().await;
    let (link, hanging) = database.proxied().await;
    link.freeze();
    let hosts = [hanging.as_str(), database.url()].map(|url| url::Url::parse(url).expect("a URL"));
    let ports = hosts.map(|host| host.port().expect("a port").to_string()).join(",");
    let pool = pool(&format!("{hanging}?host=127.0.0.1,127.0.0.1&port={ports}"));
    let state = || look(&pool);
    eventually("the next host is asked", state, |state| matches!(state, Ok(DatabaseState::Usable)))
        .await
        .expect("usable");
    work(&pool, "next").await;
}

// Break: let `finish` in database.rs forget no idle connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_read_only_is_written_to_as_soon_as_it_can_be() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let name = database.name();
    database.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let fresh = database.pool();
    fresh.open().await.expect("it answers");
    assert_eq!(look(&fresh).await.expect("it answers"), DatabaseState::ReadOnly);
    let refused =
        intake::store(&fresh, owner, &numbered(1, &["a"]), Taken::Unlikely).await.expect_err("read-only");
    assert_eq!((refused.class(), refused.had_no_effect()), (ErrorClass::Transient, true), "{refused}");
    database.run(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    // Nothing that was opened meanwhile is used again.
    intake::store(&fresh, owner, &numbered(1, &["a"]), Taken::Unlikely).await.expect("written");
    fresh.open().await.expect("it answers");
    wait_for_database(&fresh).await.expect("usable");
}

// Break: let `Session::run` return the error of a plan that is stale.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_change_underneath_are_read_on() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    for change in ["ALTER TABLE batches ALTER COLUMN listener TYPE varchar(300)", "SELECT 1"] {
        work(&pool, change).await;
        database.run(change).await;
        assert_eq!(batches::find(&pool, 1).await.expect("read"), None, "{change}");
        processing::standings(&pool, &["a"]).await.expect("read");
    }
    assert_eq!(pool.trouble(), None);
}

// Break: let `check_encoding` in migrations.rs accept every encoding.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lacks_characters_is_refused_with_one_sentence() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = TestDatabase::encoded(encoding).await;
        let migrated = migrate(&settings(database.url())).await.expect_err("refused").to_string();
        let started = wait_for_database(&database.pool()).await.expect_err("refused").to_string();
        for error in [migrated, started] {
            assert!(error.contains(encoding) && error.contains("ENCODING 'UTF8'"), "{error}");
        }
    }
}

// Break: let `note` in trouble.rs note nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_person_to_mend_is_told() {
    for (change, told) in [
        ("DROP TABLE pending_stamps CASCADE", "pending_stamps"),
        ("ALTER TABLE stamps RENAME COLUMN created_date TO date", "created_date"),
        ("ALTER SEQUENCE stamps_id_seq MAXVALUE 5; SELECT setval('stamps_id_seq', 5)", "stamps_id_seq"),
        (
            "INSERT INTO stamps (id, object_cid, time_tolerance, created_date) OVERRIDING SYSTEM VALUE
          SELECT 2, 'other', 0, now()",
            "stamps_pkey",
        ),
    ] {
        let database = TestDatabase::new().await;
        let pool = database.pool();
        work(&pool, "before").await;
        let owner = owners::register(&pool).await.expect("an owner");
        database.run(change).await;
        let refused =
            intake::store(&pool, owner, &numbered(1, &["after"]), Taken::Unlikely).await.expect_err(change);
        assert_ne!(refused.class(), ErrorClass::Data, "{change}: {refused}");
        let said = pool.trouble().unwrap_or_default();
        assert!(said.contains(told), "{change}: {said:?}");
    }
}
