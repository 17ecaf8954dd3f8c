//! A backlog that is larger than PostgreSQL's appetite.

use std::time::Duration;

use test_support::KafkaLink;
use test_support::patience::within;

use e2e::world::World;

const EVENTS: i64 = 150_000;

// Break: pause after each chunk in `hand_over` of stamps/consumer/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_fetched_about_once_however_slowly_it_is_processed() {
    let kafka = KafkaLink::open().await;
    let world = World::new().await;
    // 5,000 stamps a second, so that a transaction takes two seconds.
    world
        .database
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep((SELECT count(*) FROM new) / 5000.0); RETURN NULL; END $$;
             CREATE TRIGGER slow AFTER INSERT ON stamps REFERENCING NEW TABLE AS new
                 FOR EACH STATEMENT EXECUTE FUNCTION slow()",
        )
        .await;
    let mut size = 0;
    for number in 0..EVENTS {
        let id = format!("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi-{number:06}");
        world.topic.send_stamp(&id, 0, "2026-01-01T00:00:00.000000Z");
        // Key and value, and what a record costs beside them at least.
        size += 2 * id.len() + 80;
    }
    world.topic.flush();
    let servers = kafka.bootstrap_servers();
    let _listener = world.listener(&[("KAFKA_BOOTSTRAP_SERVERS", &servers)]).await;
    let processed = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
    let limit = Duration::from_mins(2);
    within(limit, "all are processed", || world.database.number(processed), |count| *count == EVENTS).await;
    let times = kafka.received() as f64 / size as f64;
    assert!(times < 3.0, "{} bytes came for {size}: {times:.1} times", kafka.received());
}
