//! Stores what is in a user's topic, at once and whether a listener runs or not.
//!
//! A few threads, each with one consumer (`reader`), do one check after the other: however many users ask, there are
//! no more connections than that. A topic is checked by one of them at a time (`turns`), so that nobody holds more than
//! one. Who hears nothing for too long is sent away.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use domain::message::record::{MessageRecord, Recipients};
use domain::message::topic_of;
use platform::kafka::KafkaSettings;
use rdkafka::error::KafkaResult;
use store::messages::records::store_all;
use store::messages::rows::{self, StoredMessage};
use store::{Database, DatabaseError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::reader::{PATIENCE, TopicReader, Unread, refuses};
use super::turns::Turns;

/// Threads that check: a check takes some ten milliseconds, so this is a few hundred a second; each has a connection to
/// every broker.
const THREADS: usize = 4;
/// How long a check may take that goes on. What it has stored by then is stored; the next check goes on there.
const LIMIT: Duration = Duration::from_secs(10);
/// Checks for which one consumer is used: it keeps every topic in memory that it ever read.
const CHECKS_A_CONSUMER: usize = 1_000;
/// The most that an answer lists, in bytes of the messages' texts: a backlog of any length is stored, and may not fill
/// the memory.
const LISTED_BYTES: usize = 8 * 1024 * 1024;

/// What a check has stored.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many messages of the user the check has stored.
    pub created: usize,
    /// The messages, in the order in which they were stored; of more than 8 MiB only the first ones.
    pub messages: Vec<StoredMessage>,
    listed_bytes: usize,
}

/// A check that was not done, or not to its end. The same request again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// All threads were at work for too long, or the check did not get an answer of Kafka's and of the database's.
    #[error("too many checks at once, or no answer in time")]
    Busy,
    /// Kafka did not do its part.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The database refused, or is away.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database did not answer.
    #[error("the database did not store the messages in time")]
    Unstored,
    /// A mistake of ours.
    #[error("the check ended in a panic")]
    Lost,
}

impl CheckError {
    /// Tells whether trying again is in vain until Kafka's operator acts.
    pub fn takes_an_operator(&self) -> bool {
        matches!(self, Self::Unread(Unread::Kafka(error)) if refuses(error))
    }

    /// Returns the word by which it is counted.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Lost => "failed",
            error if error.takes_an_operator() => "refused",
            Self::Unread(_) | Self::Database(_) | Self::Unstored => "unavailable",
        }
    }
}

/// Checks users' topics. The threads end once the checker is dropped.
pub struct Checker {
    shared: Arc<CheckQueue>,
    shared_topic: Option<String>,
}

/// What the threads and those who ask have in common.
#[derive(Default)]
struct CheckQueue {
    turns: Mutex<Turns<WaitingUser>>,
    asked: Condvar,
    is_over: AtomicBool,
}

/// Somebody who has asked for a check.
struct WaitingUser {
    user: Uuid,
    /// The channel that is told when Kafka and the database have answered; closed when nobody waits any more.
    begun: Option<oneshot::Sender<()>>,
    done: oneshot::Sender<Outcome>,
}

/// What became of a check; those who share a check share its error.
type Outcome = Result<Checked, Arc<CheckError>>;

impl CheckQueue {
    fn turns(&self) -> MutexGuard<'_, Turns<WaitingUser>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next check; `None` at the end.
    fn next(&self) -> Option<(String, Vec<WaitingUser>)> {
        let mut turns = self.turns();
        loop {
            if self.is_over.load(Ordering::Acquire) {
                return None;
            }
            if let Some(next) = turns.begin() {
                return Some(next);
            }
            turns = self.asked.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Whoever looked before waits by now.
        drop(self.shared.turns());
        self.shared.asked.notify_all();
    }
}

impl Checker {
    /// Starts the threads; their clients are made when they are needed. `shared_topic`: that of all users' messages,
    /// if they have one.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(kafka: &KafkaSettings, shared_topic: Option<&str>, database: &Database) -> io::Result<Self> {
        let shared = Arc::<CheckQueue>::default();
        let shared_topic = shared_topic.map(str::to_owned);
        for number in 0..THREADS {
            let worker = Worker {
                kafka: kafka.clone(),
                recipients: if shared_topic.is_some() { Recipients::FromKey } else { Recipients::FromTopic },
                database: database.clone(),
                runtime: Handle::current(),
                reader: None,
            };
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("check-{number}")).spawn(move || worker.run(&shared))?;
        }
        Ok(Self { shared, shared_topic })
    }

    /// Makes a consumer and drops it.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
        TopicReader::new(kafka).map(drop)
    }

    /// Stores everything that is in the user's topic by now. Each message that is stored is told of once: of several
    /// callers of a user who share a check, the first one hears of it.
    ///
    /// # Errors
    /// After 2 s at the latest while Kafka or the database is away, and after 10 s or so if there is too much.
    pub async fn check(&self, user: Uuid) -> Outcome {
        let ((begun, has_begun), (done, outcome)) = (oneshot::channel(), oneshot::channel());
        let caller = WaitingUser { user, begun: Some(begun), done };
        let topic = self.shared_topic.clone().unwrap_or_else(|| topic_of(user));
        if !self.shared.turns().join(&topic, caller) {
            return Err(CheckError::Busy.into());
        }
        self.shared.asked.notify_one();
        let lost = || Arc::new(CheckError::Lost);
        let answered = async {
            // An outcome may come first: an error, or that there is no topic.
            let _outcome_first = has_begun.await;
        };
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_elapsed| CheckError::Busy)?;
        outcome.await.map_err(|_closed| lost())?
    }
}

