//! Group commits, of single stamps and of many in one request.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use test_support::eventually;
use test_support::patience::within;

use crate::harness::{Answer, Api, LINES, World};

/// How long it may take until ten thousand events are in Kafka and read from it.
const PUBLISHED: Duration = Duration::from_secs(30);

/// Returns the ids of so many stamps, in the order in which they are sorted.
fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number:05}")).collect()
}

async fn post(api: &Api, ids: &[String]) -> Answer {
    let line = |id| format!(r#"{{"object_cid":"{id}","time_tolerance":10}}"#);
    let lines: Vec<String> = ids.iter().map(line).collect();
    api.bulk(LINES, lines.join("\n").as_bytes()).await
}

/// Returns the statuses of the results.
fn statuses(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let results = answer["results"].as_array().expect("results").iter();
    results.map(|result| result["status"].as_u64().expect("a status")).collect()
}

/// Waits until exactly these are published, each once or more often.
async fn published(world: &World, ids: &[String]) -> Vec<String> {
    let keys = || async {
        let mut keys = world.published();
        keys.dedup();
        keys.len()
    };
    within(PUBLISHED, "events are published", keys, |count| *count == ids.len()).await;
    world.published()
}

/// Inserts a stamp in a transaction that stays open: whoever stores one of this id waits.
async fn held_up(world: &World, id: &str) -> impl Sized + use<> {
    let other = world.database.connect().await;
    let sql = format!(
        "BEGIN; INSERT INTO stamps (object_cid, time_tolerance, created_date) VALUES ('{id}', 1, now())"
    );
    other.batch_execute(&sql).await.expect("inserted");
    other
}

/// Waits until so many statements wait for a lock, or more.
async fn wait_for_locks(world: &World, statements: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("statements wait", || world.database.number(waiting), |count| *count >= statements).await;
}

// Break: answer `None` for each stamp instead of the error in `commit_group` of stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_equal_ids_is_503_as_well_where_the_first_was_not_stored() {
    let world = World::new().await;
    let (mut link, url) = world.database.proxied().await;
    let api = world.serve(&[("DATABASE_URL", &url)]).await;
    // The committer has something to do, so that what comes now is one group.
    let _other = held_up(&world, "one").await;
    let one = api.create("one");
    let same = async {
        wait_for_locks(&world, 1).await;
        join_all(["same", "same"].map(|id| api.create(id))).await
    };
    let cut = async {
        api.metric_is("stamp_api_intake_queue", 2.0).await;
        link.cut().await;
    };
    let (_, same, ()) = tokio::join!(one, same, cut);
    for answer in same {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    link.restore().await;
    api.stop().await;
}

// Break: let `commit` of stamps/intake.rs take ten rows at a time; hand out no `Stored` in `commit_group`.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_stamps_take_ten_transactions_and_each_event_is_published_once() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    assert_eq!(api.create("many-00007").await.status, 201);
    let ids = ids("many", 10_000);
    let mut expected = vec![201; ids.len()];
    expected[7] = 409;
    assert_eq!(statuses(&post(&api, &ids).await), expected);
    let transactions = "SELECT count(DISTINCT xmin::text) FROM stamps WHERE object_cid <> 'many-00007'";
    assert_eq!(world.database.number(transactions).await, 10);
    assert_eq!(published(&world, &ids).await, ids, "each once");
    api.metric_is("stamp_api_outbox_pending", 0.0).await;
    api.stop().await;
}

