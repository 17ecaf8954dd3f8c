//! PostgreSQL as people have it: far away, read-only for a while, locked, with a standby that takes over.

use std::time::Duration;

use futures_util::future::join_all;
use test_support::OwnPostgres;

use crate::load::{Answer, Load};
use crate::messages::{SECRET, USER, token};
use e2e::process::command;
use e2e::world::World;

/// Posts so many stamps at once and returns the answers that are no 201.
async fn refused(world: &World, url: &str, ids: impl IntoIterator<Item = String>) -> Vec<Option<u16>> {
    let posts =
        ids.into_iter().map(|id| async move { world.create(url, &id, "0").await.map(|answer| answer.0) });
    join_all(posts).await.into_iter().filter(|status| *status != Some(201)).collect()
}

// Break: let `session` in database.rs await `timeout_get` itself.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_link_of_a_quarter_second_everything_is_taken_and_processed_once() {
    let world = World::new().await;
    let (link, url) = world.database.proxied().await;
    link.delay(Duration::from_millis(125));
    let far = [("DATABASE_URL", url.as_str())];
    let (_api, api) = world.api_with(&far).await;
    let _listener = world.listener(&far).await;
    let refused = refused(&world, &api, (0..500).map(|number| format!("stamp-{number}"))).await;
    assert_eq!(refused, []);
    world.every_stamp_is_in_one_batch(500).await;
    world.every_event_is_read(500).await;
}

// Break: let `forget_idle` in database.rs forget nothing and `finish` put sessions back over which something failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_for_a_while_is_told_of_and_then_written_to_again() {
    let world = World::new().await;
    let (api, url) = world.api().await;
    let (_listener, listener_url) = world.listener_with_url(&[]).await;
    assert_eq!(world.create(&url, "before", "0").await.expect("an answer").0, 201);
    let name = world.database.name();
    world.database.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    world.database.query(&format!("SELECT pg_terminate_backend(pid) {others}"), &[]).await;
    for service in [&url, &listener_url] {
        world.readiness(service, 503, "takes no writes").await;
    }
    api.says("takes no writes").await;
    let metrics = format!("http://{}", api.address("metrics").await);
    let read_only = r#"stamp_api_database_state{state="read_only"}"#;
    assert_eq!(world.metric(&metrics, read_only).await, Some(1.0));
    let (status, body) = world.create(&url, "meanwhile", "0").await.expect("an answer");
    assert_eq!(status, 503, "{body}");
    world.database.run(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    for service in [&url, &listener_url] {
        world.readiness(service, 200, r#""ready""#).await;
    }
    assert_eq!(world.create(&url, "after", "0").await.expect("an answer").0, 201);
    world.every_stamp_is_in_one_batch(2).await;
}

// Break: let `of_state` in error.rs call every one of these states fatal.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_or_a_pooler_says_when_it_is_unwell_never_ends_a_listener() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let (listener, listener_url) = world.listener_with_url(&[]).await;
    for (number, state) in ["XX000", "25P03", "25P04", "0A000", "54000", "23505", "2200H"].iter().enumerate()
    {
        world.database.refuse("batches", "true", state).await;
        let id = format!("stamp-{number}");
        assert_eq!(world.create(&url, &id, "0").await.expect("an answer").0, 201);
        listener.says(state).await;
        world.database.run("DROP TRIGGER refuse ON batches; DROP FUNCTION refuse").await;
        world.processed(&url, &id).await;
    }
    world.readiness(&listener_url, 200, "").await;
    world.every_stamp_is_in_one_batch(7).await;
    world.every_event_is_read(7).await;
    assert_eq!(world.database.number("SELECT count(*) FROM dead_letters").await, 0);
}

// Break: let `start` in stamp-api's app.rs give the checks and the intake the same pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_messages_holds_up_no_stamp_and_a_lock_on_stamps_no_message() {
    let world = World::new().await;
    let variables = [("DATABASE_POOL_SIZE", "4"), SECRET];
    let (_api, url) = world.api_with(&variables).await;
    let _listener = world.listener(&variables).await;
    let user = token(USER, &[]);
    let inbox = || async {
        let path = format!("{url}/v1/users/{USER}/messages");
        let asked = world.client.get(path).bearer_auth(&user).send().await;
        asked.expect("an answer").status().as_u16()
    };
    let mut locker = world.database.connect().await;
    let lock = locker.transaction().await.expect("begun");
    lock.batch_execute("LOCK TABLE stored_messages, dead_letters").await.expect("locked");
    let (held_up, refused) = tokio::join!(
        join_all((0..30).map(|_| inbox())),
        refused(&world, &url, (0..100).map(|number| format!("stamp-{number}")))
    );
    assert_eq!((refused, held_up), (vec![], vec![503; 30]));
    world.every_stamp_is_in_one_batch(100).await;
    lock.rollback().await.expect("unlocked");
    let lock = locker.transaction().await.expect("begun");
    lock.batch_execute("LOCK TABLE pending_stamps, stamps, intake_owners").await.expect("locked");
    let stamps = join_all((0..30).map(|number| {
        let (world, url) = (&world, &url);
        async move { world.get(url, &format!("/v1/stamps/stamp-{number}")).await.expect("an answer").0 }
    }));
    let (held_up, answered) = tokio::join!(stamps, join_all((0..30).map(|_| inbox())));
    assert_eq!((answered, held_up), (vec![200; 30], vec![503; 30]));
}

// Break: let `hosts_and_ports` in connection/url.rs return the first host alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_under_load_loses_nothing_that_was_answered() {
    let world = World::new().await;
    let mut primary = OwnPostgres::start(&[]).await;
    let standby = primary.standby().await;
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let url = format!("postgres://postgres:postgres@{hosts}/postgres?target_session_attrs=read-write");
    let both = [("DATABASE_URL", url.as_str())];
    let migrated = command("stamp-api", &both).arg("migrate").status().expect("it runs");
    assert!(migrated.success());
    // What is answered is on the standby's disk.
    primary.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    primary.run("postgres", "SELECT pg_reload_conf()").await;
    let (_api, api) = world.api_with(&both).await;
    let _listener = world.listener(&both).await;
    let load = Load::start(&api, 4);
    load.answered(201, 300).await;
    primary.stop();
    standby.promote();
    let promoted = std::time::Instant::now();
    load.answered(201, 300).await;
    println!("300 stamps taken {} ms after the promotion", promoted.elapsed().as_millis());
    let answers = load.stop().await;
    let taken: Vec<_> = answers.iter().filter(|answer| answer.status == Some(201)).collect();
    for answer in &taken {
        world.processed(&api, &answer.object_cid).await;
    }
    println!("{} taken, all processed", taken.len());
    let other = |answer: &&Answer| !matches!(answer.status, Some(201 | 503) | None);
    assert_eq!(answers.iter().filter(other).count(), 0);
}
