//! What waits, when it leaves, and what may be committed: one task that owns all of a listener's state.
//!
//! Records come in chunks. A chunk is *screened* first: its dead letters are stored, and those of its stamps
//! that are processed already are found, so that a redelivered event neither runs again nor counts towards
//! `min_batch_size`. The rest is admitted to the pending set. Whenever the writer is free, the batching rule
//! says what leaves; all batches that are ready go into one transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use domain::batch::Position;
use domain::batch::ledger::OffsetLedgers;
use domain::batch::pending::{Admission, Message, PendingSet, Ticket};
use domain::batch::policy::{BatchLimits, Decision, Trigger, decide};
use platform::clock::{Clock, PostgresClock};
use platform::postgres::processing::{MadeBatch, Member};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alarm::Alarm;
use crate::consumer::{Consumer, Control, Fetched, Frontiers};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::screening::{Chunk, Screened};
use crate::writer::{Unwritable, Writer, Written};

/// Stamps in one transaction, unless a single batch is larger.
const TRANSACTION: usize = 10_000;
/// How long, after partitions were assigned, what is not a full batch waits for the rest of their backlog.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(1);

/// What the pipeline works with.
pub(crate) struct Parts {
    pub(crate) limits: BatchLimits,
    pub(crate) clock: Arc<PostgresClock>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) metrics: Metrics,
    pub(crate) fetched: Receiver<Fetched>,
    pub(crate) control: UnboundedReceiver<Control>,
}

/// Runs until `stop`, then finishes the write that is under way and returns what may be committed last.
///
/// # Errors
/// If the database refuses what no waiting mends, or the poll thread has ended.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> anyhow::Result<Frontiers> {
    let Parts { limits, clock, writer, consumer, metrics, mut fetched, mut control } = parts;
    let alarm = Arc::clone(&clock);
    let mut pipeline = Pipeline {
        limits,
        clock,
        writer,
        consumer,
        metrics,
        alarm: Alarm::default(),
        pending: PendingSet::default(),
        ledgers: OffsetLedgers::default(),
        backlog: Backlog::default(),
        screening: None,
        writing: None,
        revocations: Vec::new(),
        committed: HashMap::new(),
    };
    loop {
        let wake = pipeline.dispatch();
        pipeline.show();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(control) = control.recv() => pipeline.on_control(control),
            written = end_of(&mut pipeline.writing) => pipeline.on_written(written??),
            screened = end_of(&mut pipeline.screening) => pipeline.on_screened(screened??),
            chunk = fetched.recv(), if pipeline.has_room() => {
                pipeline.on_fetched(chunk.context("the thread that polls Kafka has ended")?);
            }
            () = sleep(wake, &*alarm) => {}
        }
    }
    if pipeline.writing.is_some() {
        let written = end_of(&mut pipeline.writing).await??;
        pipeline.on_written(written);
    }
    tracing::info!(pending = pipeline.pending.len(), "stopped; what is not due stays for the next listener");
    Ok(pipeline.ledgers.frontiers().collect())
}

/// Ends with the task, never if there is none.
async fn end_of<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(handle) => {
            let result = handle.await;
            *task = None;
            result
        }
        None => std::future::pending().await,
    }
}

/// When the pipeline looks again by itself.
#[derive(Debug, Clone, Copy)]
enum Wake {
    /// The next stamp falls due.
    Due(DateTime<Utc>),
    /// The backlog has been waited for long enough.
    Backlog(Instant),
    /// Only something that happens can change what to do.
    Never,
}

async fn sleep(wake: Wake, clock: &dyn Clock) {
    match wake {
        Wake::Due(due) => clock.sleep_until(due).await,
        Wake::Backlog(until) => tokio::time::sleep_until(until).await,
        Wake::Never => std::future::pending().await,
    }
}

/// Batches that were written.
struct Finished {
    tickets: Vec<Ticket>,
    triggers: Vec<Trigger>,
    members: Vec<Member>,
    written: Written,
    took: Duration,
}

/// Partitions that are to be given back once the write under way has ended.
struct Revocation {
    partitions: Vec<i32>,
    reply: mpsc::Sender<Frontiers>,
}

/// The partitions that are being read for the first time since they were assigned.
#[derive(Default)]
struct Backlog {
    partitions: HashMap<i32, u32>,
    until: Option<Instant>,
}

impl Backlog {
    fn begin(&mut self, assigned: &[(i32, u32)]) {
        self.partitions.extend(assigned.iter().copied());
        self.until = Some(Instant::now() + BACKLOG_PATIENCE);
    }

    fn read(&mut self, partition: i32, assignment: u32) {
        if self.partitions.get(&partition) == Some(&assignment) {
            self.partitions.remove(&partition);
        }
    }

