//! More listeners than one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use test_support::eventually;

use e2e::process::Process;
use e2e::world::World;

/// Returns the partitions that a listener has according to its log.
pub(crate) fn partitions(listener: &Process) -> BTreeSet<i32> {
    let mut partitions = BTreeSet::new();
    for line in listener.lines() {
        let Some((_, list)) = line.split_once("partitions=[") else { continue };
        let list = list.split(']').next().expect("a list");
        let list = list.split(", ").filter_map(|number| number.parse::<i32>().ok());
        if line.contains("partitions assigned") {
            partitions.extend(list);
        } else if line.contains("partitions revoked") {
            list.for_each(|partition| {
                partitions.remove(&partition);
            });
        }
    }
    partitions
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_partitions_and_one_that_stops_gives_them_back_within_five_seconds() {
    let world = World::new().await;
    let first = world.listener(&[]).await;
    let second = world.listener(&[]).await;
    let third = world.listener(&[]).await;
    let listeners = [&first, &second, &third];
    let shares = || async { listeners.map(|listener| partitions(listener).len()) };
    eventually("four partitions each", shares, |shares| *shares == [4, 4, 4]).await;
    first.signal("INT");
    let stopped = Instant::now();
    let shares = || async { [&second, &third].map(|listener| partitions(listener).len()) };
    eventually("six partitions each", shares, |shares| *shares == [6, 6]).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    // Whoever has the partitions works on them.
    let now = "2026-01-01T00:00:00Z";
    (0..100).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 0, now));
    world.every_stamp_is_in_one_batch(100).await;
}

// Break: make `REVOKE_PATIENCE` in stamps/consumer/callbacks.rs a minute.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_on_in_time_although_a_write_hangs() {
    let world = World::new().await;
    let hanging = world.listener(&[]).await;
    let has = |listener: &Process| partitions(listener).len();
    eventually("it has all of them", || async { has(&hanging) }, |count| *count == 12).await;
    let holder = world.database.connect().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the table's lock");
    let now = "2026-01-01T00:00:00Z";
    (0..100).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 0, now));
    world.topic.flush();
    hanging.says("batches can't be written; trying again").await;
    let other = world.listener(&[]).await;
    let started = Instant::now();
    eventually("half of them moved", || async { has(&other) }, |count| *count == 6).await;
    // A heartbeat until the rebalance is known, three seconds of patience with the write, twice at most.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    holder.batch_execute("COMMIT").await.expect("the lock is given back");
    world.every_stamp_is_in_one_batch(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stood_still_for_longer_than_its_session_finds_its_work_done_and_takes_up_new_work() {
    let world = World::new().await;
    // What waits for its time, so that the listener has it in memory when it stops.
    let patient =
        [("MIN_BATCH_SIZE", "1000"), ("MAX_BATCH_SIZE", "1000"), ("KAFKA_CONF_SESSION_TIMEOUT_MS", "6000")];
    let (zombie, zombie_url) = world.listener_with_url(&patient).await;
    let (_other, other_url) = world.listener_with_url(&patient).await;
    let soon = world
        .database
        .query(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '50 seconds',
        'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
            &[],
        )
        .await[0]
        .get::<_, String>(0);
    (0..200).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 1, &soon));
    world.topic.flush();
    let waiting = || async {
        let (one, other) = (
            world.metric(&zombie_url, "queue_listener_pending").await,
            world.metric(&other_url, "queue_listener_pending").await,
        );
        one.zip(other).map(|(one, other)| one + other)
    };
    eventually("all wait in the two", waiting, |sum| *sum == Some(200.0)).await;
    zombie.signal("STOP");
    // Due ten seconds after they were sent, and six seconds after the zombie fell silent.
    world.every_stamp_is_in_one_batch_of(200, 1_000).await;
    zombie.signal("CONT");
    zombie.says("lost=true").await;
    let duplicates = || async { world.metric(&zombie_url, "queue_listener_pending").await };
    eventually("it has given up what it held", duplicates, |pending| *pending == Some(0.0)).await;
    (200..400).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 0, &soon));
    world.every_stamp_is_in_one_batch_of(400, 1_000).await;
    let committed = || async { world.topic.committed(world.group()) };
    eventually("all offsets are committed", committed, |sum| *sum == 400).await;
}
