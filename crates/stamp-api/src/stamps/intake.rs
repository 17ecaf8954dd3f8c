//! Group commit: requests that come while a transaction is under way share the next one.
//!
//! Each request is answered once its stamps are durable in PostgreSQL together with their places in the outbox, which is
//! told of them then. Stamps that come by the thousand have a queue and a committer of their own, so that no single one
//! waits behind them.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use domain::outbox::{Lane, OutboxEvent, OwnerId};
use domain::stamp::{ObjectCid, Stamp};
use store::clock::PostgresClock;
use store::stamps::intake::{GroupCommit, Numbered, Taken, store};
use store::{Database, ErrorClass};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::stamps::outbox::{BULK, Outbox, SINGLE};

/// The most stamps in one transaction.
const GROUP: usize = 1_000;
/// The most single stamps that may wait for a transaction.
const QUEUE: usize = 10_000;
/// The most requests with many stamps that may wait; how much there is in them is bounded by the memory for bodies.
const BULK_QUEUE: usize = 1_000;
/// How long to wait for an owner: a row is made in milliseconds, and who waits longer has no time left to store.
const OWNER_LIMIT: Duration = Duration::from_secs(1);
/// How long a single stamp may wait in all: an answer is due within two seconds.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_900);
/// For how long further ids are likely to be taken after one was.
const WARY: Duration = Duration::from_secs(60);
/// How long many stamps may wait in all, as long as the database answers: as long as their body may take.
const BULK_LIMIT: Duration = Duration::from_secs(10);

/// Why stamps were not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The stamps are not stored or, where an answer was lost, not known to be.
    #[error("the database does not answer in time")]
    Unavailable,
    /// The stamps are not stored, and won't be before a person mends the database.
    #[error("the database refuses stamps")]
    Refused,
}

/// The id of each stamp that was stored, or nothing where there was one of this id.
type Outcomes = Vec<Option<ObjectCid>>;

struct Submission {
    stamps: Vec<Stamp>,
    answer: oneshot::Sender<Result<Outcomes, IntakeError>>,
}

impl Submission {
    /// Separates the stamps from what is told of them.
    fn begin(self) -> (Vec<Stamp>, Unanswered) {
        let outcomes = Vec::with_capacity(self.stamps.len());
        let unanswered = Unanswered { outcomes, left: self.stamps.len(), answer: Some(self.answer) };
        (self.stamps, unanswered)
    }
}

/// Takes stamps in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    single: mpsc::Sender<Submission>,
    bulk: mpsc::Sender<Submission>,
}

impl Intake {
    /// Starts the committers. They end, every answer given, once all clones of the intake are dropped.
    pub fn start(
        database: &Database,
        clock: &Arc<PostgresClock>,
        outbox: &Arc<Outbox>,
    ) -> (Self, JoinSet<()>) {
        let committer = |lane| Committer {
            lane,
            database: database.clone(),
            clock: Arc::clone(clock),
            outbox: Arc::clone(outbox),
            wary_until: Instant::now(),
        };
        let mut committers = JoinSet::new();
        let (single, requests) = mpsc::channel(QUEUE);
        committers.spawn(committer(SINGLE).run(requests));
        let (bulk, requests) = mpsc::channel(BULK_QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        for lane in BULK {
            committers.spawn(committer(lane).run_bulk(Arc::clone(&requests)));
        }
        (Self { single, bulk }, committers)
    }

    /// Returns how many single stamps wait for a committer.
    pub fn queued(&self) -> usize {
        QUEUE - self.single.capacity()
    }

    /// Stores a stamp with its place in the outbox. Returns false if there is a stamp of this id.
    ///
    /// # Errors
    /// If the database is away, overloaded or lacks something.
    pub async fn submit(&self, stamp: Stamp) -> Result<bool, IntakeError> {
        let outcomes = submit(&self.single, vec![stamp], ANSWER_LIMIT).await?;
        Ok(outcomes.iter().flatten().count() == 1)
    }

    /// Stores stamps with their places in the outbox, one after the other: of two with one id the first. Returns for each
    /// its id, or nothing if there is a stamp of this id.
    ///
    /// # Errors
    /// If the database is away, overloaded or lacks something; some of the stamps may be stored then.
    pub async fn submit_all(&self, stamps: Vec<Stamp>) -> Result<Vec<Option<ObjectCid>>, IntakeError> {
        if stamps.is_empty() { Ok(Vec::new()) } else { submit(&self.bulk, stamps, BULK_LIMIT).await }
    }
}

async fn submit(
    queue: &mpsc::Sender<Submission>,
    stamps: Vec<Stamp>,
    limit: Duration,
) -> Result<Outcomes, IntakeError> {
    let (answer, answered) = oneshot::channel();
    queue.try_send(Submission { stamps, answer }).map_err(|_full| IntakeError::Unavailable)?;
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(answer)) => answer,
        _ => Err(IntakeError::Unavailable),
    }
}

/// A submission whose stamps are being stored.
struct Unanswered {
    outcomes: Outcomes,
    /// How many stamps have no outcome yet.
    left: usize,
    answer: Option<oneshot::Sender<Result<Outcomes, IntakeError>>>,
}

