//! Measures how late stamps leave while listeners die, Kafka is away, or more is due than usual.
//!
//! `make lateness ARGS='kills'`; the scenarios are listed by `--help`. Each prints one line of figures and fails if a
//! guarantee was broken.

#![allow(clippy::expect_used, reason = "what fails here ends the run")]

use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use e2e::figures::{self, cpu, cpu_of_sessions, transactions};
use e2e::process::Process;
use e2e::world::World;
use test_support::patience::within;
use test_support::{OwnKafka, TestTopic};
use tokio::task::JoinSet;

/// Measures how late stamps leave.
#[derive(Debug, Parser)]
struct Lateness {
    #[arg(value_enum)]
    scenario: Scenario,
    /// How many stamps there are.
    #[arg(long, default_value_t = 2_000)]
    stamps: usize,
    /// Over how many seconds the stamps fall due.
    #[arg(long, default_value_t = 60)]
    over: u64,
    /// How many listeners run.
    #[arg(long, default_value_t = 2)]
    listeners: usize,
    /// A program of another version: of `rolling` the one that is replaced, otherwise every listener.
    #[arg(long)]
    program: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Nothing goes wrong.
    Health,
    /// A listener is killed every ten seconds, in turns, and started again.
    Kills,
    /// Kafka is stopped in the middle, for as long as stamps fall due.
    Kafka,
    /// Both services are started while Kafka is away.
    Started,
    /// Stamps of tolerance 0, 200 a second, while Kafka is away for 20 s and the API is killed ten times.
    Api,
    /// Listeners of another version are replaced one by one.
    Rolling,
    /// A backlog of due stamps is drained.
    Backlog,
    /// An urgent stamp stands behind a backlog that is not due.
    Urgent,
    /// Nothing happens for a minute: what the services ask, and what that costs.
    Idle,
}

/// Clients that send at once.
const CLIENTS: usize = 32;
/// How long before the first due time the stamps are sent.
const AHEAD: f64 = 10.0;
/// How long Kafka stays away from a service that is killed again and again.
const AWAY: Duration = Duration::from_secs(20);

/// The services of a run, and what they run on.
struct Run {
    lateness: Lateness,
    world: World,
    kafka: OwnKafka,
    listeners: Vec<(Process, String)>,
    /// What listeners that are gone have taken from the table.
    overdue: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let lateness = Lateness::parse();
    let kafka = OwnKafka::start().await;
    let mut world = World::new().await;
    world.topic = TestTopic::on(&kafka.address(), 12).await;
    let mut run = Run { lateness, world, kafka, listeners: Vec::new(), overdue: 0.0 };
    match run.lateness.scenario {
        Scenario::Started => run.started().await,
        Scenario::Api => run.api_is_killed().await,
        Scenario::Backlog | Scenario::Urgent => run.backlog().await,
        Scenario::Idle => run.idle().await,
        _ => run.due_over_time().await,
    }
}