// Break: let `commit_group` of stamps/intake.rs keep the repeats.
#[tokio::test(flavor = "multi_thread")]
async fn of_equal_ids_one_is_stored_whether_they_come_in_one_request_or_in_many() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    // The second of two is a neighbour, or comes a transaction later.
    let mut twice = ids("twice", 1_500);
    twice.extend(ids("twice", 1_500));
    twice.insert(1, twice[0].clone());
    let expected: Vec<u64> =
        (0..3_001).map(|index| if index == 1 || index > 1_500 { 409 } else { 201 }).collect();
    assert_eq!(statuses(&post(&api, &twice).await), expected);
    let same = ids("same", 700);
    let answers = join_all((0..8).map(|_| post(&api, &same))).await;
    let created: u64 = answers.iter().filter_map(|answer| answer.json()["created"].as_u64()).sum();
    assert_eq!(created, 700);
    assert_eq!(world.stamps().await, 2_200);
    api.stop().await;
}

// Break: answer with what was stored instead of the error in `commit` of stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_in_between_is_503_and_the_same_again_stores_what_is_missing() {
    let world = World::new().await;
    let (mut link, url) = world.database.proxied().await;
    let api = world.serve(&[("DATABASE_URL", &url)]).await;
    let ids = ids("half", 10_000);
    let other = held_up(&world, "half-05500").await;
    let (answer, ()) = tokio::join!(post(&api, &ids), async {
        eventually("half of them are stored", || world.stamps(), |count| *count == 5_000).await;
        wait_for_locks(&world, 1).await;
        link.cut().await;
    });
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    drop(other);
    link.restore().await;
    let again = || post(&api, &ids);
    let answer = eventually("it is back", again, |answer| answer.status == 200).await;
    let statuses = statuses(&answer);
    assert!(statuses[..5_000].iter().all(|status| *status == 409));
    // The sixth thousand was on its way.
    assert!(statuses[6_000..].iter().all(|status| *status == 201));
    assert_eq!(world.stamps().await, 10_000);
    published(&world, &ids).await;
    assert_eq!(statuses.len(), 10_000);
    api.stop().await;
}

// Break: leave the requests in the queue after a failure in `run_bulk` of stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_behind_a_database_that_does_not_answer_is_told_so_within_two_seconds() {
    let world = World::new().await;
    let (mut link, url) = world.database.proxied().await;
    let api = world.serve(&[("DATABASE_URL", &url)]).await;
    let _other = held_up(&world, "first-00000").await;
    let (first, second) = (ids("first", 10), ids("second", 10));
    let asked = Instant::now();
    let (first, second) = tokio::join!(post(&api, &first), async {
        wait_for_locks(&world, 1).await;
        link.freeze();
        let answer = post(&api, &second).await;
        (answer, asked.elapsed())
    });
    assert_eq!((first.status, first.header("retry-after")), (503, Some("1")), "{first:?}");
    assert_eq!((second.0.status, second.0.header("retry-after")), (503, Some("1")), "{second:?}");
    assert!(second.1 < Duration::from_secs(2), "{second:?}");
    link.restore().await;
    api.stop().await;
}

// Break: let `submit_all` of stamps/intake.rs use the queue of single stamps.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_stamp_does_not_wait_behind_many() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let names = ["a", "b", "c", "d"];
    let mut others = Vec::new();
    for name in names {
        others.push(held_up(&world, &format!("{name}-00000")).await);
    }
    let many = names.map(|name| ids(name, 1_000));
    let (_, ()) = tokio::join!(join_all(many.iter().map(|ids| post(&api, ids))), async {
        wait_for_locks(&world, 1).await;
        for number in 0..20 {
            let asked = Instant::now();
            assert_eq!(api.create(&number.to_string()).await.status, 201);
            assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        }
        drop(others);
    });
    api.stop().await;
}

// Break: return `Unavailable` where the owner is retired in `store` of stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_retired_in_between_costs_nothing() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    for name in ["a", "b", "c"] {
        world.database.run("UPDATE intake_owners SET retired = true").await;
        let answer: Value = post(&api, &ids(name, 2_500)).await.json();
        assert_eq!(answer["created"], 2_500);
    }
    let mut all: Vec<String> = ["a", "b", "c"].iter().flat_map(|name| ids(name, 2_500)).collect();
    all.sort();
    published(&world, &all).await;
    api.stop().await;
}
