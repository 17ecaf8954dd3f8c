//! Kills, stops and restarts listeners at random under load, and counts what became of every stamp.
//!
//! `make chaos`, or `make chaos ARGS='--seed 7'` to do the same again.

#![allow(clippy::expect_used, reason = "what fails here ends the run")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use e2e::process::Process;
use e2e::world::World;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use test_support::patience::within;
use tokio::task::JoinSet;

/// Kills, stops and restarts listeners at random under load, and counts what became of every stamp.
#[derive(Debug, Parser)]
struct Chaos {
    /// The seed: the same one makes the same faults and the same stamps.
    #[arg(long)]
    seed: Option<u64>,
    /// How many stamps are sent.
    #[arg(long, default_value_t = 100_000)]
    stamps: usize,
    /// For how many seconds faults strike.
    #[arg(long, default_value_t = 45)]
    faults: u64,
    /// For how many seconds no fault strikes, before and after.
    #[arg(long, default_value_t = 40)]
    calm: u64,
    /// How many listeners share the work.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Seconds between two faults.
    #[arg(long, default_value_t = 3)]
    every: u64,
}

/// Requests that are under way at once.
const CLIENTS: usize = 16;
/// The most stamps of a batch: so many that a part of the stamps leaves when it is due.
const MAX: i32 = 1_000;
const BATCHES: [(&str, &str); 2] = [("MIN_BATCH_SIZE", "1000"), ("MAX_BATCH_SIZE", "1000")];
/// How long a listener that is stopped stands still.
const STILL: Duration = Duration::from_secs(15);
/// How long a fault may be felt after its end: the session's timeout of 6 s, the rebalance, the reading again.
const AFTERMATH: Duration = Duration::from_secs(9);

impl Chaos {
    fn seconds(&self) -> u64 {
        self.faults + 2 * self.calm
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Stop,
    Restart,
}

/// When a fault began and when it was over, by the time of the run.
type Window = (Duration, Duration);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let chaos = Chaos::parse();
    let seed = chaos.seed.unwrap_or_else(|| rand::rng().next_u64());
    println!("seed {seed}: {chaos:?}");
    let world = Arc::new(World::new().await);
    let (_api, url) = world.api().await;
    let mut listeners = Vec::new();
    for _ in 0..chaos.replicas {
        listeners.push(world.listener(&BATCHES).await);
    }
    let began: f64 = seconds_now(&world).await;
    let started = Instant::now();
    let load =
        tokio::spawn(send(Arc::clone(&world), url, seed, chaos.stamps, Duration::from_secs(chaos.seconds())));
    let windows = strike(&world, &mut listeners, &chaos, seed, started).await;
    let acknowledged = load.await?;
    let processed = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
    let count = acknowledged as i64;
    let patience = Duration::from_secs(90);
    within(patience, "stamps are processed", || world.database.number(processed), |seen| *seen >= count)
        .await;
    println!(
        "all processed {:.1} s after the last was sent",
        started.elapsed().as_secs_f64() - chaos.seconds() as f64
    );
    report(&world, acknowledged, began, &windows).await
}

fn listener(world: &World) -> Process {
    world.start("queue-listener", &BATCHES)
}

async fn seconds_now(world: &World) -> f64 {
    world.database.query("SELECT extract(epoch FROM clock_timestamp())::float8", &[]).await[0].get(0)
}

