//! Partitions that leave a listener and come back to it while one of its writes hangs.

use test_support::{Proxy, eventually};

use crate::replicas::partitions;
use e2e::process::Process;
use e2e::world::World;

const DUE: &str = "2026-01-01T00:00:00Z";

/// What holds a write up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// Somebody has locked a table.
    Lock,
    /// Connections to PostgreSQL break and new ones are refused.
    Cut,
    /// Connections to PostgreSQL stay, and nothing comes.
    Freeze,
}

// Break: let `Ledgers::begin` in batch/heart/ledgers.rs refuse every partition that was begun before.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_returns_while_a_write_waits_for_a_lock_is_read_on() {
    everything_is_read_after_partitions_left_and_returned_during(Obstacle::Lock).await;
}

// Break: let `Ledgers::begin` in batch/heart/ledgers.rs refuse every partition that was begun before.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_returns_while_postgresql_is_cut_is_read_on() {
    everything_is_read_after_partitions_left_and_returned_during(Obstacle::Cut).await;
}

// Break: let `Ledgers::begin` in batch/heart/ledgers.rs refuse every partition that was begun before.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_returns_while_the_link_to_postgresql_is_half_open_is_read_on() {
    everything_is_read_after_partitions_left_and_returned_during(Obstacle::Freeze).await;
}

async fn everything_is_read_after_partitions_left_and_returned_during(obstacle: Obstacle) {
    let world = World::new().await;
    let (mut link, database_url): (Proxy, String) = world.database.proxied().await;
    let staying = world.listener(&[("DATABASE_URL", &database_url)]).await;
    let has = |listener: &Process| partitions(listener).len();
    eventually("it has all of them", || async { has(&staying) }, |count| *count == 12).await;
    let holder = world.database.connect().await;
    // Whatever the obstacle is, it meets a write and not the questions that come before one.
    holder
        .batch_execute("BEGIN; LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the table's lock");
    send(&world, "first", 1);
    staying.says("batches can't be written; trying again").await;
    match obstacle {
        Obstacle::Lock => {}
        Obstacle::Cut => link.cut().await,
        Obstacle::Freeze => link.freeze(),
    }
    if obstacle != Obstacle::Lock {
        holder.batch_execute("COMMIT").await.expect("the lock is given back");
    }

    let mut passing = world.listener(&[]).await;
    let shares = || async { [has(&staying), has(&passing)] };
    eventually("half of them moved", shares, |shares| *shares == [6, 6]).await;
    passing.signal("INT");
    assert_eq!(passing.ended().await.code(), Some(0));
    eventually("all are back", || async { has(&staying) }, |count| *count == 12).await;

    match obstacle {
        Obstacle::Lock => holder.batch_execute("COMMIT").await.expect("the lock is given back"),
        Obstacle::Cut | Obstacle::Freeze => link.restore().await,
    }
    world.every_stamp_is_in_one_batch(12).await;
    send(&world, "next", 12);
    world.every_stamp_is_in_one_batch(12 + 144).await;
}

/// Sends events of another producer, so many in each partition.
fn send(world: &World, name: &str, count: usize) {
    for partition in 0..12 {
        for number in 0..count {
            world.topic.send_stamp_to(partition, &format!("{name}-{partition}-{number}"), 0, DUE);
        }
    }
    world.topic.flush();
}
