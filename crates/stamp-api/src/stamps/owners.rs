//! Keeps the outbox's owners: carries out in the database what the outbox decides, and shows how it stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::outbox::{OutboxCommand, OutboxEvent, OwnerId, Renewal};
use domain::stamp::Stamp;
use store::stamps::backlog::{OutboxBacklog, backlog};
use store::stamps::owners;
use store::{Database, DatabaseError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::metrics::ApiMetrics;
use crate::stamps::outbox::{Outbox, PAGE};

/// How often the owners' rows are renewed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long an owner is silent before it is taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
/// How long giving the outbox up at the end may take.
const ABANDON_LIMIT: Duration = Duration::from_secs(1);
/// How long an event may not be in Kafka before that is worth a look: usual are milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The part of its time that the database spends at most on telling what waits: a tenth.
const SHARE: u32 = 10;

/// Keeps the owners until `stop`, or until a part of the work panics.
pub async fn keep(
    outbox: Arc<Outbox>,
    database: Database,
    mut wanted: mpsc::UnboundedReceiver<OutboxCommand<Stamp>>,
    stop: CancellationToken,
) {
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => outbox.tell(OutboxEvent::Beat),
            Some(command) = wanted.recv() => {
                under_way.spawn(carry_out(Arc::clone(&outbox), database.clone(), command));
            }
            Some(done) = under_way.join_next() => {
                if done.is_err() {
                    return;
                }
            }
        }
    }
}

async fn carry_out(outbox: Arc<Outbox>, database: Database, command: OutboxCommand<Stamp>) {
    let (event, step) = match command {
        OutboxCommand::Register(lane) => {
            let made = owners::register(&database).await;
            let owner = made.as_ref().ok().copied().map(OwnerId);
            (OutboxEvent::Registered { lane, owner }, failed("make an owner", made))
        }
        OutboxCommand::Renew(marks) => match owners::renew(&database, &plain(&marks)).await {
            Ok(rows) => {
                let renewal = |(id, retired)| Renewal { owner: OwnerId(id), retired };
                (OutboxEvent::Renewed(rows.into_iter().map(renewal).collect()), None)
            }
            error => (OutboxEvent::NotRenewed, failed("renew the owners", error)),
        },
        OutboxCommand::Retire(owner) => match owners::retire(&database, owner.0).await {
            Ok(row) => (OutboxEvent::Retired { owner, gone: row.is_none() }, None),
            error => (OutboxEvent::NotRetired(owner), failed("retire an owner", error)),
        },
        OutboxCommand::LookForSilent { except } => {
            let except: Vec<i64> = except.iter().map(|owner| owner.0).collect();
            match owners::retire_silent(&database, SILENCE, &except).await {
                Ok(Some(silent)) => {
                    tracing::info!(
                        outbox.owner = silent.id,
                        "an owner fell silent; its outbox is taken over"
                    );
                    let owner = OwnerId(silent.id);
                    (OutboxEvent::SilentFound { owner, mark: silent.mark }, None)
                }
                other => (OutboxEvent::NoneSilent, failed("look for silent owners", other)),
            }
        }
        OutboxCommand::ReadPage { owner, above } => {
            match owners::outbox(&database, owner.0, above, PAGE as i64).await {
                Ok(rows) => {
                    let rows = rows.into_iter().map(|row| (row.number, row.stamp)).collect();
                    (OutboxEvent::PageRead { owner, rows }, None)
                }
                error => (OutboxEvent::PageNotRead(owner), failed("read an outbox", error)),
            }
        }
        OutboxCommand::Forget(owner) => match owners::forget(&database, owner.0).await {
            Ok(()) => {
                tracing::info!(outbox.owner = owner.0, "a retired owner's outbox is published");
                (OutboxEvent::Forgotten(owner), None)
            }
            error => (OutboxEvent::NotForgotten(owner), failed("remove an owner", error)),
        },
        // These commands have ways of their own.
        OutboxCommand::Publish(_) | OutboxCommand::Abandon(_) => return,
    };
    if let Some((step, error)) = step {
        tracing::warn!(error = error.to_string(), "waiting for PostgreSQL to {step}");
    }
    outbox.tell(event);
}

fn failed<T>(step: &'static str, result: Result<T, DatabaseError>) -> Option<(&'static str, DatabaseError)> {
    result.err().map(|error| (step, error))
}

fn plain(marks: &[(OwnerId, i64)]) -> Vec<(i64, i64)> {
    marks.iter().map(|(owner, mark)| (owner.0, *mark)).collect()
}

/// Ends a process's outbox: the marks are stored, and what lies above is anybody's.
pub async fn abandon(outbox: &Outbox, database: &Database) {
    let marks = plain(&outbox.end());
    let abandoned = tokio::time::timeout(ABANDON_LIMIT, owners::abandon(database, &marks)).await;
    if !matches!(abandoned, Ok(Ok(()))) {
        tracing::warn!("the outbox can't be given up; it is taken over after a few seconds of silence");
    }
}

/// What is wrong with the outbox, for `/readyz`.
#[derive(Debug, Default)]
pub struct Complaint(Mutex<Option<String>>);

impl Complaint {
    /// Returns what is wrong, if anything is.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, complaint: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = complaint;
    }
}

/// Shows how the outbox stands, until `stop`.
pub async fn show(
    outbox: Arc<Outbox>,
    database: Database,
    metrics: ApiMetrics,
    complaint: Arc<Complaint>,
    stop: CancellationToken,
) {
    let mut pause = Duration::ZERO;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let asked = Instant::now();
        let (standing, refused) = outbox.standing();
        metrics.outbox_refused.set(refused as i64);
        match backlog(&database, &standing).await {
            Ok(backlog) => {
                let in_memory: usize = standing.iter().map(|owner| owner.outstanding).sum();
                let pending = backlog.unread + in_memory as i64;
                metrics.outbox_pending.set(pending);
                metrics.outbox_oldest.set(backlog.oldest.as_secs_f64());
                complaint.set(refusals(refused).or_else(|| delay(pending, backlog)));
            }
            // While the database is away, nothing else is known.
            Err(_) if refused > 0 => complaint.set(refusals(refused)),
            Err(_) => {}
        }
        pause = HEARTBEAT.max(asked.elapsed() * SHARE);
    }
}

fn refusals(refused: usize) -> Option<String> {
    (refused > 0).then(|| format!("Kafka refuses {refused} events; the log names them"))
}

fn delay(pending: i64, backlog: OutboxBacklog) -> Option<String> {
    let seconds = backlog.oldest.as_secs();
    (backlog.oldest >= PATIENCE)
        .then(|| format!("{pending} events wait for Kafka, the oldest for {seconds} seconds"))
}
