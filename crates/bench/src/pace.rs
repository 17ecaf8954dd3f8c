//! Clients that together send at a steady rate, whatever the answers take.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use test_support::TestDatabase;

use crate::http::Connection;
use crate::load::{joined, on_threads};
use crate::requests::{Form, Numbers, Requests as _};
use crate::usage::{Meter, Usage};

/// Connections that share the rate.
const CONNECTIONS: usize = 64;

/// How fast, for how long, and what is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Stamps a second.
    pub rate: f64,
    /// What is not counted, at first.
    pub warm_up: Duration,
    /// For how long is sent, after that.
    pub time: Duration,
    /// Of how many requests of a connection one is looked at.
    pub every: usize,
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    /// The number of each stamp that is looked at, when it was sent, and how many milliseconds the answer took.
    pub stamps: Vec<(u64, Instant, f64)>,
    /// Requests that were not answered with 201, among all.
    pub failures: usize,
    /// Requests that were answered with 201, among those that were counted.
    pub stored: usize,
    /// What the processes took meanwhile.
    pub usage: Usage,
}

/// Sends at a steady rate.
///
/// # Errors
/// If what measures fails.
pub async fn send(address: SocketAddr, pace: Pace, seed: u64, meter: &Meter) -> anyhow::Result<Sent> {
    // The threads take a moment to start.
    let start = Instant::now() + Duration::from_millis(50);
    let clients = (0..CONNECTIONS).map(|number| client(address, pace, seed, number, start));
    let threads = on_threads(clients.collect())?;
    tokio::time::sleep_until((start + pace.warm_up).into()).await;
    let measuring = meter.begin();
    tokio::time::sleep_until((start + pace.warm_up + pace.time).into()).await;
    let usage = measuring.end();
    let mut sent = Sent { stamps: Vec::new(), failures: 0, stored: 0, usage };
    for tally in joined(threads).await? {
        sent.stamps.extend(tally.stamps);
        sent.failures += tally.failures;
        sent.stored += tally.stored;
    }
    Ok(sent)
}

#[derive(Debug, Default)]
struct Tally {
    stamps: Vec<(u64, Instant, f64)>,
    failures: usize,
    stored: usize,
}

async fn client(address: SocketAddr, pace: Pace, seed: u64, number: usize, start: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut form = Form::new(Numbers::endless(seed, number, CONNECTIONS), None);
    let (mut kept, mut free, counted) = (None, start, start + pace.warm_up);
    for turn in 0.. {
        let stamp = number + turn * CONNECTIONS;
        let scheduled = start + Duration::from_secs_f64(stamp as f64 / pace.rate);
        if scheduled >= counted + pace.time {
            break;
        }
        tokio::time::sleep_until(scheduled.into()).await;
        // A client that waited for an answer is late by the answer's fault, and that counts. That its timer is late by up
        // to a millisecond is its own.
        let asked = if free > scheduled { scheduled } else { Instant::now() };
        let stored = exchange(address, &mut kept, &mut form).await;
        free = Instant::now();
        tally.failures += usize::from(!stored);
        if stored && scheduled >= counted {
            tally.stored += 1;
            if turn.is_multiple_of(pace.every) {
                tally.stamps.push((stamp as u64, asked, (free - asked).as_secs_f64() * 1e3));
            }
        }
    }
    tally
}

async fn exchange(address: SocketAddr, kept: &mut Option<Connection>, form: &mut Form) -> bool {
    let Some(request) = form.next() else { return false };
    let connection = match kept.take() {
        Some(connection) => Ok(connection),
        None => Connection::open(address).await,
    };
    let Ok(mut connection) = connection else { return false };
    let answer = connection.exchange(request).await.map(|answer| (answer.status, answer.closes));
    let Ok((status, closes)) = answer else { return false };
    *kept = (!closes).then_some(connection);
    status == 201
}

/// The server's clock, as this process tells it.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    at: Instant,
    /// Seconds since 1970 at that moment.
    seconds: f64,
}

impl ServerClock {
    /// Asks for the time until one answer came quickly.
    pub async fn of(database: &TestDatabase) -> Self {
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..50 {
            let asked = Instant::now();
            let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
            let seconds = database.query(sql, &[]).await[0].get(0);
            let took = asked.elapsed();
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, Self { at: asked + took / 2, seconds }));
            }
        }
        best.map_or(Self { at: Instant::now(), seconds: 0.0 }, |(_, clock)| clock)
    }

    /// Returns a moment in seconds since 1970.
    pub fn seconds(self, moment: Instant) -> f64 {
        let since = moment.checked_duration_since(self.at).map(|since| since.as_secs_f64());
        self.seconds + since.unwrap_or_else(|| -(self.at - moment).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_the_answer_and_one_after_it_are_told_alike() {
        let clock = ServerClock { at: Instant::now(), seconds: 1_000.0 };
        for offset in [0.5, 2.0] {
            let duration = Duration::from_secs_f64(offset);
            assert!((clock.seconds(clock.at + duration) - 1_000.0 - offset).abs() < 1e-6);
            assert!((clock.seconds(clock.at - duration) - 1_000.0 + offset).abs() < 1e-6);
        }
    }
}
