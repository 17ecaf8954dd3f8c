//! Group commit: requests that come while a transaction is under way share the next one.
//!
//! Each request is answered once its stamp is durable in PostgreSQL together with its place in the outbox. The
//! relay is told then; where it can't take more, the outbox is given up and read from the database later.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::stamp::Stamp;
use platform::clock::PostgresClock;
use platform::postgres::Database;
use platform::postgres::intake::{Numbered, Stored, store};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::outbox::Outbox;
use crate::relay::{Event, Owners};

/// Transactions at the same time: past two the processor, not the database, is what they compete for.
const COMMITTERS: usize = 2;
/// Stamps in one transaction.
const GROUP: usize = 1_000;
/// Requests that may wait for a transaction.
const QUEUE: usize = 10_000;
/// An answer is due within two seconds.
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
}

type Answer = Result<(), IntakeError>;

struct Request {
    stamp: Stamp,
    answer: oneshot::Sender<Answer>,
}

/// Takes stamps in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    requests: mpsc::Sender<Request>,
}

impl Intake {
    /// Starts the committers. They end, every answer given, once all clones of the intake are dropped; the
    /// channel to the relay closes with them.
    pub fn start(
        database: &Database,
        clock: &Arc<PostgresClock>,
        owners: &Arc<Owners>,
        relay: &mpsc::Sender<Event>,
    ) -> (Self, JoinSet<()>) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        let mut committers = JoinSet::new();
        for _ in 0..COMMITTERS {
            let committer = Committer {
                database: database.clone(),
                clock: Arc::clone(clock),
                owners: Arc::clone(owners),
                relay: relay.clone(),
            };
            committers.spawn(committer.run(Arc::clone(&requests)));
        }
        (Self { requests: sender }, committers)
    }

    /// How many stamps wait for a committer.
    pub fn queued(&self) -> usize {
        QUEUE - self.requests.capacity()
    }

    /// Stores a stamp with its place in the outbox.
    ///
    /// # Errors
    /// If there is one with this id, or the database is away or overloaded.
    pub async fn submit(&self, stamp: Stamp) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Request { stamp, answer }).map_err(|_full| IntakeError::Unavailable)?;
        match tokio::time::timeout(ANSWER_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            _ => Err(IntakeError::Unavailable),
        }
    }
}

struct Committer {
    database: Database,
    clock: Arc<PostgresClock>,
    owners: Arc<Owners>,
    relay: mpsc::Sender<Event>,
}

impl Committer {
    async fn run(self, requests: Arc<Mutex<mpsc::Receiver<Request>>>) {
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

    async fn commit(&self, group: Vec<Request>) {
        let (rows, waiting) = refuse_repeats(group);
        if rows.is_empty() {
            return;
        }
        match self.store(rows).await {
            Some((epoch, accepted, rows)) => {
                for (row, answer) in rows.into_iter().zip(waiting) {
                    if accepted.contains(&row.seq) {
                        self.hand_over(Event { epoch, seq: row.seq, stamp: row.stamp });
                        reply(answer, Ok(()));
                    } else {
                        self.owners.outbox().finish(epoch, row.seq);
                        reply(answer, Err(IntakeError::Duplicate));
                    }
                }
            }
            None => waiting.into_iter().for_each(|answer| reply(answer, Err(IntakeError::Unavailable))),
        }
    }

    /// Stores stamps under the present owner, or under a new one where that was retired by somebody else.
    async fn store(&self, stamps: Vec<Stamp>) -> Option<(u32, HashSet<i64>, Vec<Numbered>)> {
        for _ in 0..2 {
            let outbox = self.owners.outbox();
            let (owner, first) = outbox.number(stamps.len());
            let rows: Vec<Numbered> =
                stamps.iter().cloned().zip(first..).map(|(stamp, seq)| Numbered { seq, stamp }).collect();
            match store(&self.database, owner.id, &rows).await {
                Ok(Stored::Committed { accepted, clock: (sent, time, received) }) => {
                    self.clock.observe(sent, time, received);
                    return Some((owner.epoch, accepted.into_iter().collect(), rows));
                }
                Ok(Stored::OwnerRetired) => {
                    tracing::warn!(
                        owner = owner.id,
                        "another process took this outbox over; going on with a new one"
                    );
                    if self.owners.replace(owner).await.is_err() {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = error.to_string(), stamps = rows.len(), "stamps were not stored");
                    if error.had_no_effect() {
                        for row in &rows {
                            outbox.finish(owner.epoch, row.seq);
                        }
                    } else {
                        outbox.give_up(owner.epoch);
                    }
                    return None;
                }
            }
        }
        None
    }

    fn hand_over(&self, event: Event) {
        let epoch = event.epoch;
        if self.relay.try_send(event).is_err() {
            self.owners.outbox().give_up(epoch);
        }
    }
}

/// Of requests with the same id in one group the first goes on; the others are repeats, whether the first
/// is stored now or was stored before.
fn refuse_repeats(group: Vec<Request>) -> (Vec<Stamp>, Vec<oneshot::Sender<Answer>>) {
    let mut seen = HashSet::with_capacity(group.len());
    let (mut stamps, mut waiting) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for Request { stamp, answer } in group {
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

/// The outbox as the intake sees it.
impl Owners {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}
