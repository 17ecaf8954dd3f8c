//! Telling a receiver of HTTP requests.

use std::collections::BTreeSet;
use std::time::Duration;

use test_support::eventually;

use super::receiver::{Receiver, slow, status};
use super::stamps;
use crate::harness::{AT_ONCE, Listener, World};

fn publish(world: &World, ids: &[String]) {
    for id in ids {
        world.topic.send_stamp(id, 0, "2026-01-01T00:00:00Z");
    }
    world.topic.flush();
}

fn listen(world: &World, receiver: &Receiver, more: &[(&str, &str)]) -> Listener {
    let own = receiver.variables();
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
    world.listen(&all)
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("cid-{number:04}")).collect()
}

async fn state(world: &World, state: &str) -> i64 {
    let filter = match state {
        "delivered" => "delivered_at IS NOT NULL",
        "waiting" => "next_attempt_at IS NOT NULL",
        _ => "delivered_at IS NULL AND next_attempt_at IS NULL",
    };
    world.database.number(&format!("SELECT count(*) FROM deliveries WHERE {filter}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_told_signed_and_as_it_is_committed() {
    let world = World::new(2).await;
    let receiver = Receiver::start(|_| status(204)).await;
    let listener = listen(&world, &receiver, &[]);
    let ids = ids(20);
    publish(&world, &ids);
    world.processed(20).await;
    eventually("all told", || async { state(&world, "waiting").await }, |waiting| *waiting == 0).await;
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.is_signed));
    assert!(requests.iter().all(|request| request.head.contains("application/cloudevents+json")));
    assert_eq!(stamps(requests.iter().map(|request| &request.event)), ids);
    let told: BTreeSet<String> = requests.iter().map(|request| request.event["id"].to_string()).collect();
    assert_eq!(told.len() as i64, world.database.number("SELECT count(*) FROM batches").await);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_given_up_and_told_again_when_an_operator_says_so() {
    let world = World::new(1).await;
    let receiver = Receiver::start(|number| status(if number == 0 { 410 } else { 200 })).await;
    let listener = listen(&world, &receiver, &[AT_ONCE]);
    publish(&world, &ids(1));
    eventually("given up", || async { state(&world, "failed").await }, |failed| *failed == 1).await;
    assert_eq!(listener.metric(r#"queue_listener_deliveries_total{result="failed"}"#).await, 1);
    let retried = world.deliveries("retry --failed");
    assert_eq!(retried, "1 row changed");
    eventually("told", || async { state(&world, "delivered").await }, |delivered| *delivered == 1).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].event, requests[1].event);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_says_when_it_wants_to_be_asked_again_and_redirects_lead_nowhere() {
    let world = World::new(1).await;
    let other = Receiver::start(|_| status(200)).await;
    let elsewhere = format!(
        "HTTP/1.1 307 No\r\nlocation: http://{}/\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        other.address
    );
    let receiver =
        Receiver::start(move |number| if number == 0 { elsewhere.clone() } else { status(200) }).await;
    let listener = listen(&world, &receiver, &[AT_ONCE]);
    publish(&world, &ids(1));
    eventually("told", || async { state(&world, "delivered").await }, |delivered| *delivered == 1).await;
    assert_eq!((receiver.requests().len(), other.requests().len()), (2, 0));
    let error: String = world.database.query("SELECT last_error FROM deliveries", &[]).await[0].get(0);
    assert_eq!(error, "the receiver answered 307");
    listener.stop().await;
}

/// Settings with which every stamp is a batch.
const ALONE: [(&str, &str); 2] = [AT_ONCE, ("MAX_BATCH_SIZE", "1")];

// Break: let the shell of deliveries/run.rs wait for each group before it does anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_holds_up_no_batch_and_has_32_requests_at_most() {
    let world = World::new(2).await;
    let receiver = Receiver::start(|_| String::new()).await;
    let listener = listen(&world, &receiver, &ALONE);
    publish(&world, &ids(200));
    eventually("as many as may be", || async { receiver.requests().len() }, |open| *open >= 32).await;
    world.processed(200).await;
    assert_eq!(receiver.requests().len(), 32);
    tokio::time::timeout(Duration::from_secs(20), listener.stop()).await.expect("a stop in time");
}

// Break: leave `next_attempt_at <= now()` out of `claim` in store/deliveries/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_listener_had_in_hand_is_told_by_another_and_not_before() {
    let world = World::new(1).await;
    let silent = Receiver::start(|_| String::new()).await;
    let first = listen(&world, &silent, &[ALONE[0], ALONE[1], ("SHUTDOWN_TIMEOUT_SECS", "1")]);
    publish(&world, &ids(3));
    eventually("asked", || async { silent.requests().len() }, |open| *open == 3).await;
    world.processed(3).await;
    first.stop().await;
    let receiver = Receiver::start(|_| status(200)).await;
    let second = listen(&world, &receiver, &ALONE);
    eventually("told", || async { state(&world, "delivered").await }, |delivered| *delivered == 3).await;
    assert_eq!(stamps(receiver.requests().iter().map(|request| &request.event)), ids(3));
    let after: f64 = world
        .database
        .query(
            "SELECT min(extract(epoch FROM d.first_attempt_at - b.processed_at))::float8
             FROM deliveries d JOIN batches b ON b.id = d.batch_id",
            &[],
        )
        .await[0]
        .get(0);
    assert!((20.0..30.0).contains(&after), "{after}");
    second.stop().await;
}

// Break: let `drain` of deliveries/webhook.rs read to the end.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_an_answer_is_read_than_it_takes_to_know_what_became_of_a_batch() {
    let world = World::new(1).await;
    let endless =
        format!("HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n{}", "x".repeat(1024 * 1024));
    let receiver = Receiver::start(move |_| endless.clone()).await;
    let listener = listen(&world, &receiver, &[AT_ONCE]);
    publish(&world, &ids(1));
    eventually("told", || async { state(&world, "delivered").await }, |delivered| *delivered == 1).await;
    assert_eq!(world.database.number("SELECT max(attempts)::bigint FROM deliveries").await, 1);
    listener.stop().await;
}

// Break: leave the time limits out of deliveries/webhook.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_ends_however_slowly_an_answer_comes() {
    let world = World::new(1).await;
    let url = format!("http://{}/", slow().await);
    let unused = Receiver::start(|_| status(200)).await;
    let listener = listen(&world, &unused, &[AT_ONCE, ("BATCH_WEBHOOK_URL", &url)]);
    publish(&world, &ids(1));
    let tries = || world.database.number("SELECT coalesce(max(attempts), 0)::bigint FROM deliveries");
    eventually("a try has ended", tries, |tries| *tries == 1).await;
    let error: String = world.database.query("SELECT last_error FROM deliveries", &[]).await[0].get(0);
    assert_eq!(error, "no answer within 15 s");
    listener.stop().await;
}
