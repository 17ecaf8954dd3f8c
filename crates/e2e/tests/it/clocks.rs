//! Hosts whose clocks jump.

use std::time::Duration;

use test_support::patience::within;
use test_support::{HostClock, TestTopic, eventually, stack};

use e2e::process::command;
use e2e::world::World;

use crate::messages::{SECRET, USER, token};

const HOUR: i64 = 3_600;
const PROCESSED: &str = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";

/// When the second half falls due, in tenths of a second after the first half: longer than a session.
const PAUSE: i64 = 140;

/// Posts stamps that fall due one after the other, ten a second, from five seconds after the call on, with a pause
/// between the two halves.
async fn post_stamps(world: &World, url: &str, count: i64) {
    let sql = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '55 seconds'
                              + (i + CASE WHEN i > $1 / 2 THEN $2::bigint ELSE 0 END) * interval '0.1 second',
                      'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM generate_series(1, $1::bigint) i";
    for (id, row) in world.database.query(sql, &[&count, &PAUSE]).await.iter().enumerate() {
        let created_date: String = row.get(0);
        let body = format!(r#"{{"object_cid":"{id}","time_tolerance":1,"created_date":"{created_date}"}}"#);
        let request =
            world.client.post(format!("{url}/v1/stamps")).header("content-type", "application/json");
        assert_eq!(request.body(body).send().await.expect("an answer").status(), 201);
    }
}

// Break: return `Utc::now()` from `now` in clock.rs, or don't ask for the assignment in stamps/consumer/watchdog.rs.
#[tokio::test(flavor = "multi_thread")]
async fn due_times_hold_while_the_clocks_of_the_hosts_jump_an_hour_forward_and_back() {
    const STAMPS: i64 = 120;
    let world = World::new().await;
    let clock = HostClock::new();
    let by_the_clock = clock.variables();
    let mut variables = by_the_clock.to_vec();
    // Nothing leaves before its time, and a heartbeat that is missed shows soon.
    variables.extend([("MIN_BATCH_SIZE", "1000"), ("MAX_BATCH_SIZE", "1000")]);
    variables.push(("KAFKA_CONF_SESSION_TIMEOUT_MS", "9000"));
    let (_api, url) = world.api_with(&by_the_clock).await;
    let (_listener, listener_url) = world.listener_with_url(&variables).await;
    post_stamps(&world, &url, STAMPS).await;
    let rebalances = || world.metric(&listener_url, "queue_listener_rebalances_total");
    let before = rebalances().await;

    // The clock is set back when nothing is going to happen for longer than a session: nobody wakes who sleeps by it.
    for (processed, seconds) in [(STAMPS / 4, HOUR), (STAMPS / 2, -HOUR), (STAMPS * 3 / 4, 0)] {
        let limit = Duration::from_secs(60);
        within(limit, "stamps fall due", || world.database.number(PROCESSED), |seen| *seen >= processed)
            .await;
        clock.set(seconds);
    }
    world.every_stamp_is_in_one_batch_of(STAMPS, 1_000).await;
    let wrong = "SELECT count(*) FROM stamp_states
                 WHERE processed_at < process_after OR processed_at > process_after + interval '5 seconds'";
    assert_eq!(world.database.number(wrong).await, 0, "none is early and none is an hour late");
    assert_eq!(rebalances().await, before, "the listener stayed in its group");
    let spread = "SELECT format('late by %s to %s', min(processed_at - process_after), max(processed_at - process_after))
                  FROM stamp_states";
    println!("{}", world.database.query(spread, &[]).await[0].get::<_, String>(0));
}

/// Publishes a stamp and sends a message from a host whose clock is off by so many seconds, and has a dead letter
/// replayed there. Returns by how many seconds the records' own times are off at most.
async fn publish_from_a_host_that_is_off(seconds: i64, topic: TestTopic) -> i64 {
    let world = World { topic, ..World::new().await };
    let clock = HostClock::new();
    clock.set(seconds);
    let messages = TestTopic::new(1).await;
    let mut variables = clock.variables().to_vec();
    variables.extend([SECRET, ("MESSAGE_TOPIC", messages.name())]);
    let (_api, url) = world.api_with(&variables).await;
    let _listener = world.listener(&variables).await;
    assert_eq!(world.create(&url, "a", "0").await.expect("an answer").0, 201);
    world.processed(&url, "a").await;
    let sender = token(USER, &["--scope", "messages:send"]);
    let path = format!("{url}/v1/users/{USER}/messages");
    let body = r#"{"ns-message":{"subject":"s","body":"b"}}"#;
    let sent =
        world.client.post(path).bearer_auth(sender).header("content-type", "application/json").body(body);
    assert_eq!(sent.send().await.expect("an answer").status(), 201);
    world.topic.send(None, Some(b"no stamp"));
    world.topic.flush();
    let dead = "SELECT count(*) FROM dead_letters WHERE replays = 0";
    eventually("a dead letter", || world.database.number(dead), |count| *count == 1).await;
    let url = world.database.url();
    let mut replay = clock.variables().to_vec();
    replay.extend([("DATABASE_URL", url), ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers)]);
    let replayed = command("queue-listener", &replay).args(["dlq", "replay", "--all"]).output();
    let replayed = replayed.expect("the program can be run");
    assert!(replayed.status.success(), "{replayed:?}");

    let now = world.database.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").await;
    // The event, the record that is none, its replay, and the message.
    let published = || async { [world.topic.read(), messages.read()].concat() };
    let records = eventually("all are published", published, |records| records.len() == 4).await;
    records.iter().map(|record| (record.timestamp - now).abs() / 1_000).max().expect("records")
}

// Break: give records no timestamp in stamps/publisher.rs, in messages/sender.rs, or in dlq/publisher.rs.
#[tokio::test(flavor = "multi_thread")]
async fn records_carry_the_time_of_postgresql_whatever_the_clock_of_the_host_says() {
    const DAY: i64 = 24 * HOUR;
    for seconds in [2 * HOUR, -30 * DAY] {
        let off = publish_from_a_host_that_is_off(seconds, TestTopic::new(1).await).await;
        assert!(off < 60, "off by {off} s on a host that is off by {seconds} s");
        let stamped_by_the_broker = TestTopic::with_settings(&[("message.timestamp.type", "LogAppendTime")]);
        let off = publish_from_a_host_that_is_off(seconds, stamped_by_the_broker.await).await;
        assert!(off < 60, "off by {off} s in a topic that the broker stamps");
    }
}