impl Run {
    fn start(&self, program: &str) -> Process {
        let servers = self.kafka.address();
        // Where stamps are to wait for their time, no batch fills up before.
        let (min, max) = match self.lateness.scenario {
            Scenario::Backlog | Scenario::Urgent => ("100", "1000"),
            _ => ("100000", "100000"),
        };
        let variables =
            [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()), ("MIN_BATCH_SIZE", min), ("MAX_BATCH_SIZE", max)];
        match &self.lateness.program {
            Some(path) if program == "queue-listener" => {
                self.world.start_as(&variables, program, |_, variables| Process::start_file(path, variables))
            }
            _ => self.world.start(program, &variables),
        }
    }

    async fn listen(&mut self) {
        let listener = self.start("queue-listener");
        let admin = format!("http://{}", listener.address("metrics").await);
        self.listeners.push((listener, admin));
    }

    async fn api(&self) -> (Process, String) {
        let api = self.start("stamp-api");
        let url = format!("http://{}", api.address("stamps").await);
        self.world.ready(&url).await;
        (api, url)
    }

    /// Starts everything and waits until it is ready.
    async fn all(&mut self) -> (Process, String) {
        let api = self.api().await;
        for _ in 0..self.lateness.listeners {
            self.listen().await;
        }
        for (_, admin) in &self.listeners {
            self.world.readiness(admin, 200, r#""ready""#).await;
        }
        api
    }

    /// Ends a listener by a signal and starts another one.
    async fn replace(&mut self, index: usize, signal: &str) {
        let (mut process, admin) = self.listeners.remove(index);
        self.overdue += self.world.metric(&admin, "queue_listener_overdue_total").await.unwrap_or(0.0);
        process.signal(signal);
        process.ended().await;
        self.listen().await;
    }

    /// Sends stamps that fall due one after the other, from a while ahead on.
    async fn send(&self, url: &str) {
        let now = "SELECT extract(epoch FROM clock_timestamp())::float8";
        let first = self.world.database.query(now, &[]).await[0].get::<_, f64>(0) + AHEAD;
        let Lateness { stamps, over, .. } = self.lateness;
        let minutes = 10 + over / 60;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (http, url) = (self.world.client.clone(), format!("{url}/v1/stamps"));
            clients.spawn(async move {
                for number in (client..stamps).step_by(CLIENTS) {
                    // A tolerance is in whole minutes, so the creation lies so far back.
                    let due = first + over as f64 * number as f64 / stamps as f64;
                    let created = ((due - 60.0 * minutes as f64) * 1e6) as i64;
                    let created = chrono::DateTime::from_timestamp_micros(created);
                    let created = created.expect("a date").to_rfc3339();
                    let body = serde_json::json!({"object_cid": number.to_string(), "time_tolerance": minutes, "created_date": created});
                    let request = http.post(&url).header("content-type", "application/json").body(body.to_string());
                    assert_eq!(request.send().await.expect("an answer").status(), 201);
                }
            });
        }
        clients.join_all().await;
    }

    /// Stores pending stamps whose events are none of the outbox's.
    async fn store_rows(&self, minutes: i32, created: &str) {
        let stamps = format!(
            "INSERT INTO stamps (object_cid, time_tolerance, created_date)
             SELECT n::text, {minutes}, '{created}' FROM generate_series(0, {} - 1) AS n",
            self.lateness.stamps
        );
        let pending = "INSERT INTO pending_stamps (stamp_id, owner, seq, due_at)
                       SELECT id, 0, id, created_date + make_interval(mins => time_tolerance) FROM stamps";
        for statement in [&stamps, pending, "VACUUM ANALYZE"] {
            self.world.database.run(statement).await;
        }
    }

    async fn due_over_time(&mut self) -> anyhow::Result<()> {
        let (_api, url) = self.all().await;
        let began = Instant::now();
        self.send(&url).await;
        let until = |seconds: u64| tokio::time::sleep_until((began + Duration::from_secs(seconds)).into());
        let (over, count) = (self.lateness.over, self.lateness.listeners as u64);
        match self.lateness.scenario {
            Scenario::Kills => {
                for second in (15..10 + over).step_by(10) {
                    until(second).await;
                    // The one that has run for longest.
                    self.replace(0, "KILL").await;
                }
            }
            Scenario::Rolling => {
                self.lateness.program = None;
                for index in 0..count {
                    until(15 + index * over / count).await;
                    self.replace(0, "TERM").await;
                }
            }
            Scenario::Kafka => {
                until(10).await;
                self.kafka.kill();
                until(10 + over).await;
                self.kafka.start_again().await;
            }
            _ => {}
        }
        until(10 + over).await;
        self.report(self.lateness.stamps).await
    }

    async fn started(&mut self) -> anyhow::Result<()> {
        self.kafka.kill();
        let (_api, url) = self.api().await;
        for _ in 0..self.lateness.listeners {
            self.listen().await;
        }
        self.send(&url).await;
        tokio::time::sleep(Duration::from_secs_f64(AHEAD + self.lateness.over as f64 + 3.0)).await;
        self.kafka.start_again().await;
        self.report(self.lateness.stamps).await
    }

    /// Sends 200 stamps a second that are due at once while the API dies again and again without Kafka.
    async fn api_is_killed(&mut self) -> anyhow::Result<()> {
        let (mut api, mut url) = self.all().await;
        self.kafka.kill();
        let (mut accepted, began) = (0, Instant::now());
        for round in 0..10 {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            let until = began + AWAY / 10 * (round + 1);
            let mut clients = JoinSet::new();
            for number in 0.. {
                tick.tick().await;
                if Instant::now() >= until {
                    break;
                }
                let (client, target) = (self.world.client.clone(), format!("{url}/v1/stamps"));
                clients.spawn(async move {
                    let body = format!(r#"{{"object_cid":"{round}-{number}","time_tolerance":0}}"#);
                    let request = client.post(target).header("content-type", "application/json").body(body);
                    request.send().await.is_ok_and(|answer| answer.status() == 201)
                });
            }
            api.signal("KILL");
            accepted += clients.join_all().await.into_iter().filter(|accepted| *accepted).count();
            (api, url) = self.api().await;
        }
        println!("{accepted} accepted in {:.1} s", began.elapsed().as_secs_f64());
        self.kafka.start_again().await;
        let stored = self.world.database.number("SELECT count(*) FROM stamps").await as usize;
        println!("{stored} stored: for the others the answer was lost with the API");
        anyhow::ensure!(stored >= accepted, "{accepted} were accepted and {stored} are stored");
        self.report(stored).await?;
        drop(api);
        Ok(())
    }

    /// Drains a backlog of stamps with rows, due or not; behind one that is not due stands an urgent stamp.
    async fn backlog(&mut self) -> anyhow::Result<()> {
        let is_due = self.lateness.scenario == Scenario::Backlog;
        let (_api, url) = self.api().await;
        let created = self.world.now().await;
        // A day: what is due much later would wait in the table and be in no backlog.
        let minutes = if is_due { 0 } else { 1_440 };
        for number in 0..self.lateness.stamps {
            self.world.topic.send_stamp(&number.to_string(), minutes, &created);
        }
        self.world.topic.flush();
        self.store_rows(minutes, &created).await;
        if !is_due {
            self.world.create(&url, "urgent", "0").await.expect("an answer");
        }
        for _ in 0..self.lateness.listeners {
            self.listen().await;
        }
        let left = || self.world.database.number("SELECT count(*) FROM pending_stamps");
        let count = self.lateness.stamps as i64;
        let limit = Duration::from_secs(600);
        within(limit, "it is being drained", left, |left| *left < count - 1_000).await;
        let began = Instant::now();
        within(limit, "all is drained", left, |left| *left == 0).await;
        let (seconds, admin) = (began.elapsed().as_secs_f64(), &self.listeners[0].1);
        println!("{:.0} stamps a second ({seconds:.1} s)", (count - 1_000) as f64 / seconds);
        let metrics = self.world.get(admin, "/metrics").await.expect("metrics").1;
        let shown =
            ["queue_listener_messages_total", "queue_listener_overdue_total", "queue_listener_batches_total"];
        for line in metrics.lines().filter(|line| shown.iter().any(|name| line.starts_with(name))) {
            println!("  {line}");
        }
        if !is_due {
            let sql = "SELECT extract(epoch FROM processed_at - process_after)::float8 FROM stamp_states WHERE object_cid = 'urgent'";
            let late: f64 = self.world.database.query(sql, &[]).await[0].get(0);
            println!(
                "the urgent stamp left {late:.3} s after it was due, the start of the listener included"
            );
        }
        Ok(())
    }

    async fn idle(&mut self) -> anyhow::Result<()> {
        self.store_rows(10_000, &self.world.now().await).await;
        for _ in 0..self.lateness.listeners {
            self.listen().await;
        }
        let pid = self.listeners[0].0.id().to_string();
        tokio::time::sleep(Duration::from_secs(15)).await;
        let figures =
            || async { (transactions(&self.world).await, cpu(&pid), cpu_of_sessions(&self.world).await) };
        let before = figures().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let after = figures().await;
        println!(
            "{} transactions a minute, CPU {:.2} s of the listener and {:.2} s of its sessions in PostgreSQL",
            after.0 - before.0,
            after.1 - before.1,
            after.2 - before.2
        );
        Ok(())
    }

    /// Prints what became of the stamps.
    ///
    /// # Errors
    /// If a guarantee was broken.
    async fn report(&mut self, count: usize) -> anyhow::Result<()> {
        let database = &self.world.database;
        let processed = || database.number("SELECT count(*) FROM stamp_states WHERE state = 'processed'");
        within(Duration::from_secs(120), "stamps are processed", processed, |seen| *seen >= count as i64)
            .await;
        self.world.every_event_is_published(count).await;
        let late = figures::lateness(&self.world).await;
        let mut overdue = self.overdue;
        for (_, admin) in &self.listeners {
            overdue += self.world.metric(admin, "queue_listener_overdue_total").await.unwrap_or(0.0);
        }
        let twice = figures::twice(&self.world).await;
        let missing = database.number("SELECT count(*) FROM pending_stamps").await;
        println!("{:?}: {count} stamps, {late}", self.lateness.scenario);
        println!("from the table {overdue}, in no batch {missing}, twice {twice}, missing in the topic 0");
        anyhow::ensure!(missing == 0 && twice == 0, "a guarantee was broken");
        Ok(())
    }
}
