//! The one clock: PostgreSQL's time, kept between samples by the monotonic clock of the process.
//!
//! A jump of a host's wall clock changes nothing, and all replicas agree on what is due. No other file in the
//! project asks a system for the time of day.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::error::DatabaseError;
use platform::retry::backoff;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync {
    /// Returns the time by the database's clock.
    fn now(&self) -> DateTime<Utc>;

    /// Ends when `time` has come, not before.
    fn sleep_until(&self, time: DateTime<Utc>) -> BoxFuture<'_, ()>;
}

/// Returns the host's own time, for a command that a person runs and that has no database. A service never asks for it.
#[expect(clippy::disallowed_methods, reason = "nothing that this decides is compared between processes")]
pub fn host_time() -> DateTime<Utc> {
    Utc::now()
}

/// The server's time, as one answer of the server tells.
#[derive(Debug, Clone, Copy)]
pub struct ClockSample {
    /// When the question was sent.
    pub sent: Instant,
    /// The time that the server read between the question and its answer.
    pub time: DateTime<Utc>,
    /// When the answer had come.
    pub received: Instant,
}

impl ClockSample {
    /// Asks a database for its time.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn of(database: &Database) -> Result<Self, DatabaseError> {
        database
            .ask(|session| {
                Box::pin(async move {
                    let sent = Instant::now();
                    let row = session.query_one("SELECT clock_timestamp()", &[]).await?;
                    Ok(Self { sent, time: row.try_get(0)?, received: Instant::now() })
                })
            })
            .await
    }
}

/// How far a sample may move the clock before whoever sleeps is woken to look again.
const STEP: TimeDelta = TimeDelta::milliseconds(1);

/// How much longer than asked for the runtime's timer may sleep: it counts in milliseconds and rounds up.
const COARSE: Duration = Duration::from_millis(2);

/// The longest sleep without a look at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// PostgreSQL's time as a fixed distance from the process's monotonic clock.
///
/// A sample tells a lower and an upper bound: the server read its clock after the request was sent and before
/// the answer came. The clock keeps to the lower one, so that it never runs ahead of the server by more than
/// the two drift apart between samples: a stamp may be processed late by a round trip, never early.
#[derive(Debug)]
pub struct PostgresClock {
    state: Mutex<State>,
    stepped: Notify,
}

#[derive(Debug, Clone, Copy)]
struct State {
    anchor: Instant,
    time_at_anchor: DateTime<Utc>,
}

impl State {
    fn at(&self, instant: Instant) -> DateTime<Utc> {
        let elapsed = instant.saturating_duration_since(self.anchor);
        self.time_at_anchor + TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX)
    }
}

impl PostgresClock {
    /// Returns a clock that starts from a first sample: the time that the server told, and when its answer came.
    pub fn new(server_time: DateTime<Utc>, received: Instant) -> Self {
        Self {
            state: Mutex::new(State { anchor: received, time_at_anchor: server_time }),
            stepped: Notify::new(),
        }
    }

    /// Returns a clock that starts from a first sample of the database, taken for as long as it takes.
    pub async fn synchronised(database: &Database) -> Self {
        let mut backoff = backoff();
        loop {
            match ClockSample::of(database).await {
                Ok(ClockSample { time, received, .. }) => return Self::new(time, received),
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "waiting for PostgreSQL's time");
                    tokio::time::sleep(backoff.delay()).await;
                }
            }
        }
    }

    /// Takes a sample into account.
    pub fn observe(&self, ClockSample { sent, time, received }: ClockSample) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = time + TimeDelta::from_std(received - sent).unwrap_or(TimeDelta::MAX);
        let believed = state.at(received);
        if believed >= time && believed <= latest {
            return;
        }
        *state = State { anchor: received, time_at_anchor: time };
        drop(state);
        let step = time - believed;
        if step.abs() > STEP {
            self.stepped.notify_waiters();
        }
        if step.abs() > TimeDelta::seconds(1) {
            tracing::warn!(clock.step_ms = step.num_milliseconds(), "the database's clock has jumped");
        }
    }

    /// Samples the database every few seconds until `stop`; while it is away the monotonic clock goes on alone.
    pub async fn keep(self: Arc<Self>, database: Database, stop: CancellationToken) {
        const PERIOD: Duration = Duration::from_secs(2);
        while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            if let Ok(sample) = ClockSample::of(&database).await {
                self.observe(sample);
            }
        }
    }
}

/// Sleeps for a time that is short for the runtime's timer.
async fn nap_finely(time: Duration) {
    // It ends by itself where the runtime is being shut down.
    let _cut = tokio::task::spawn_blocking(move || std::thread::sleep(time)).await;
}

impl Clock for PostgresClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now())
    }

    fn sleep_until(&self, time: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let stepped = self.stepped.notified();
                let Ok(left) = (time - self.now()).to_std() else {
                    return;
                };
                if left.is_zero() {
                    return;
                }
                let nap = async {
                    match left.checked_sub(COARSE) {
                        Some(nap) if !nap.is_zero() => tokio::time::sleep(nap.min(LONGEST_SLEEP)).await,
                        _ => nap_finely(left).await,
                    }
                };
                tokio::select! {
                    () = nap => {}
                    () = stepped => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> (PostgresClock, Instant, DateTime<Utc>) {
        let (instant, time) =
            (Instant::now(), DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time"));
        (PostgresClock::new(time, instant), instant, time)
    }

    fn sample(sent: Instant, time: DateTime<Utc>, received: Instant) -> ClockSample {
        ClockSample { sent, time, received }
    }

    fn believed(clock: &PostgresClock, at: Instant) -> DateTime<Utc> {
        clock.state.lock().expect("no panic").at(at)
    }

    #[test]
    fn a_sample_within_its_bounds_moves_nothing() {
        let (clock, instant, time) = start();
        let later = instant + Duration::from_secs(10);
        clock.observe(sample(
            later - Duration::from_millis(40),
            time + TimeDelta::milliseconds(9_980),
            later,
        ));
        assert_eq!(believed(&clock, later), time + TimeDelta::seconds(10));
    }

    // Break: let `observe` in clock.rs take `latest` for the new anchor's time.
    #[test]
    fn the_clock_falls_back_to_the_lower_bound_and_never_runs_ahead() {
        let (clock, instant, time) = start();
        let later = instant + Duration::from_secs(10);
        clock.observe(sample(later - Duration::from_millis(2), time + TimeDelta::milliseconds(9_900), later));
        assert_eq!(believed(&clock, later), time + TimeDelta::milliseconds(9_900));
        clock.observe(sample(
            later - Duration::from_millis(2),
            time + TimeDelta::milliseconds(10_100),
            later,
        ));
        assert_eq!(believed(&clock, later), time + TimeDelta::milliseconds(10_100));
    }

    #[tokio::test]
    async fn a_step_of_the_clock_wakes_who_sleeps() {
        let (clock, instant, time) = start();
        let hour = time + TimeDelta::hours(1);
        let sleeper = clock.sleep_until(hour);
        let step = async {
            tokio::task::yield_now().await;
            clock.observe(sample(instant, hour, Instant::now()));
        };
        tokio::join!(sleeper, step);
        assert!(clock.now() >= hour);
    }
}
