//! Stamps that are due while Kafka is away, or the listener is gone that has read them.

use test_support::{KafkaLink, eventually};

use e2e::process::Process;
use e2e::world::World;

use crate::replicas::partitions;

const OVERDUE: &str = "queue_listener_overdue_total";

/// Posts stamps that are due at once.
async fn create(world: &World, url: &str, ids: impl IntoIterator<Item = String>) {
    for id in ids {
        assert_eq!(world.create(url, &id, "0").await.expect("an answer").0, 201);
    }
}

// Break: begin no `overdue` in app.rs of the listener.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_leaves_by_the_table_while_kafka_is_away_also_from_the_start() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    kafka.cut().await;
    let (api, url) = world.api_with(&through).await;
    let listener = world.start("queue-listener", &through);
    let admin = format!("http://{}", listener.address("metrics").await);
    world.readiness(&admin, 503, "Kafka has not answered yet").await;
    create(&world, &url, (0..25).map(|id| format!("early-{id}"))).await;
    world.every_stamp_is_in_one_batch(25).await;
    let overdue = || world.metric(&admin, OVERDUE);
    eventually("all are counted", overdue, |count| *count == Some(25.0)).await;
    // A listener is of use without Kafka, so it is ready after a while.
    world.readiness(&admin, 200, "the consumer group has not been joined yet").await;

    kafka.restore().await;
    for url in [&url, &admin] {
        world.readiness(url, 200, r#""ready""#).await;
    }
    world.every_event_is_published(25).await;
    kafka.cut().await;
    world.readiness(&admin, 200, "degraded").await;
    create(&world, &url, (0..25).map(|id| format!("late-{id}"))).await;
    world.every_stamp_is_in_one_batch(50).await;
    kafka.restore().await;
    // What comes afterwards is a repeat.
    world.every_event_is_read(50).await;
    world.every_stamp_is_in_one_batch(50).await;
    drop(api);
}

// Break: read no left events in `outbox` of store/src/stamps/owners.rs.
#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_stamps_that_have_left_are_published_after_the_api_was_killed() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    kafka.cut().await;
    let _listener = world.start("queue-listener", &through);
    for round in 0..3 {
        let (api, url) = world.api_with(&through).await;
        create(&world, &url, (0..20).map(|id| format!("{round}-{id}"))).await;
        // Some have left, and some have not.
        api.signal("KILL");
    }
    world.every_stamp_is_in_one_batch(60).await;
    let left = "SELECT count(*) FROM left_events WHERE published_at IS NULL";
    assert_eq!(world.database.number(left).await, 60);
    kafka.restore().await;
    let (_api, _url) = world.api().await;
    world.every_event_is_published(60).await;
    let owners = || world.database.number("SELECT count(*) FROM intake_owners");
    eventually("the dead owners are gone", owners, |owners| *owners == 3).await;
    world.every_stamp_is_in_one_batch(60).await;
}

/// Returns the listener that holds a stamp, if one does.
async fn who_holds<'l>(world: &World, listeners: &'l [(Process, String)]) -> Option<&'l Process> {
    for (process, admin) in listeners {
        if world.metric(admin, "queue_listener_pending").await == Some(1.0) {
            return Some(process);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_listener_had_read_leaves_before_its_session_ends() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    // A session that outlasts the test, so that nobody else reads the event meanwhile.
    let variables = [("KAFKA_CONF_SESSION_TIMEOUT_MS", "300000")];
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.push(world.listener_with_url(&variables).await);
    }
    let shares = || async { [0, 1].map(|one| partitions(&listeners[one].0).len()) };
    eventually("six partitions each", shares, |shares| *shares == [6, 6]).await;
    let created = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '45 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let created: String = world.database.query(created, &[]).await[0].get(0);
    let body = format!(r#"{{"object_cid":"one","time_tolerance":1,"created_date":"{created}"}}"#);
    let request = world.client.post(format!("{url}/v1/stamps")).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 201);
    let holder = || async { who_holds(&world, &listeners).await.map(|holder| holder.signal("KILL")) };
    eventually("a listener holds it, and is killed", holder, Option::is_some).await;
    let stamp = world.processed(&url, "one").await;
    assert_eq!(stamp["batch"]["trigger"], "deadline");
    assert!(stamp["kafka"].is_null(), "it left by the table: {stamp}");
    world.every_stamp_is_in_one_batch(1).await;
}

// Break: put nothing off in stamps/overdue.rs of the listener.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_can_never_leave_by_the_table_holds_up_no_other_and_is_named() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    kafka.cut().await;
    world
        .database
        .refuse("processed_stamps", "NEW.time_tolerance = 0 AND NEW.stamp_id % 10 = 3", "22000")
        .await;
    let (_api, url) = world.api_with(&through).await;
    create(&world, &url, (0..20).map(|id| format!("stamp-{id}"))).await;
    let endless = "UPDATE pending_stamps SET due_at = 'infinity' WHERE stamp_id = 5";
    world.database.run(endless).await;
    let listener = world.start("queue-listener", &through);
    let admin = format!("http://{}", listener.address("metrics").await);
    let left = || world.database.number("SELECT count(*) FROM pending_stamps");
    eventually("all others have left", left, |left| *left == 3).await;
    let metric = "queue_listener_overdue_refused_total";
    eventually("they are counted", || world.metric(&admin, metric), |seen| *seen == Some(3.0)).await;
    let name = "SELECT object_cid FROM stamps WHERE id IN (3, 5, 13) ORDER BY id";
    let names = world.database.query(name, &[]).await;
    for (row, why) in names.iter().zip(["not this one", "its due time is infinite", "not this one"]) {
        let line = listener.says(&format!("object_cid=\"{}\"", row.get::<_, String>(0))).await;
        assert!(line.contains(why) && line.contains("retry.delay_s=60"), "{line}");
    }
    create(&world, &url, ["after".to_owned()]).await;
    world.processed(&url, "after").await;
    assert_eq!(world.metric(&admin, metric).await, Some(3.0), "they are left alone");
}
