//! Outboxes whose owner has gone, and owners who don't know yet that they have.

use std::time::Duration;

use test_support::eventually;
use test_support::patience::within;

use crate::harness::{Api, World};

/// How long a takeover may take. README: the next process publishes what a dead one left; with five seconds of silence
/// and one of heartbeat.
const TAKEOVER: Duration = Duration::from_secs(10);

/// Makes a dead owner's row; everything up to `through` is in Kafka.
async fn owner(world: &World, through: i64, seen_at: &str) -> i64 {
    let sql = format!(
        "INSERT INTO intake_owners (published_through, seen_at) VALUES ($1, now() + interval '{seen_at}') RETURNING id"
    );
    world.database.query(&sql, &[&through]).await[0].get(0)
}

/// Makes an owner's stamps with these numbers, under the name `{name}-{number}`.
async fn stamps(world: &World, name: &str, owner: i64, first: i64, last: i64) {
    let sql = "WITH made AS (
                   INSERT INTO stamps (object_cid, time_tolerance, created_date)
                   SELECT $1::text || '-' || seq, 10, now() FROM generate_series($3::bigint, $4::bigint) AS seq
                   RETURNING id, object_cid)
               INSERT INTO pending_stamps (stamp_id, owner, seq)
               SELECT id, $2::bigint, split_part(object_cid, '-', 2)::bigint FROM made";
    world.database.query(sql, &[&name, &owner, &first, &last]).await;
}

/// Waits until an owner is gone from the database: it has nothing left to publish then.
async fn gone(world: &World, owner: i64) {
    let count = || async {
        let sql = "SELECT count(*) FROM intake_owners WHERE id = $1";
        world.database.query(sql, &[&owner]).await[0].get::<_, i64>(0)
    };
    within(TAKEOVER, "the silent owner's row is gone", count, |count| *count == 0).await;
}

/// Returns the owners whose processes live, oldest first.
async fn owners(world: &World) -> Vec<i64> {
    let sql = "SELECT id FROM intake_owners WHERE NOT retired ORDER BY id";
    world.database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_api_publishes_exactly_what_a_silent_owner_has_pending_above_its_mark() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    // A living one, whose own process would publish its stamp.
    let alive = owner(&world, 0, "1 hour").await;
    stamps(&world, "alive", alive, 1, 1).await;
    let silent = owner(&world, 3, "-1 hour").await;
    stamps(&world, "silent", silent, 1, 6).await;
    // Processed meanwhile: its event was in Kafka, whatever the mark says.
    let processed =
        "DELETE FROM pending_stamps p USING stamps s WHERE s.id = p.stamp_id AND object_cid = 'silent-5'";
    world.database.run(processed).await;
    gone(&world, silent).await;
    assert_eq!(world.published(), ["silent-4", "silent-6"]);
    assert!(owners(&world).await.contains(&alive), "who is not silent is left alone");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_of_many_pages_are_published_whole() {
    const EACH: i64 = 12_000;
    let world = World::new().await;
    let mut silent = Vec::new();
    for name in ["one", "two"] {
        let owner = owner(&world, 0, "-1 minute").await;
        stamps(&world, name, owner, 1, EACH).await;
        silent.push(owner);
    }
    let api = world.serve(&[]).await;
    for owner in silent {
        gone(&world, owner).await;
    }
    let mut published = world.published();
    assert_eq!(published.len() as i64, 2 * EACH, "each once");
    published.dedup();
    assert_eq!(published.len() as i64, 2 * EACH, "and all of them");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_whose_owner_was_retired_by_another_goes_on_under_a_new_one_and_loses_nothing() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let first = owners(&world).await;
    // In the middle of the work, again and again.
    for round in 0..5 {
        for number in 0..40 {
            if number == 20 {
                world.database.run("UPDATE intake_owners SET retired = true").await;
            }
            let answer = api.create(&format!("{round}-{number}")).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
    assert_eq!(world.stamps().await, 200);
    everything_is_published(&world).await;
    let last = || owners(&world);
    let are_new = |owners: &Vec<i64>| owners.len() == 3 && owners.iter().all(|owner| !first.contains(owner));
    eventually("new owners", last, are_new).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_whose_owner_is_gone_altogether_goes_on_under_a_new_one() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    assert_eq!(api.create("before").await.status, 201);
    everything_is_published(&world).await;
    // Somebody else has taken it over, published it to its end and removed it.
    world.database.run("DELETE FROM intake_owners").await;
    assert_eq!(api.create("after").await.status, 201);
    everything_is_published(&world).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_was_cut_off_for_longer_than_the_silence_is_taken_over_and_goes_on_when_it_is_back() {
    let world = World::new().await;
    let (mut link, url) = world.database.proxied().await;
    let zombie = world.serve(&[("DATABASE_URL", &url)]).await;
    let its = owners(&world).await;
    let other = world.serve(&[]).await;
    assert_eq!(zombie.create("before").await.status, 201);
    link.freeze();
    // What was lost between the commit and Kafka, let us say.
    stamps(&world, "lost", its[0], 1_000, 1_000).await;
    assert_eq!(zombie.create("during").await.status, 503);
    for owner in &its {
        gone(&world, *owner).await;
    }
    link.restore().await;
    let created = || async { zombie.create("after").await.status };
    eventually("it takes stamps in again", created, |status| matches!(status, 201 | 409)).await;
    // Not stored, or not known to be.
    assert!(matches!(zombie.create("during").await.status, 201 | 409));
    everything_is_published(&world).await;
    assert_eq!(world.stamps().await, 4);
    // Three for either, one for each committer.
    let are_new = |living: &Vec<i64>| living.len() == 6 && !living.iter().any(|owner| its.contains(owner));
    eventually("each has owners of its own", || owners(&world), are_new).await;
    for api in [zombie, other] {
        Api::stop(api).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_whose_commit_was_answered_into_the_void_is_published_and_the_same_request_is_409() {
    let world = World::new().await;
    let (mut link, url) = world.database.proxied().await;
    let api = world.serve(&[("DATABASE_URL", &url)]).await;
    // Another's stamp of this name holds the statement up until its answer can't come through any more.
    let other = world.database.connect().await;
    let same =
        "BEGIN; INSERT INTO stamps (object_cid, time_tolerance, created_date) VALUES ('lost', 1, now())";
    other.batch_execute(same).await.expect("inserted");
    let (answer, ()) = tokio::join!(api.create("lost"), async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("it waits", || world.database.number(waiting), |count| *count > 0).await;
        link.freeze();
        other.batch_execute("ROLLBACK").await.expect("it was never there");
    });
    assert_eq!(answer.status, 503, "{answer:?}");
    eventually("it is stored all the same", || world.stamps(), |count| *count == 1).await;
    link.restore().await;
    everything_is_published(&world).await;
    assert_eq!(api.create("lost").await.status, 409);
    api.stop().await;
}

/// Waits until every stamp is in the topic, once or more often.
async fn everything_is_published(world: &World) {
    let sql = "SELECT object_cid FROM stamps ORDER BY object_cid";
    let stored: Vec<String> = world.database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    let published = || async {
        let mut keys = world.published();
        keys.dedup();
        keys
    };
    eventually("everything is published", published, |keys| *keys == stored).await;
}