    /// Until when it is worth waiting for, if it is.
    fn waited_for_until(&self) -> Option<Instant> {
        self.until.filter(|until| !self.partitions.is_empty() && *until > Instant::now())
    }
}

struct Pipeline {
    limits: BatchLimits,
    clock: Arc<PostgresClock>,
    writer: Arc<Writer>,
    consumer: Arc<Consumer>,
    metrics: Metrics,
    alarm: Alarm,
    pending: PendingSet,
    ledgers: OffsetLedgers,
    backlog: Backlog,
    screening: Option<JoinHandle<Result<Screened, Unwritable>>>,
    writing: Option<JoinHandle<Result<Finished, Unwritable>>>,
    revocations: Vec<Revocation>,
    /// The last offset of each partition that the client knows to be committed, or was told to commit since.
    committed: HashMap<i32, i64>,
}

impl Pipeline {
    /// Tells whether another chunk may come in: one is screened at a time, and what is ready to leave but does
    /// not get away is bounded.
    fn has_room(&self) -> bool {
        self.screening.is_none() && self.pending.len() < self.limits.min().max(2 * TRANSACTION)
    }

    /// Lets everything leave that the rule lets leave, if the writer is free. Returns when to look again.
    fn dispatch(&mut self) -> Wake {
        if self.writing.is_some() {
            return Wake::Never;
        }
        let backlog = self.backlog.waited_for_until();
        let now = self.clock.now();
        let (mut tickets, mut members, mut triggers) = (Vec::new(), Vec::new(), Vec::new());
        let mut wake = Wake::Never;
        while members.len() < TRANSACTION {
            let waiting = self.pending.waiting(now, self.limits.min(), backlog.is_some());
            match decide(self.limits, waiting) {
                Decision::Process { trigger, size } => {
                    let batch = self.pending.take(size, now);
                    members.extend(batch.iter().map(|ticket| self.member(*ticket, triggers.len())));
                    tickets.extend(batch);
                    triggers.push(trigger);
                }
                Decision::WaitUntil(due) => {
                    wake = Wake::Due(due);
                    break;
                }
                Decision::WaitForArrival => {
                    wake = backlog.map_or(Wake::Never, Wake::Backlog);
                    break;
                }
            }
        }
        if members.is_empty() {
            return wake;
        }
        self.write(tickets, members, triggers);
        Wake::Never
    }

    fn member(&self, ticket: Ticket, batch: usize) -> Member {
        let Message { stamp, position } = self.pending.get(ticket);
        Member { stamp, partition: position.partition, offset: position.offset, batch }
    }

