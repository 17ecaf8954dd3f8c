//! More listeners than one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use test_support::eventually;

use crate::process::Process;
use crate::world::World;

/// The partitions that a listener has according to its log.
fn partitions(listener: &Process) -> BTreeSet<i32> {
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