/// What a thread that checks works with.
struct Worker {
    kafka: KafkaSettings,
    recipients: Recipients,
    database: Database,
    runtime: Handle,
    reader: Option<TopicReader>,
}

impl Worker {
    fn run(mut self, shared: &CheckQueue) {
        while let Some((topic, mut callers)) = shared.next() {
            callers.retain(|caller| !caller.done.is_closed());
            if !callers.is_empty() {
                self.check_for(&topic, callers);
            }
            shared.turns().end(&topic);
            shared.asked.notify_one();
        }
    }

    fn check_for(&mut self, topic: &str, mut callers: Vec<WaitingUser>) {
        let mut found: HashMap<Uuid, Checked> =
            callers.iter().map(|caller| (caller.user, Checked::default())).collect();
        // A panic costs a check and not a thread.
        let check = AssertUnwindSafe(|| self.check(topic, &mut callers, &mut found));
        let outcome = catch_unwind(check).unwrap_or(Err(CheckError::Lost)).map_err(Arc::new);
        // A client that has failed is not asked again, whatever it still has in its queues.
        let failed = matches!(
            outcome.as_ref().map_err(|error| &**error),
            Err(CheckError::Unread(_) | CheckError::Lost)
        );
        if failed || self.reader.as_ref().is_some_and(|reader| reader.readings() >= CHECKS_A_CONSUMER) {
            self.reader = None;
        }
        for WaitingUser { user, done, .. } in callers {
            let checked = outcome.clone().map(|()| found.remove(&user).unwrap_or_default());
            let _nobody_waits = done.send(checked);
        }
    }

    /// Does a check, which has its own time from its beginning on.
    fn check(
        &mut self,
        topic: &str,
        callers: &mut [WaitingUser],
        found: &mut HashMap<Uuid, Checked>,
    ) -> Result<(), CheckError> {
        let started = Instant::now();
        let stored = self.runtime.block_on(async {
            let asking = rows::last_stored(&self.database, topic);
            tokio::time::timeout_at((started + PATIENCE).into(), asking).await
        });
        let stored = stored.map_err(|_elapsed| CheckError::Unstored)??;
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(TopicReader::new(&self.kafka).map_err(Unread::from)?),
        };
        let reading = reader.begin(topic, self.recipients, &stored, started + PATIENCE)?;
        for begun in callers.iter_mut().filter_map(|caller| caller.begun.take()) {
            let _nobody_waits = begun.send(());
        }
        let Some(mut reading) = reading else { return Ok(()) };
        loop {
            let chunk = reading.next_chunk(started + LIMIT)?;
            if chunk.is_empty() {
                return Ok(());
            }
            for message in store(&self.runtime, &self.database, chunk)? {
                if let Some(checked) = found.get_mut(&message.recipient) {
                    checked.add(message);
                }
            }
        }
    }
}

/// Stores a chunk. A write that takes too long is not stopped half way: what it stores is the next check's.
fn store(
    runtime: &Handle,
    database: &Database,
    chunk: Vec<MessageRecord>,
) -> Result<Vec<StoredMessage>, CheckError> {
    let database = database.clone();
    let storing = runtime.spawn(async move { store_all(&database, chunk).await });
    let stored = runtime.block_on(async { tokio::time::timeout(PATIENCE, storing).await });
    Ok(stored.map_err(|_elapsed| CheckError::Unstored)?.map_err(|_panicked| CheckError::Lost)??)
}

impl Checked {
    fn add(&mut self, message: StoredMessage) {
        self.created += 1;
        if self.listed_bytes < LISTED_BYTES {
            self.listed_bytes += message.subject.len() + message.body.len();
            self.messages.push(message);
        }
    }
}