/// Sends stamps at an even pace. Four of five are due half a second to twenty seconds later, the fifth ten to
/// twenty seconds after the last was sent. Returns how many were acknowledged.
async fn send(world: Arc<World>, url: String, seed: u64, stamps: usize, time: Duration) -> usize {
    let mut random = StdRng::seed_from_u64(seed ^ 1);
    let started = tokio::time::Instant::now();
    let epoch = seconds_now(&world).await;
    let mut clients = JoinSet::new();
    let mut acknowledged = 0;
    for number in 0..stamps {
        let at = time.mul_f64(number as f64 / stamps as f64);
        let soon = random.random_range(0.5..20.0);
        let wait =
            if random.random_ratio(1, 5) { (time - at).as_secs_f64() + 10.0 + soon / 2.0 } else { soon };
        // A tolerance is in whole minutes, so the creation lies so far back.
        let minutes = (wait / 60.0).ceil() as i32;
        let created = epoch + at.as_secs_f64() + wait - f64::from(minutes * 60);
        if clients.len() >= CLIENTS {
            acknowledged += usize::from(clients.join_next().await.expect("one").expect("no panic"));
        }
        tokio::time::sleep_until(started + at).await;
        let (client, url) = (world.client.clone(), format!("{url}/v1/stamps"));
        clients.spawn(async move { post(&client, &url, number, minutes, created).await });
    }
    while let Some(answered) = clients.join_next().await {
        acknowledged += usize::from(answered.expect("no panic"));
    }
    acknowledged
}

async fn post(client: &reqwest::Client, url: &str, number: usize, minutes: i32, created: f64) -> bool {
    let created =
        chrono::DateTime::from_timestamp_micros((created * 1e6) as i64).expect("a date").to_rfc3339();
    let body =
        format!(r#"{{"object_cid":"{number}","time_tolerance":{minutes},"created_date":"{created}"}}"#);
    let request = client.post(url).header("content-type", "application/json").body(body);
    request.send().await.is_ok_and(|answer| answer.status() == 201)
}

/// Strikes until the load ends, then sets everything right. Returns when what was wrong.
async fn strike(
    world: &World,
    listeners: &mut [Process],
    chaos: &Chaos,
    seed: u64,
    started: Instant,
) -> Vec<Window> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut windows = Vec::new();
    let mut still: Vec<Option<Instant>> = vec![None; listeners.len()];
    // Calm at the start and at the end tells the difference.
    let (first, last) = (chaos.calm, chaos.calm + chaos.faults);
    let mut next = started + Duration::from_secs(first);
    while next < started + Duration::from_secs(last) {
        let waking = still.iter().flatten().min().copied();
        tokio::time::sleep_until(waking.map_or(next, |waking| waking.min(next)).into()).await;
        wake(listeners, &mut still, Instant::now());
        if Instant::now() < next {
            continue;
        }
        next += Duration::from_secs(chaos.every);
        let awake: Vec<usize> = (0..listeners.len()).filter(|index| still[*index].is_none()).collect();
        let fault = [Fault::Kill, Fault::Stop, Fault::Restart][random.random_range(0..3)];
        let lot = random.random_range(0..listeners.len());
        let Some(&index) = awake.get(lot % awake.len().max(1)) else { continue };
        let at = started.elapsed();
        println!("{:5.1} s: {fault:?} of listener {index}", at.as_secs_f64());
        let length = match fault {
            Fault::Kill => {
                listeners[index] = listener(world);
                Duration::ZERO
            }
            Fault::Restart => {
                listeners[index].signal("TERM");
                let ended = listeners[index].ended().await;
                assert_eq!(ended.code(), Some(0), "a stop is clean");
                listeners[index] = listener(world);
                started.elapsed() - at
            }
            Fault::Stop => {
                listeners[index].signal("STOP");
                still[index] = Some(Instant::now() + STILL);
                STILL
            }
        };
        windows.push((at, at + length + AFTERMATH));
    }
    while let Some(waking) = still.iter().flatten().min().copied() {
        tokio::time::sleep_until(waking.into()).await;
        wake(listeners, &mut still, Instant::now());
    }
    windows
}

fn wake(listeners: &[Process], still: &mut [Option<Instant>], now: Instant) {
    for (listener, until) in listeners.iter().zip(still) {
        if until.is_some_and(|until| until <= now) {
            listener.signal("CONT");
            *until = None;
        }
    }
}

