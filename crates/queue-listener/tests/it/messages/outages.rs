//! Messages and stamps while one of them can't be stored, or neither.

use std::time::{Duration, Instant};

use test_support::eventually;

use crate::harness::{AT_ONCE, LONG, World};
use crate::messages::{User, listen};

// Break: let `MessagePoller::store` in messages/poller.rs commit before the result is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_postgresql_is_away_is_stored_afterwards_and_none_of_it_dies() {
    let (world, users) = (World::new(1).await, User::some(2).await);
    let (mut link, url) = world.database.proxied().await;
    let listener = listen(&world, &[("DATABASE_URL", &url)]).await;
    for user in &users {
        user.send("before");
        user.has(&world, &["before"]).await;
        user.committed(&world.message_group(), 1).await;
    }
    link.cut().await;
    let subjects: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    for user in &users {
        user.send_all(&subjects);
    }
    // Partitions come while it is away, too.
    let late = User::new().await;
    late.send("late");
    let topics = || listener.metric("queue_listener_user_message_topics");
    eventually("the late one's topic is assigned", topics, |topics| *topics >= 3).await;
    assert_eq!(
        users[0].topic.committed(&world.message_group()),
        1,
        "nothing is committed that is not stored"
    );
    link.restore().await;
    let all: Vec<&str> = std::iter::once("before").chain(subjects.iter().map(String::as_str)).collect();
    for user in &users {
        user.has(&world, &all).await;
        user.committed(&world.message_group(), 501).await;
        assert!(user.letters(&world).await.is_empty());
    }
    late.has(&world, &["late"]).await;
    listener.stop().await;
}

// Break: note no partition in `stats` of messages/callbacks.rs; in `work` of app.rs, await the stamps before the messages instead of joining the two.
#[tokio::test(flavor = "multi_thread")]
async fn messages_go_on_while_stamps_can_not_be_written_and_the_other_way_round() {
    let (world, user) = (World::new(1).await, User::new().await);
    let listener = listen(&world, &[AT_ONCE]).await;
    let now = world.minutes_ago(0.0).await;
    let holder = world.database.connect().await;
    let lock = |table: &str| format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");

    holder.batch_execute(&lock("batches")).await.expect("the table's lock");
    world.topic.send_stamp("a", 0, &now);
    let waits = || async {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'batches'::regclass";
        world.database.number(sql).await
    };
    eventually("the stamps' writer waits", waits, |count| *count > 0).await;
    user.send("goes on");
    user.has(&world, &["goes on"]).await;
    user.committed(&world.message_group(), 1).await;
    holder.batch_execute("COMMIT").await.expect("the lock is given back");
    world.processed(1).await;

    holder.batch_execute(&lock("stored_messages")).await.expect("the table's lock");
    user.send("waits");
    let waits = || async {
        let sql =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'stored_messages'::regclass";
        world.database.number(sql).await
    };
    eventually("a message waits", waits, |count| *count > 0).await;
    (0..200).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.processed(201).await;
    world.committed(world.group(), 201).await;
    assert_eq!(user.topic.committed(&world.message_group()), 1);
    let metric = |name: &'static str| {
        let listener = &listener;
        move || listener.metric(name)
    };
    let (lag, paused) =
        (metric("queue_listener_user_messages_lag"), metric("queue_listener_user_messages_paused"));
    eventually("messages are not read on", &paused, |paused| *paused == 1).await;
    user.send("is not read");
    // Other tests' users may have sent some as well.
    eventually("two are not stored", &lag, |lag| *lag >= 2).await;
    let behind = metric("queue_listener_user_messages_lag_seconds");
    eventually("one has waited for a while", behind, |seconds| *seconds >= 1).await;
    assert_eq!(listener.metric("queue_listener_lag_seconds").await, 0, "stamps are read");
    holder.batch_execute("COMMIT").await.expect("the lock is given back");
    user.has(&world, &["goes on", "waits", "is not read"]).await;
    eventually("nothing waits", &lag, |lag| *lag == 0).await;
    assert_eq!(paused().await, 0);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_though_neither_can_be_written_and_nothing_is_lost() {
    let (world, user) = (World::new(1).await, User::new().await);
    let listener = listen(&world, &[]).await;
    let now = world.minutes_ago(0.0).await;
    let holder = world.database.connect().await;
    let lock = "BEGIN; LOCK TABLE batches, stored_messages IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("the tables' locks");
    world.topic.send_stamp("a", 0, &now);
    user.send("waits");
    let waits = "SELECT count(DISTINCT relation) FROM pg_locks
                 WHERE NOT granted AND relation IN ('batches'::regclass, 'stored_messages'::regclass)";
    eventually("both wait", || world.database.number(waits), |count| *count == 2).await;
    let started = Instant::now();
    listener.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(user.topic.committed(&world.message_group()), 0);
    holder.batch_execute("COMMIT").await.expect("the locks are given back");
    let listener = listen(&world, &[]).await;
    user.has(&world, &["waits"]).await;
    world.processed(1).await;
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_mends_ends_the_listener_and_names_the_step() {
    let (world, user) = (World::new(1).await, User::new().await);
    let listener = listen(&world, &[]).await;
    world.database.refuse("stored_messages", "true", "23514").await;
    user.send("refused");
    let error = format!("{:#}", listener.failed().await);
    assert!(error.starts_with("messages can't be stored: "), "{error}");
    assert_eq!(user.topic.committed(&world.message_group()), 0);
}
