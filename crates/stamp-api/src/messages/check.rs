//! Stores what is in a user's topic, at once and whether a listener runs or not.
//!
//! A few threads, each with one consumer (`reader`), do one check after the other: however many users ask, there are
//! no more connections than that. Who has to wait for a thread for too long is sent away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Threads that check: a check takes some ten milliseconds, so this is a few hundred a second; each has a connection to
/// every broker.
const THREADS: usize = 4;
/// Checks that may wait for a thread: what the threads do in a second, and no more.
const QUEUE: usize = 64;
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
    /// All threads were at work for too long.
    #[error("too many checks at once")]
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
}

/// Checks users' topics. The threads end once the checker is dropped.
pub struct Checker {
    jobs: SyncSender<Job>,
}

struct Job {
    user: Uuid,
    asked: Instant,
    /// The channel that is told when a thread takes the job; closed when nobody waits for the job any more.
    begun: oneshot::Sender<()>,
    done: oneshot::Sender<Result<Checked, CheckError>>,
}

impl Checker {
    /// Starts the threads; their clients are made when they are needed. `shared_topic`: that of all users' messages,
    /// if they have one.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(kafka: &KafkaSettings, shared_topic: Option<&str>, database: &Database) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let worker = Worker {
                kafka: kafka.clone(),
                shared_topic: shared_topic.map(str::to_owned),
                database: database.clone(),
                runtime: Handle::current(),
                reader: None,
            };
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("check-{number}")).spawn(move || worker.run(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Makes a consumer and drops it.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
        TopicReader::new(kafka).map(drop)
    }

    /// Stores everything that is in the user's topic by now.
    ///
    /// # Errors
    /// After 2 s at the latest while Kafka or the database is away, and after 10 s or so if there is too much.
    pub async fn check(&self, user: Uuid) -> Result<Checked, CheckError> {
        let ((begun, has_begun), (done, outcome)) = (oneshot::channel(), oneshot::channel());
        let job = Job { user, asked: Instant::now(), begun, done };
        self.jobs.try_send(job).map_err(|_full| CheckError::Busy)?;
        let has_begun = tokio::time::timeout(PATIENCE, has_begun).await;
        has_begun.map_err(|_elapsed| CheckError::Busy)?.map_err(|_closed| CheckError::Lost)?;
        outcome.await.map_err(|_closed| CheckError::Lost)?
    }
}

/// What a thread that checks works with.
struct Worker {
    kafka: KafkaSettings,
    shared_topic: Option<String>,
    database: Database,
    runtime: Handle,
    reader: Option<TopicReader>,
}

impl Worker {
    fn run(mut self, queue: &Mutex<Receiver<Job>>) {
        loop {
            // Whoever waits for a job holds the lock; the others wait for that.
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { user, asked, begun, done }) = job else { return };
            if begun.send(()).is_err() {
                continue;
            }
            // A panic costs a check and not a thread.
            let check = AssertUnwindSafe(|| self.check(user, asked));
            let outcome = catch_unwind(check).unwrap_or(Err(CheckError::Lost));
            // A client that has failed once is not asked again, whatever it still has in its queues.
            let spent = outcome.is_err()
                || self.reader.as_ref().is_some_and(|reader| reader.readings() >= CHECKS_A_CONSUMER);
            let _nobody_waits = done.send(outcome);
            if spent {
                self.reader = None;
            }
        }
    }

    fn check(&mut self, user: Uuid, asked: Instant) -> Result<Checked, CheckError> {
        let (topic, recipients) = match &self.shared_topic {
            Some(topic) => (topic.clone(), Recipients::FromKey),
            None => (topic_of(user), Recipients::FromTopic),
        };
        let stored = self.runtime.block_on(async {
            let asking = rows::last_stored(&self.database, &topic);
            tokio::time::timeout_at((asked + PATIENCE).into(), asking).await
        });
        let stored = stored.map_err(|_elapsed| CheckError::Unstored)??;
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(TopicReader::new(&self.kafka).map_err(Unread::from)?),
        };
        let mut checked = Checked::default();
        let Some(mut reading) = reader.begin(&topic, recipients, &stored, asked + PATIENCE)? else {
            return Ok(checked);
        };
        loop {
            let chunk = reading.next_chunk(asked + LIMIT)?;
            if chunk.is_empty() {
                return Ok(checked);
            }
            checked.add(user, store(&self.runtime, &self.database, chunk)?);
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
    fn add(&mut self, user: Uuid, stored: Vec<StoredMessage>) {
        for message in stored.into_iter().filter(|message| message.recipient == user) {
            self.created += 1;
            if self.listed_bytes < LISTED_BYTES {
                self.listed_bytes += message.subject.len() + message.body.len();
                self.messages.push(message);
            }
        }
    }
}
