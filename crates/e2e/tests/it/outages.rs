//! Kafka and PostgreSQL that go away, at any time, for one or both of the services.
//!
//! The services reach them through proxies; the tests look at the servers themselves.

use std::time::{Duration, Instant};

use test_support::{KafkaLink, Proxy, TestTopic};

use crate::load::{Answer, Load};
use e2e::process::Process;
use e2e::world::World;

/// How long an answer may take. README: "503 within 2 s"; the rest is for a client on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(2_500);
/// What an outage has to last for the listener to lose its partitions.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// What an outage has to last for an owner of the outbox to be taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a stop may take. README: `SHUTDOWN_TIMEOUT_SECS`.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How a server goes away.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Connections break and new ones are refused.
    Cut,
    /// Connections stay, and nothing comes.
    Freeze,
}

impl Fault {
    async fn strike(self, link: &mut Proxy) {
        match self {
            Self::Cut => link.cut().await,
            Self::Freeze => link.freeze(),
        }
    }
}

/// Asserts that everything that was stored is processed once, nothing is pending, and nothing was misunderstood.
async fn all_is_well(world: &World, acknowledged: &[Answer]) {
    let stored = world.database.number("SELECT count(*) FROM stamps").await;
    world.every_stamp_is_in_one_batch(stored).await;
    world.every_event_is_read(stored as usize).await;
    assert_eq!(world.database.number("SELECT count(*) FROM dead_letters").await, 0);
    let ids: Vec<&str> = acknowledged
        .iter()
        .filter(|answer| answer.status == Some(201))
        .map(|answer| answer.object_cid.as_str())
        .collect();
    let known = "SELECT count(*) FROM stamp_states WHERE state = 'processed' AND object_cid = ANY($1)";
    let processed: i64 = world.database.query(known, &[&ids]).await[0].get(0);
    assert_eq!(processed, ids.len() as i64, "what was answered with 201 is processed");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_cut_the_intake_goes_on_and_afterwards_everything_is_processed() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    let (_api, url) = world.api_with(&through).await;
    let listener = world.listener(&through).await;
    let listener_url = format!("http://{}", listener.address("metrics").await);
    let load = Load::start(&url, 4);
    load.answered(201, 200).await;

    kafka.cut().await;
    world.readiness(&url, 200, "degraded").await;
    world.readiness(&listener_url, 200, "degraded").await;
    load.goes_on_for(SESSION_TIMEOUT).await;

    kafka.restore().await;
    world.readiness(&url, 200, r#""ready""#).await;
    world.readiness(&listener_url, 200, r#""ready""#).await;
    load.answered(201, 100).await;
    let answers = load.stop().await;
    let other: Vec<&Answer> = answers.iter().filter(|answer| answer.status != Some(201)).collect();
    assert!(other.is_empty(), "every request was answered with 201: {other:?}");
    all_is_well(&world, &answers).await;
}

// Break: make `PERIOD` in kafka/reachability.rs 8 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_link_to_kafka_is_noticed_within_five_seconds_and_costs_nothing() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    let (_api, url) = world.api_with(&through).await;
    let (_listener, listener_url) = world.listener_with_url(&through).await;
    let load = Load::start(&url, 4);
    load.answered(201, 200).await;

    kafka.freeze();
    let frozen = Instant::now();
    for url in [&url, &listener_url] {
        world.readiness(url, 200, "degraded").await;
        assert!(frozen.elapsed() < Duration::from_secs(5), "{:?}", frozen.elapsed());
    }
    load.goes_on_for(SESSION_TIMEOUT).await;
    // What was on its way never arrives.
    kafka.cut().await;
    kafka.restore().await;
    for url in [&url, &listener_url] {
        world.readiness(url, 200, r#""ready""#).await;
    }
    load.answered(201, 100).await;
    let answers = load.stop().await;
    assert!(answers.iter().all(|answer| answer.status == Some(201)), "every request was answered with 201");
    all_is_well(&world, &answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_cut_every_answer_is_503_in_time_and_both_services_go_on_by_themselves() {
    postgresql_goes_away(Fault::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_link_to_postgresql_is_half_open_every_answer_is_503_in_time_and_both_services_go_on() {
    postgresql_goes_away(Fault::Freeze).await;
}

async fn postgresql_goes_away(fault: Fault) {
    let world = World::new().await;
    let (mut link, database_url) = world.database.proxied().await;
    let through = [("DATABASE_URL", database_url.as_str())];
    let (_api, url) = world.api_with(&through).await;
    let listener = world.listener(&through).await;
    let listener_url = format!("http://{}", listener.address("metrics").await);
    let load = Load::start(&url, 8);
    load.answered(201, 200).await;

    fault.strike(&mut link).await;
    load.answered(503, 20).await;
    load.goes_on_for(SILENCE).await;
    for path in ["/v1/stamps/0-0", "/v1/batches/1", "/readyz"] {
        let asked = Instant::now();
        let (status, body) = world.get(&url, path).await.expect("an answer");
        assert_eq!(status, 503, "{path}: {body}");
        assert!(asked.elapsed() < ANSWER_LIMIT, "{path} took {:?}", asked.elapsed());
    }
    world.readiness(&listener_url, 503, "PostgreSQL does not answer").await;

    link.restore().await;
    world.ready(&url).await;
    world.ready(&listener_url).await;
    load.answered(201, 200).await;
    let answers = load.stop().await;
    for answer in &answers {
        assert!(matches!(answer.status, Some(201 | 503)), "{answer:?}");
        assert!(answer.took < ANSWER_LIMIT, "{answer:?}");
        assert!(answer.status == Some(201) || answer.retry_after, "{answer:?}");
    }
    // Not stored, or not known to be: the same request again tells.
    for answer in answers.iter().filter(|answer| answer.status == Some(503)) {
        let (status, body) = world.create(&url, &answer.object_cid, "0").await.expect("an answer");
        assert!(matches!(status, 201 | 409), "{} is {status}: {body}", answer.object_cid);
    }
    all_is_well(&world, &answers).await;
}

/// Starts both services and waits until they are alive and say why they are not ready.
async fn alive_but_not_ready(world: &World, variables: &[(&str, &str)], why: &str) -> [(Process, String); 2] {
    let mut services = Vec::new();
    for program in ["stamp-api", "queue-listener"] {
        let service = world.start(program, variables);
        let url = format!("http://{}", service.address("metrics").await);
        assert_eq!(world.get(&url, "/livez").await.expect("an answer").0, 200);
        world.readiness(&url, 503, why).await;
        services.push((service, url));
    }
    services.try_into().unwrap_or_else(|_| panic!("two services"))
}

// Break: add what Kafka lacks to `missing` in `check` of platform's health.rs.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_without_kafka_take_stamps_in_and_are_well_when_it_comes() {
    let mut kafka = KafkaLink::open().await;
    kafka.cut().await;
    let servers = kafka.bootstrap_servers();
    // Nobody has made the topic yet either.
    let world = World { topic: TestTopic::unmade(), ..World::new().await };
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    let started = std::time::Instant::now();
    let (_api, url) = world.api_with(&through).await;
    println!("ready after {:?} without Kafka", started.elapsed());
    let listener = world.start("queue-listener", &through);
    let listener_url = format!("http://{}", listener.address("metrics").await);
    world.readiness(&listener_url, 503, "Kafka has not answered yet").await;
    for object_cid in ["1", "2"] {
        assert_eq!(world.create(&url, object_cid, "0").await.expect("an answer").0, 201);
    }
    println!("first stamps after {:?}", started.elapsed());
    world.readiness(&url, 200, "Kafka has not answered yet").await;
    kafka.restore().await;
    for url in [&url, &listener_url] {
        world.readiness(url, 200, r#""ready""#).await;
    }
    world.every_stamp_is_in_one_batch(2).await;
    world.every_event_is_read(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_without_postgresql_are_alive_and_ready_when_it_comes() {
    for fault in [Fault::Cut, Fault::Freeze] {
        let world = World::new().await;
        let (mut link, database_url) = world.database.proxied().await;
        fault.strike(&mut link).await;
        let through = [("DATABASE_URL", database_url.as_str())];
        let services = alive_but_not_ready(&world, &through, "PostgreSQL does not answer").await;
        let url = format!("http://{}", services[0].0.address("stamps").await);
        let (status, body) = world.create(&url, "early", "0").await.expect("an answer");
        assert_eq!(status, 503, "{fault:?}: {body}");
        link.restore().await;
        for (_, url) in &services {
            world.ready(url).await;
        }
        assert_eq!(world.create(&url, "early", "0").await.expect("an answer").0, 201);
        world.every_stamp_is_in_one_batch(1).await;
        world.every_event_is_read(1).await;
    }
}

/// Asserts that SIGTERM ends a process in time and cleanly.
async fn stops_in_time(name: &str, process: &mut Process) {
    let asked = Instant::now();
    process.signal("TERM");
    let code = process.ended().await.code();
    println!("{name} ended with {code:?} after {:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{name}: {:#?}", process.lines().last());
    assert!(asked.elapsed() < STOP_LIMIT, "{name} took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_kafka_is_cut_is_clean_and_the_next_ones_finish_the_work() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str())];
    let (mut api, url) = world.api_with(&through).await;
    let mut listener = world.listener(&through).await;
    let load = Load::start(&url, 4);
    load.answered(201, 100).await;
    kafka.cut().await;
    world.readiness(&url, 200, "degraded").await;
    let answers = load.stop().await;
    stops_in_time("stamp-api", &mut api).await;
    stops_in_time("queue-listener", &mut listener).await;
    // Through the other way, which was never cut.
    let (_api, _) = world.api().await;
    let _listener = world.listener(&[]).await;
    all_is_well(&world, &answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_postgresql_is_cut_is_clean_and_the_next_ones_finish_the_work() {
    stop_without_postgresql(Fault::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_link_to_postgresql_is_half_open_is_clean_and_the_next_ones_finish_the_work() {
    stop_without_postgresql(Fault::Freeze).await;
}

async fn stop_without_postgresql(fault: Fault) {
    let world = World::new().await;
    let (mut link, database_url) = world.database.proxied().await;
    let through = [("DATABASE_URL", database_url.as_str())];
    let (mut api, url) = world.api_with(&through).await;
    let mut listener = world.listener(&through).await;
    let load = Load::start(&url, 4);
    load.answered(201, 100).await;
    fault.strike(&mut link).await;
    load.answered(503, 4).await;
    // With requests under way, and a batch that the listener can't write.
    world.topic.send_stamp("in between", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    stops_in_time("stamp-api", &mut api).await;
    stops_in_time("queue-listener", &mut listener).await;
    let answers = load.stop().await;
    let (_api, url) = world.api().await;
    let _listener = world.listener(&[]).await;
    world.processed(&url, "in%20between").await;
    all_is_well(&world, &answers).await;
}
