//! What was promised outlasts a crash of PostgreSQL, whatever its databases' defaults are.

use domain::batch::policy::Trigger::MinBatchSize;
use platform::settings::Secret;
use store::dead_letters::{self, queries};
use store::messages::inbox::{self, Folder};
use store::messages::rows;
use store::settings::DatabaseSettings;
use store::stamps::intake::{self, Taken};
use store::stamps::processing::StampStanding;
use store::stamps::{owners, processing};
use store::{Database, migrations};
use test_support::OwnPostgres;
use uuid::Uuid;

use crate::values::{batches, letter, maker, message, numbered};

/// A server that would lose what it has just been told, if it were asked to.
struct World {
    server: OwnPostgres,
}

impl World {
    async fn new() -> Self {
        // Nothing but a commit that waits for it writes the log for ten seconds.
        let server = OwnPostgres::start(&["wal_writer_delay=10s", "autovacuum=off"]).await;
        let world = Self { server };
        migrations::migrate(&world.settings()).await.expect("the migrations apply");
        let (client, connection) =
            tokio_postgres::connect(&world.server.url("postgres"), tokio_postgres::NoTls)
                .await
                .expect("it answers");
        tokio::spawn(connection);
        client
            .batch_execute("ALTER DATABASE postgres SET synchronous_commit = off; CHECKPOINT")
            .await
            .expect("a default of the database's");
        world
    }

    fn settings(&self) -> DatabaseSettings {
        DatabaseSettings { url: Secret::new(self.server.url("postgres")), pool_size: 10 }
    }

    fn pool(&self) -> Database {
        Database::new(&self.settings(), "test").expect("the URL is valid")
    }

    async fn crash(&mut self) -> Database {
        self.server.crash();
        self.server.start_again().await;
        self.pool()
    }
}

// Break: leave `{DURABLE}` out of `store` in stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_outlasts_a_crash_of_postgresql_although_its_database_does_not_wait_for_the_disk() {
    let mut world = World::new().await;
    let pool = world.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let ids: Vec<String> = (0..50).map(|id| format!("cid-{id}")).collect();
    for (id, seq) in ids.iter().zip(1..) {
        intake::store(&pool, owner, &numbered(seq, &[id]), Taken::Unlikely).await.expect("stored");
    }
    let pool = world.crash().await;
    let stamps = owners::outbox(&pool, owner, 0, 100).await.expect("the outbox").len();

    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let batch = batches(ids.iter().copied(), ids.len(), &[MinBatchSize]);
    processing::process(&pool, &batch, &maker("one", "t"), false).await.expect("processed");
    let pool = world.crash().await;
    let standings = processing::standings(&pool, &ids).await.expect("looked up");
    let processed = standings.iter().filter(|standing| **standing == StampStanding::Processed).count();

    dead_letters::store(&pool, &[letter("t", 0, 0, 0)]).await.expect("stored");
    let pool = world.crash().await;
    let letters = queries::list(&pool, queries::Filter::default(), 10).await.expect("listed").len();

    let user = Uuid::new_v4();
    rows::store(&pool, &[message(user, 0)], &[], &[]).await.expect("stored");
    let pool = world.crash().await;
    rows::store(&pool, &[message(user, 1)], &[], &[]).await.expect("stored");
    let shown = inbox::list(&pool, user, Folder::Inbox, None, 10).await.expect("listed").messages;
    let messages = shown.len();
    for message in shown {
        let moved = inbox::set_active(&pool, user, message.uuid, false, user).await.expect("asked");
        assert!(moved.is_some(), "the message is moved to the trash");
    }
    let pool = world.crash().await;
    let trashed = inbox::counts(&pool, user).await.expect("counted").trash;

    assert_eq!(
        [
            ("stamps", stamps),
            ("in batches", processed),
            ("dead letters", letters),
            ("messages", messages),
            ("in the trash", trashed as usize)
        ],
        [("stamps", 50), ("in batches", 50), ("dead letters", 1), ("messages", 2), ("in the trash", 2)],
    );
}
