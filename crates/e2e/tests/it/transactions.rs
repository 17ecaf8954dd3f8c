//! Another producer's transactions on the topic of stamps.

use std::time::Instant;

use test_support::{OpenTransaction, eventually, stack};

use e2e::world::World;

const STAMPS: i64 = 50;

// Break: let `is_held_back` of stamps/consumer/ends.rs return false, or let `lag` count up to `high`.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_told_of_and_its_end_leaves_no_lag() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let (listener, admin) = world.listener_with_url(&[]).await;
    let metric = async |name: &str| world.metric(&admin, name).await;
    let event =
        format!(r#"{{"object_cid":"theirs","time_tolerance":0,"created_date":"{}"}}"#, world.now().await);
    let servers = &stack().kafka_bootstrap_servers;
    let transaction = OpenTransaction::begin(&world.topic, servers, 12, event.as_bytes());
    let begun = Instant::now();
    for number in 0..STAMPS {
        assert_eq!(world.create(&url, &number.to_string(), "0").await.expect("an answer").0, 201);
    }
    world.readiness(&admin, 200, "an open transaction of another producer holds back").await;
    println!("/readyz says so after {:?}", begun.elapsed());
    listener.says("an open transaction of another producer").await;
    assert!(metric("queue_listener_held_back_partitions").await.expect("a number") > 0.0);
    let lag = || metric("queue_listener_lag");
    eventually("what is held back is lag", lag, |lag| lag.is_some_and(|lag| lag >= STAMPS as f64)).await;

    transaction.commit();
    // Of the twelve records of one id the first is a stamp, and the others are duplicates.
    world.every_stamp_is_in_one_batch(STAMPS + 1).await;
    eventually("no lag is left by the marks", lag, |lag| *lag == Some(0.0)).await;
    world.readiness(&admin, 200, r#""ready""#).await;
}
