//! Group commit: requests that come while a transaction is under way share the next one.
//!
//! Each request is answered once its stamp is durable in PostgreSQL together with its place in the outbox, which is
//! told of it then.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::outbox::{Lane, OutboxEvent, OwnerId};
use domain::stamp::Stamp;
use store::clock::PostgresClock;
use store::stamps::intake::{GroupCommit, Numbered, store};
use store::{Database, ErrorClass};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::stamps::outbox::{COMMITTERS, Outbox};

/// The most stamps in one transaction.
const GROUP: usize = 1_000;
/// The most requests that may wait for a transaction.
const QUEUE: usize = 10_000;
/// How long to wait for an owner: a row is made in milliseconds, and who waits longer has no time left to store.
const OWNER_LIMIT: Duration = Duration::from_secs(1);
/// How long a request may wait in all: an answer is due within two seconds.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_900);

/// Why a stamp was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// There is a stamp with this `object_cid` already.
    #[error("a stamp with this object_cid exists")]
    Duplicate,
    /// The stamp is not stored or, where an answer was lost, not known to be.
    #[error("the database does not answer in time")]
    Unavailable,
    /// The stamp is not stored, and won't be before a person mends the database.
    #[error("the database refuses stamps")]
    Refused,
}

type Answer = Result<(), IntakeError>;

struct Submission {
    stamp: Stamp,
    answer: oneshot::Sender<Answer>,
}

/// Takes stamps in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    requests: mpsc::Sender<Submission>,
}

impl Intake {
    /// Starts the committers. They end, every answer given, once all clones of the intake are dropped.
    pub fn start(
        database: &Database,
        clock: &Arc<PostgresClock>,
        outbox: &Arc<Outbox>,
    ) -> (Self, JoinSet<()>) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        let mut committers = JoinSet::new();
        for lane in 0..COMMITTERS {
            let committer = Committer {
                lane,
                database: database.clone(),
                clock: Arc::clone(clock),
                outbox: Arc::clone(outbox),
            };
            committers.spawn(committer.run(Arc::clone(&requests)));
        }
        (Self { requests: sender }, committers)
    }

    /// Returns how many stamps wait for a committer.
    pub fn queued(&self) -> usize {
        QUEUE - self.requests.capacity()
    }

    /// Stores a stamp with its place in the outbox.
    ///
    /// # Errors
    /// If there is a stamp with this id, or the database is away, overloaded or lacks something.
    pub async fn submit(&self, stamp: Stamp) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Submission { stamp, answer }).map_err(|_full| IntakeError::Unavailable)?;
        match tokio::time::timeout(ANSWER_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            _ => Err(IntakeError::Unavailable),
        }
    }
}

struct Committer {
    /// Lane of the committer, with an owner of its own: two that lock one row together cost the database a multixact
    /// for each commit.
    lane: Lane,
    database: Database,
    clock: Arc<PostgresClock>,
    outbox: Arc<Outbox>,
}

impl Committer {
    async fn run(self, requests: Arc<Mutex<mpsc::Receiver<Submission>>>) {
        loop {
            let mut group = Vec::new();
            if requests.lock().await.recv_many(&mut group, GROUP).await == 0 {
                return;
            }
            // Whoever asked has stopped waiting, with a 503: don't store what they may send again.
            group.retain(|request| !request.answer.is_closed());
            self.commit(group).await;
        }
    }

    async fn commit(&self, group: Vec<Submission>) {
        let (rows, waiting) = refuse_repeats(group);
        if rows.is_empty() {
            return;
        }
        let (owner, accepted, rows) = match self.store(rows).await {
            Ok(stored) => stored,
            Err(error) => {
                for answer in waiting {
                    reply(answer, Err(error));
                }
                return;
            }
        };
        let mut stored = Vec::with_capacity(rows.len());
        let mut answers = Vec::with_capacity(rows.len());
        for (row, answer) in rows.into_iter().zip(waiting) {
            let is_new = accepted.contains(&row.number);
            answers.push((answer, if is_new { Ok(()) } else { Err(IntakeError::Duplicate) }));
            if is_new {
                stored.push((row.number, row.stamp));
            }
        }
        self.outbox.tell(OutboxEvent::Stored { owner, rows: stored });
        for (answer, result) in answers {
            reply(answer, result);
        }
    }

    /// Stores stamps under the lane's owner, or under a new one where that was retired by somebody else. The outbox
    /// is told of every outcome but the good one.
    async fn store(&self, stamps: Vec<Stamp>) -> Result<(OwnerId, HashSet<i64>, Vec<Numbered>), IntakeError> {
        for _ in 0..2 {
            let numbered = self.outbox.number(self.lane, stamps.len());
            let numbered = tokio::time::timeout(OWNER_LIMIT, numbered).await;
            let (owner, first) = numbered.map_err(|_elapsed| IntakeError::Unavailable)?;
            let rows: Vec<Numbered> = stamps
                .iter()
                .cloned()
                .zip(first..)
                .map(|(stamp, number)| Numbered { number, stamp })
                .collect();
            match store(&self.database, owner.0, &rows).await {
                Ok(GroupCommit::Committed { accepted, clock }) => {
                    self.clock.observe(clock);
                    return Ok((owner, accepted.into_iter().collect(), rows));
                }
                Ok(GroupCommit::OwnerRetired) => {
                    tracing::warn!(
                        owner = owner.0,
                        "another process took this outbox over; going on with a new one"
                    );
                    self.outbox.tell(OutboxEvent::OwnerGone(owner));
                }
                Err(error) => {
                    tracing::warn!(error = error.to_string(), stamps = rows.len(), "stamps were not stored");
                    self.outbox.tell(if error.had_no_effect() {
                        OutboxEvent::NotStored(owner)
                    } else {
                        OutboxEvent::StoreUnanswered(owner)
                    });
                    return Err(match error.class() {
                        ErrorClass::Fatal => IntakeError::Refused,
                        ErrorClass::Transient | ErrorClass::Data => IntakeError::Unavailable,
                    });
                }
            }
        }
        Err(IntakeError::Unavailable)
    }
}

/// Refuses repeats: of requests with the same id in one group the first goes on, whether it is stored now or was stored
/// before.
fn refuse_repeats(group: Vec<Submission>) -> (Vec<Stamp>, Vec<oneshot::Sender<Answer>>) {
    let mut seen = HashSet::with_capacity(group.len());
    let (mut stamps, mut waiting) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for Submission { stamp, answer } in group {
        if seen.insert(stamp.object_cid().clone()) {
            stamps.push(stamp);
            waiting.push(answer);
        } else {
            reply(answer, Err(IntakeError::Duplicate));
        }
    }
    (stamps, waiting)
}

fn reply(answer: oneshot::Sender<Answer>, result: Answer) {
    // Whoever asked may have gone.
    let _gone = answer.send(result);
}
