//! A slow link slows down what goes over it, and nothing else.

use std::future::Future;
use std::time::Duration;

use test_support::{Proxy, TestDatabase, eventually};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

const EACH_WAY: Duration = Duration::from_millis(150);
const ROUND_TRIP: Duration = Duration::from_millis(300);

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it answers");
    tokio::spawn(connection);
    client
}

async fn slow() -> (TestDatabase, Proxy, Client, String) {
    let database = TestDatabase::empty().await;
    let (proxy, url) = database.proxied().await;
    let client = connect(&url).await;
    proxy.delay(EACH_WAY);
    (database, proxy, client, url)
}

async fn took<T>(what: impl Future<Output = T>) -> Duration {
    let started = Instant::now();
    what.await;
    started.elapsed()
}

// Break: let `delay` in proxy.rs set nothing.
#[tokio::test]
async fn over_a_slow_link_a_query_takes_a_round_trip_and_without_delay_less() {
    let (_database, proxy, client, _) = slow().await;
    let delayed = took(client.simple_query("SELECT 1")).await;
    assert!((ROUND_TRIP..ROUND_TRIP * 3).contains(&delayed), "{delayed:?}");
    proxy.delay(Duration::ZERO);
    let undelayed = took(client.simple_query("SELECT 1")).await;
    assert!(undelayed < ROUND_TRIP, "{undelayed:?}");
}

// Break: let `pass` in proxy.rs wait until what it has read is due.
#[tokio::test]
async fn over_a_slow_link_each_of_many_requests_under_way_takes_one_round_trip() {
    let (_database, _proxy, client, _) = slow().await;
    // The slowest of some that set out one after the other, while others are under way.
    let slowest = || async {
        let queries = (0..15).map(|query| {
            let client = &client;
            async move {
                tokio::time::sleep(EACH_WAY / 15 * query).await;
                took(client.simple_query("SELECT 1")).await
            }
        });
        futures_util::future::join_all(queries).await.into_iter().max().unwrap_or_default()
    };
    // A busy machine may be late for once.
    let in_time = |slowest: &Duration| (ROUND_TRIP..ROUND_TRIP * 5 / 4).contains(slowest);
    eventually("each takes a round trip and no more", slowest, in_time).await;
}

// Break: leave out the first wait of `connect` in proxy.rs.
#[tokio::test]
async fn over_a_slow_link_a_connection_takes_a_round_trip_before_its_first_byte() {
    let (_database, _proxy, _client, url) = slow().await;
    // The system's round trip and three of PostgreSQL's own: one for the name, two for the password's proof.
    let connecting = took(connect(&url)).await;
    assert!(connecting >= ROUND_TRIP * 4, "{connecting:?}");
}

// Break: leave `opened` out of `pass` in proxy.rs.
#[tokio::test]
async fn a_slow_link_freezes_and_is_restored_with_its_delay() {
    let (_database, mut proxy, client, _) = slow().await;
    let mut query = std::pin::pin!(client.simple_query("SELECT 1"));
    // The request is under way when the link freezes.
    assert!(tokio::time::timeout(EACH_WAY / 2, &mut query).await.is_err());
    proxy.freeze();
    assert!(tokio::time::timeout(ROUND_TRIP * 2, &mut query).await.is_err(), "it got through");
    proxy.restore().await;
    let rest = took(query).await;
    assert!(rest >= EACH_WAY, "{rest:?}");
}