/// Prints the figures of a run.
///
/// # Errors
/// If a guarantee was broken.
async fn report(world: &World, acknowledged: usize, began: f64, windows: &[Window]) -> anyhow::Result<()> {
    let number = async |sql: &str| world.database.number(sql).await;
    let processed = number("SELECT count(*) FROM stamp_states WHERE state = 'processed'").await;
    let sum = number("SELECT coalesce(sum(size), 0)::bigint FROM batches").await;
    let lost = "SELECT count(*) FROM (SELECT object_cid FROM stamps
                EXCEPT SELECT object_cid FROM stamp_states WHERE state = 'processed') AS lost";
    let lost = number(lost).await;
    let distinct = "SELECT count(DISTINCT object_cid) FROM stamp_states WHERE state = 'processed'";
    let twice = processed - number(distinct).await;
    let above_max = number(&format!("SELECT count(*) FROM batches WHERE size > {MAX}")).await;
    let early = number(
        "SELECT count(*) FROM stamp_states WHERE trigger = 'deadline' AND processed_at < process_after",
    )
    .await;
    println!("acknowledged {acknowledged}, processed {processed}, sum of the batches' sizes {sum}");
    println!("lost {lost}, twice {twice}, above max {above_max}, early {early}");
    for trigger in ["min_batch_size", "deadline"] {
        let batches = number(&format!("SELECT count(*) FROM batches WHERE trigger = '{trigger}'")).await;
        println!("batches by {trigger}: {batches}");
    }
    for (name, inside) in [("outside", false), ("inside", true)] {
        println!("lateness {name} the fault windows: {}", lateness(world, began, windows, inside).await);
    }
    for line in worst_outside(world, began, windows).await {
        println!("  {line}");
    }
    let complete = processed == acknowledged as i64 && sum == processed;
    anyhow::ensure!(complete && lost + twice + above_max + early == 0, "a guarantee was broken");
    Ok(())
}

/// Returns the seconds of the run in which stamps fell due that were latest without a fault to blame.
async fn worst_outside(world: &World, began: f64, windows: &[Window]) -> Vec<String> {
    let (begins, ends) = bounds(began, windows);
    let sql = "SELECT format('due in second %s: %s stamps, up to %s ms late',
                   floor(due - $3), count(*), round(max(late)::numeric, 1))
               FROM (SELECT extract(epoch FROM processed_at - process_after)::float8 * 1000 AS late,
                            extract(epoch FROM process_after)::float8 AS due
                     FROM stamp_states WHERE processed_at >= process_after) s
               WHERE late > 10 AND NOT EXISTS (SELECT FROM unnest($1::float8[], $2::float8[]) w (begins, ends)
                                               WHERE s.due BETWEEN w.begins AND w.ends)
               GROUP BY floor(due - $3) ORDER BY max(late) DESC LIMIT 10";
    let rows = world.database.query(sql, &[&begins, &ends, &began]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

fn bounds(began: f64, windows: &[Window]) -> (Vec<f64>, Vec<f64>) {
    windows.iter().map(|(from, to)| (began + from.as_secs_f64(), began + to.as_secs_f64())).unzip()
}

/// Returns the lateness of the stamps that fell due in or outside the windows.
async fn lateness(world: &World, began: f64, windows: &[Window], inside: bool) -> String {
    let (begins, ends) = bounds(began, windows);
    let sql = "SELECT count(*), format('p50 %s ms, p99 %s ms, max %s ms',
                   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY late)::numeric, 1),
                   round(percentile_cont(0.99) WITHIN GROUP (ORDER BY late)::numeric, 1), round(max(late)::numeric, 1))
               FROM (SELECT extract(epoch FROM processed_at - process_after)::float8 * 1000 AS late,
                            extract(epoch FROM process_after)::float8 AS due
                     FROM stamp_states WHERE processed_at >= process_after) s
               WHERE $3 = EXISTS (SELECT FROM unnest($1::float8[], $2::float8[]) w (begins, ends)
                                  WHERE s.due BETWEEN w.begins AND w.ends)";
    let row = &world.database.query(sql, &[&begins, &ends, &inside]).await[0];
    format!("{} of {} stamps", row.get::<_, String>(1), row.get::<_, i64>(0))
}
