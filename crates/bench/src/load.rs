//! Clients that each send one request after the other over a connection that is kept.

use std::future::Future;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::requests::Requests;
use crate::stats::Distribution;
use crate::usage::{Meter, Usage};

/// Threads that clients share. More than the cores of the smallest machine would only take turns.
const THREADS: usize = 2;
/// How long a client waits before it connects again.
const PAUSE: Duration = Duration::from_millis(10);

/// For how long clients send.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// What is not counted, at first.
    pub warm_up: Duration,
    /// What is counted.
    pub time: Duration,
}

/// What became of the requests of a while.
#[derive(Debug, Default)]
pub struct Counted {
    /// Stamps that were stored.
    pub stamps: u64,
    /// Requests that did not get the answer that they should have.
    pub failures: u64,
    /// Requests beside those that were asked to come again later.
    pub put_off: u64,
    /// For how long was counted.
    pub seconds: f64,
    /// Milliseconds from request to answer.
    pub latency: Distribution,
    /// What the processes took meanwhile.
    pub usage: Usage,
}

impl Counted {
    /// Returns how many stamps were stored in a second.
    pub fn rate(&self) -> f64 {
        self.stamps as f64 / self.seconds
    }
}

/// Lets clients send for a while, each over a connection of its own.
///
/// # Errors
/// If a thread can't be started.
pub async fn send_for(
    address: SocketAddr,
    span: Span,
    clients: Vec<impl Requests>,
    meter: &Meter,
) -> anyhow::Result<Counted> {
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.time;
    let window = Window { begin, end: Some(end) };
    let threads = on_threads(clients.into_iter().map(|client| send(address, client, window)).collect())?;
    tokio::time::sleep_until(begin.into()).await;
    let measuring = meter.begin();
    tokio::time::sleep_until(end.into()).await;
    let usage = measuring.end();
    let tallies = joined(threads).await?;
    Ok(Counted { seconds: span.time.as_secs_f64(), usage, ..counted(tallies) })
}

/// Lets clients send all that they have.
///
/// # Errors
/// If a thread can't be started, or if a request fails.
pub async fn send_all(address: SocketAddr, clients: Vec<impl Requests>) -> anyhow::Result<Counted> {
    let begin = Instant::now();
    let window = Window { begin, end: None };
    let threads = on_threads(clients.into_iter().map(|client| send(address, client, window)).collect())?;
    let counted = counted(joined(threads).await?);
    let failures = counted.failures + counted.put_off;
    anyhow::ensure!(failures == 0, "{failures} requests failed");
    Ok(Counted { seconds: begin.elapsed().as_secs_f64(), ..counted })
}

/// When answers count.
#[derive(Debug, Clone, Copy)]
struct Window {
    begin: Instant,
    /// When clients stop; `None`: when they have sent all.
    end: Option<Instant>,
}

/// What one client has counted.
#[derive(Debug, Default)]
struct Tally {
    stamps: u64,
    failures: u64,
    put_off: u64,
    latencies: Vec<f64>,
}

async fn send(address: SocketAddr, mut requests: impl Requests, window: Window) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    loop {
        let asked = Instant::now();
        if window.end.is_some_and(|end| asked >= end) {
            return tally;
        }
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::open(address).await {
                Ok(connection) => connection,
                Err(_) => {
                    tally.failures += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let Some(request) = requests.next() else { return tally };
        let answer = connection.exchange(request).await;
        let is_put_off = answer.as_ref().is_ok_and(|answer| answer.retry_after);
        let (stored, is_open) =
            answer.map_or((0, false), |answer| (requests.stored(&answer), !answer.closes));
        kept = is_open.then_some(connection);
        let now = Instant::now();
        if now >= window.begin && window.end.is_none_or(|end| now < end) {
            tally.stamps += stored;
            tally.failures += u64::from(stored == 0 && !is_put_off);
            tally.put_off += u64::from(is_put_off);
            tally.latencies.push((now - asked).as_secs_f64() * 1e3);
        }
    }
}

fn counted(tallies: Vec<Tally>) -> Counted {
    let (mut counted, mut latencies) = (Counted::default(), Vec::new());
    for tally in tallies {
        counted.stamps += tally.stamps;
        counted.failures += tally.failures;
        counted.put_off += tally.put_off;
        latencies.extend(tally.latencies);
    }
    Counted { latency: Distribution::of(latencies), ..counted }
}

/// Threads with a share of the clients each.
pub(crate) type Threads<T> = Vec<JoinHandle<anyhow::Result<Vec<T>>>>;

/// Runs clients on a few threads, each with a runtime of its own: no task moves from one to the other.
pub(crate) fn on_threads<T, F>(clients: Vec<F>) -> anyhow::Result<Threads<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut shares: Vec<Vec<F>> = (0..THREADS).map(|_| Vec::new()).collect();
    for (index, client) in clients.into_iter().enumerate() {
        shares[index % THREADS].push(client);
    }
    let threads = shares.into_iter().filter(|share| !share.is_empty()).map(|share| {
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let all = async { share.into_iter().collect::<JoinSet<T>>().join_all().await };
            Ok(runtime.block_on(all))
        };
        Ok(std::thread::Builder::new().name("clients".to_owned()).spawn(run)?)
    });
    threads.collect()
}

/// Waits for all clients.
pub(crate) async fn joined<T: Send + 'static>(threads: Threads<T>) -> anyhow::Result<Vec<T>> {
    let wait = move || {
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a client has panicked"))??);
        }
        Ok(all)
    };
    tokio::task::spawn_blocking(wait).await?
}