impl Unanswered {
    /// Tells whether whoever asked has stopped waiting, with a 503: what they may send again is not to be stored.
    fn is_given_up(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Notes what became of the next stamp, and answers after the last one.
    fn note(&mut self, outcome: Option<ObjectCid>) {
        self.outcomes.push(outcome);
        self.left -= 1;
        if self.left == 0 {
            let outcomes = mem::take(&mut self.outcomes);
            self.reply(Ok(outcomes));
        }
    }

    fn reply(&mut self, answer: Result<Outcomes, IntakeError>) {
        if let Some(waiting) = self.answer.take() {
            // Whoever asked may have gone.
            let _gone = waiting.send(answer);
        }
    }
}

/// Waits for a request and takes those behind it that go into the same transaction. Returns none once nobody sends any
/// more.
async fn fill(requests: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let mut group: Vec<_> = requests.recv().await.into_iter().collect();
    while group.iter().map(|request| request.stamps.len()).sum::<usize>() < GROUP {
        let Ok(next) = requests.try_recv() else { break };
        group.push(next);
    }
    group
}

struct Committer {
    /// Lane of the committer, with an owner of its own: two that lock one row together cost the database a multixact
    /// for each commit.
    lane: Lane,
    database: Database,
    clock: Arc<PostgresClock>,
    outbox: Arc<Outbox>,
    /// Until when ids are likely to be taken.
    wary_until: Instant,
}

impl Committer {
    /// Stores what comes one by one, as much at once as has come.
    async fn run(mut self, mut requests: mpsc::Receiver<Submission>) {
        let mut group = Vec::new();
        while requests.recv_many(&mut group, GROUP).await > 0 {
            // Everybody was answered.
            let _failed = self.commit(mem::take(&mut group)).await;
        }
    }

    /// Stores what comes by the thousand, so much at once as fills a transaction.
    async fn run_bulk(mut self, requests: Arc<Mutex<mpsc::Receiver<Submission>>>) {
        loop {
            let group = fill(&mut *requests.lock().await).await;
            if group.is_empty() {
                return;
            }
            if let Err(error) = self.commit(group).await {
                // Who has waited behind a database that does not answer is not to wait for another try. Where another
                // committer has the lock, nobody waits.
                if let Ok(mut requests) = requests.try_lock() {
                    while let Ok(request) = requests.try_recv() {
                        request.begin().1.reply(Err(error));
                    }
                }
            }
        }
    }

    /// Stores the stamps of submissions in this order, in no more statements than their number takes, and answers each
    /// submission after its last stamp. The first failure is everybody's who is not answered then.
    async fn commit(&mut self, submissions: Vec<Submission>) -> Result<(), IntakeError> {
        let (stamps, mut unanswered): (Vec<_>, Vec<_>) =
            submissions.into_iter().map(Submission::begin).unzip();
        let of = |(of, stamps): (usize, Vec<Stamp>)| stamps.into_iter().map(move |stamp| (of, stamp));
        let mut rows = stamps.into_iter().enumerate().flat_map(of);
        loop {
            let asked_for = rows.by_ref().filter(|(of, _)| !unanswered[*of].is_given_up());
            let (of, stamps): (Vec<usize>, Vec<Stamp>) = asked_for.take(GROUP).unzip();
            if stamps.is_empty() {
                return Ok(());
            }
            match self.commit_group(stamps).await {
                Ok(outcomes) => {
                    for (of, outcome) in of.into_iter().zip(outcomes) {
                        unanswered[of].note(outcome);
                    }
                }
                Err(error) => {
                    for submission in &mut unanswered {
                        submission.reply(Err(error));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Stores the stamps of one transaction and tells the outbox of them. Of those with one id the first goes on, whether
    /// it is stored now or was stored before.
    async fn commit_group(&mut self, mut stamps: Vec<Stamp>) -> Result<Outcomes, IntakeError> {
        let mut seen = HashSet::with_capacity(stamps.len());
        let first: Vec<bool> = stamps.iter().map(|stamp| seen.insert(stamp.object_cid().as_str())).collect();
        let mut is_first = first.iter();
        stamps.retain(|_| is_first.next().is_some_and(|first| *first));
        let (owner, accepted, rows) = self.store(stamps).await?;
        let mut stored = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter();
        let outcome = |is_first| {
            let row = if is_first { rows.next() } else { None };
            let row = row.filter(|row| accepted.contains(&row.number))?;
            let object_cid = row.stamp.object_cid().clone();
            stored.push((row.number, row.stamp));
            Some(object_cid)
        };
        let outcomes = first.into_iter().map(outcome).collect();
        self.outbox.tell(OutboxEvent::Stored { owner, rows: stored });
        Ok(outcomes)
    }

    /// Stores stamps under the lane's owner, or under a new one where that was retired by somebody else. The outbox
    /// is told of every outcome but the good one.
    async fn store(
        &mut self,
        stamps: Vec<Stamp>,
    ) -> Result<(OwnerId, HashSet<i64>, Vec<Numbered>), IntakeError> {
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
            let taken = if Instant::now() < self.wary_until { Taken::Likely } else { Taken::Unlikely };
            match store(&self.database, owner.0, &rows, taken).await {
                Ok(GroupCommit::Committed { accepted, clock }) => {
                    if accepted.len() < rows.len() {
                        self.wary_until = Instant::now() + WARY;
                    }
                    self.clock.observe(clock);
                    return Ok((owner, accepted.into_iter().collect(), rows));
                }
                Ok(GroupCommit::OwnerRetired) => {
                    tracing::warn!(
                        outbox.owner = owner.0,
                        "another process took this outbox over; going on with a new one"
                    );
                    self.outbox.tell(OutboxEvent::OwnerGone(owner));
                }
                Err(error) => {
                    tracing::warn!(
                        error = error.to_string(),
                        stamp.count = rows.len(),
                        "stamps were not stored"
                    );
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
