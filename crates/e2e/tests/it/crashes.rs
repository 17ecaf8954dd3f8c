//! Processes that are killed, and what is left of their work.

use std::sync::Arc;
use std::time::Duration;

use test_support::eventually;

use e2e::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_killed_while_it_works_leaves_every_stamp_in_one_batch() {
    const EVENTS: i64 = 10_000;
    let world = World::new().await;
    let now = "2026-01-01T00:00:00Z";
    (0..EVENTS).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 10, now));
    world.topic.flush();
    let listener = world.start("queue-listener", &[]);
    let some = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
    eventually("it is at work", || world.database.number(some), |count| *count > 0).await;
    listener.signal("KILL");
    let _again = world.listener(&[]).await;
    world.every_stamp_is_in_one_batch(EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_killed_under_load_loses_nothing_it_has_acknowledged() {
    const CLIENTS: usize = 8;
    const KILLS: usize = 3;
    let world = Arc::new(World::new().await);
    let _listener = world.listener(&[]).await;
    let (mut api, mut url) = world.api().await;
    let mut acknowledged = Vec::new();
    for round in 0..KILLS {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (world, url) = (Arc::clone(&world), url.clone());
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    // Until the service is gone.
                    for number in 0.. {
                        let id = format!("{round}-{client}-{number}");
                        match world.create(&url, &id, "0").await {
                            Some((201, _)) => acknowledged.push(id),
                            _ => return acknowledged,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let stored = "SELECT count(*) FROM stamps";
        let before = world.database.number(stored).await;
        eventually("stamps come in", || world.database.number(stored), |count| *count > before + 500).await;
        api.signal("KILL");
        for client in clients {
            acknowledged.extend(client.await.expect("no panic"));
        }
        (api, url) = world.api().await;
    }
    // The dead owners' outboxes are taken over after five seconds of silence.
    let stored = world.database.number("SELECT count(*) FROM stamps").await;
    world.every_stamp_is_in_one_batch(stored).await;
    let known = "SELECT count(*) FROM stamp_states WHERE state = 'processed' AND object_cid = ANY($1)";
    let processed: i64 = world.database.query(known, &[&acknowledged]).await[0].get(0);
    assert_eq!(processed, acknowledged.len() as i64);
    world.every_event_is_published(stored as usize).await;
    drop(api);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_both_services_with_exit_code_0() {
    let world = World::new().await;
    let (mut api, url) = world.api().await;
    let mut listener = world.listener(&[("MIN_BATCH_SIZE", "5")]).await;
    assert_eq!(world.create(&url, "waits", "10").await.expect("an answer").0, 201);
    let pending = "SELECT count(*) FROM pending_stamps";
    eventually("it waits", || world.database.number(pending), |count| *count == 1).await;
    api.signal("TERM");
    listener.signal("INT");
    let started = std::time::Instant::now();
    assert_eq!(api.ended().await.code(), Some(0));
    assert_eq!(listener.ended().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "within SHUTDOWN_TIMEOUT_SECS");
    // A day later, so to say: the next listener takes it.
    let _next = world.listener(&[("MIN_BATCH_SIZE", "1")]).await;
    world.every_stamp_is_in_one_batch(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_hundred_thousand_waiting_is_clean_and_what_waits_is_there_again() {
    const WAITING: i64 = 100_000;
    let world = World::new().await;
    let patient = [("MIN_BATCH_SIZE", "1000000"), ("MAX_BATCH_SIZE", "1000000")];
    let (mut first, first_url) = world.listener_with_url(&patient).await;
    let now = world.now().await;
    (0..WAITING).for_each(|id| world.topic.send_stamp(&format!("waits-{id}"), 10_000, &now));
    world.topic.flush();
    let all_wait = Some(WAITING as f64);
    let waiting = |url: String| {
        let world = &world;
        move || {
            let url = url.clone();
            async move { world.metric(&url, "queue_listener_pending").await }
        }
    };
    eventually("all wait", waiting(first_url), |waiting| *waiting == all_wait).await;
    let asked = std::time::Instant::now();
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "within SHUTDOWN_TIMEOUT_SECS: {:?}", asked.elapsed());

    let (_second, second_url) = world.listener_with_url(&patient).await;
    eventually("all wait again", waiting(second_url), |waiting| *waiting == all_wait).await;
    // What falls due among so many leaves alone.
    (0..10).for_each(|id| world.topic.send_stamp(&format!("due-{id}"), 0, "2026-01-01T00:00:00Z"));
    world.every_stamp_is_in_one_batch(10).await;
}