    /// Writes in a task of its own: a transaction must not be dropped half way.
    fn write(&mut self, tickets: Vec<Ticket>, members: Vec<Member>, triggers: Vec<Trigger>) {
        let (writer, stall) = (Arc::clone(&self.writer), self.metrics.stall.clone());
        self.writing = Some(tokio::spawn(async move {
            let started = Instant::now();
            let written = stall.during(writer.process(&members, &triggers)).await?;
            Ok(Finished { tickets, triggers, members, written, took: started.elapsed() })
        }));
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Assigned(assigned) => {
                self.backlog.begin(&assigned);
                for (partition, assignment) in assigned {
                    self.ledgers.begin(partition, assignment);
                    self.committed.remove(&partition);
                }
            }
            Control::Revoked { partitions, lost, reply } => {
                for partition in &partitions {
                    self.backlog.partitions.remove(partition);
                    self.ledgers.seal(*partition);
                    self.pending.drop_partition(*partition);
                    self.alarm.forget(*partition);
                }
                let revocation = Revocation { partitions, reply };
                if lost || self.writing.is_none() {
                    self.give_back(revocation);
                } else {
                    self.revocations.push(revocation);
                }
            }
            Control::Committed(known) => {
                self.committed = known.into_iter().collect();
                self.commit();
            }
        }
    }

    /// Ends the partitions' assignments and tells what may be committed for them.
    fn give_back(&mut self, revocation: Revocation) {
        let Revocation { partitions, reply } = revocation;
        let frontiers = partitions
            .iter()
            .filter_map(|partition| Some((*partition, self.ledgers.end(*partition)?)))
            .collect();
        // Whoever asked may have stopped waiting.
        let _late = reply.send(frontiers);
    }

    fn on_fetched(&mut self, fetched: Fetched) {
        let mut chunk = Chunk { ends: fetched.ends, ..Chunk::default() };
        for record in fetched.records {
            match record {
                Record::Stamp(message) if self.ledgers.receive(message.position) => {
                    self.alarm.note(message.position.partition, false);
                    if self.pending.contains(message.stamp.object_cid()) {
                        self.admit(message);
                    } else {
                        chunk.stamps.push(message);
                    }
                }
                Record::Dead(position, letter) if self.ledgers.receive(position) => {
                    self.alarm.note(position.partition, true);
                    chunk.letters.push(*letter);
                    chunk.buried.push(position);
                }
                // No news for the alarm: whoever replays them knows about them.
                Record::Replay(replay) if self.ledgers.receive(replay.position) => {
                    chunk.replays.push(*replay);
                }
                Record::Stamp(_) | Record::Dead(..) | Record::Replay(_) => {}
            }
        }
        let writer = Arc::clone(&self.writer);
        let stall = self.metrics.stall.clone();
        self.screening = Some(tokio::spawn(async move { stall.during(chunk.screen(&writer)).await }));
    }

    fn on_screened(&mut self, screened: Screened) {
        let Screened { ends, stamps, processed, buried } = screened;
        self.metrics.messages.with_label_values(&["dead"]).inc_by(buried.len() as u64);
        for position in buried {
            self.ledgers.complete(position);
        }
        for message in stamps {
            if !self.ledgers.is_current(message.position) {
                continue;
            }
            if processed.contains(message.stamp.object_cid().as_str()) {
                self.count_duplicate(message.position);
            } else {
                self.admit(message);
            }
        }
        // Only now is what stands before the end in the pending set.
        for (partition, assignment) in ends {
            self.backlog.read(partition, assignment);
        }
        self.commit();
    }

    fn admit(&mut self, message: Message) {
        let (position, ledgers) = (message.position, &self.ledgers);
        match self.pending.insert(message, |known| ledgers.is_current(known)) {
            Admission::Admitted | Admission::Rehomed => {}
            Admission::Duplicate => self.count_duplicate(position),
        }
    }

    fn count_duplicate(&mut self, position: Position) {
        self.metrics.messages.with_label_values(&["duplicate"]).inc();
        self.ledgers.complete(position);
    }

    fn on_written(&mut self, finished: Finished) {
        self.measure(&finished);
        for ticket in finished.tickets {
            let position = self.pending.finish(ticket);
            self.ledgers.complete(position);
        }
        for revocation in std::mem::take(&mut self.revocations) {
            self.give_back(revocation);
        }
        self.commit();
    }

    fn measure(&self, finished: &Finished) {
        let Finished { triggers, members, written: Written { processed, refused }, took, .. } = finished;
        self.metrics.commit_duration.observe(took.as_secs_f64());
        if let Some((sent, processed_at, received)) = processed.clock {
            self.clock.observe(sent, processed_at, received);
        }
        for (member, processed_at) in members.iter().zip(&processed.won) {
            let is_late = triggers[member.batch] == Trigger::Deadline;
            if let Some(processed_at) = processed_at.filter(|_| is_late) {
                let late = (processed_at - member.stamp.due()).num_microseconds().unwrap_or(i64::MAX);
                self.metrics.lateness.observe(late as f64 / 1e6);
            }
        }
        let won = processed.won.iter().flatten().count();
        self.metrics.messages.with_label_values(&["processed"]).inc_by(won as u64);
        self.metrics
            .messages
            .with_label_values(&["duplicate"])
            .inc_by((members.len() - won - refused) as u64);
        self.metrics.messages.with_label_values(&["dead"]).inc_by(*refused as u64);
        for &MadeBatch { id, trigger, size } in &processed.batches {
            let trigger = trigger.as_str();
            self.metrics.batches.with_label_values(&[trigger]).inc();
            self.metrics.batch_size.observe(size as f64);
            tracing::debug!(batch.id = id, batch.size = size, trigger, "batch committed");
        }
        tracing::info!(
            stamps = won,
            batches = processed.batches.len(),
            took_ms = took.as_millis() as u64,
            "processed"
        );
    }

    /// Commits what has moved.
    fn commit(&mut self) {
        let moved: Frontiers = self
            .ledgers
            .frontiers()
            .filter(|(partition, frontier)| {
                // Lower too: a topic that was made again begins anew.
                self.committed.get(partition) != Some(frontier)
            })
            .collect();
        if !moved.is_empty() {
            self.consumer.commit(&moved);
            self.committed.extend(moved);
        }
    }

    fn show(&self) {
        self.metrics.pending.set(self.pending.len() as i64);
        let left = self.pending.next_due().map_or(0, |due| (due - self.clock.now()).num_milliseconds());
        self.metrics.next_due.set(left as f64 / 1e3);
        self.metrics.poisoned.set(self.alarm.raised() as i64);
    }
}
