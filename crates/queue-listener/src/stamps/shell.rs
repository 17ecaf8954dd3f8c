//! Carries out what the heart decides: one task that hands events in and runs what comes out.
//!
//! Nothing in here decides about partitions, offsets, batches or retries; see [`domain::batch::heart`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use domain::batch::assignment::Commit;
use domain::batch::heart::{
    Chunk, Command, Content, Event, Failure, Heart, HeartSettings, Member, Moment, Request, Screening, Step,
    Write,
};
use domain::batch::policy::Trigger;
use domain::batch::promise::is_missed;
use store::clock::{Clock as _, PostgresClock};
use store::stamps::processing::{Processed, Won};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deliveries::handover::Handover;
use crate::metrics::ListenerMetrics;
use crate::stall::InProgress;
use crate::stamps::consumer::clients::OffsetCommitter;
use crate::stamps::control::Control;
use crate::stamps::feed::Feed;
use crate::stamps::poisoned::Poisoned;
use crate::stamps::record::Other;
use crate::stamps::screening::{ScreenedChunk, ScreeningResult, screen};
use crate::stamps::told::{tell_of, traces_of_winners};
use crate::stamps::wake::sleep;
use crate::stamps::writer::{Failed, Writer};

/// What the shell works with.
pub(crate) struct ShellParts {
    pub(crate) settings: HeartSettings,
    pub(crate) clock: Arc<PostgresClock>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) committer: OffsetCommitter,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) feed: Feed,
    pub(crate) handover: Handover,
    pub(crate) fetched: Receiver<Chunk<Other>>,
    pub(crate) control: UnboundedReceiver<Control>,
}

/// Runs until `stop`, then finishes the work that is under way and returns what may be committed last.
///
/// # Errors
/// If the database refuses what no waiting mends, or the poll thread has ended.
pub(crate) async fn run(parts: ShellParts, stop: CancellationToken) -> anyhow::Result<Vec<Commit>> {
    let ShellParts { settings, clock, writer, committer, metrics, feed, handover, mut fetched, mut control } =
        parts;
    let waiting_clock = Arc::clone(&clock);
    let mut shell = Shell {
        heart: Heart::new(settings),
        clock,
        writer,
        committer,
        metrics,
        feed,
        handover,
        poisoned: Poisoned::default(),
        started: Instant::now(),
        screening: Task::default(),
        work: Task::default(),
        replies: HashMap::new(),
        requests: 0,
        refusal: String::new(),
    };
    let mut stopping = false;
    loop {
        let wake = shell.heart.wake();
        let event = tokio::select! {
            biased;
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Event::Stop
            }
            Some(control) = control.recv() => shell.on_control(control),
            done = shell.work.end() => shell.on_work(done?),
            screened = shell.screening.end() => shell.on_screened(screened?),
            chunk = fetched.recv(), if shell.heart.has_room() => {
                shell.on_fetched(chunk.context("the thread that polls Kafka has ended")?)
            }
            () = sleep(wake, shell.started, &*waiting_clock) => Event::Time,
        };
        if let Some(frontiers) = shell.step(event)? {
            tracing::info!(
                stamp.pending = shell.heart.pending(),
                "stopped; what is not due stays for the next listener"
            );
            return Ok(frontiers);
        }
    }
}

/// A task that asks or tells the database something, apart because a transaction must not be dropped half way.
struct Task<T> {
    running: Option<JoinHandle<T>>,
    /// What is under way for the stall, over several attempts.
    under_way: Option<InProgress>,
    /// Why the last attempt has failed.
    failed: Option<Failed>,
}

impl<T> Default for Task<T> {
    fn default() -> Self {
        Self { running: None, under_way: None, failed: None }
    }
}

impl<T> Task<T> {
    /// Ends with the task, never if none is running.
    async fn end(&mut self) -> Result<T, tokio::task::JoinError> {
        match &mut self.running {
            Some(handle) => {
                let result = handle.await;
                self.running = None;
                result
            }
            None => std::future::pending().await,
        }
    }

    /// Keeps an error for the log. Returns what the heart is told of the failure.
    fn fail(&mut self, failed: Failed) -> Failure {
        let failure = failed.failure();
        self.failed = Some(failed);
        failure
    }
}

/// What became of the writer's work, if it did not fail.
enum Done {
    Written { write: Write, processed: Processed, took: Duration },
    Probed,
    Buried,
}

struct Shell {
    heart: Heart<Other>,
    clock: Arc<PostgresClock>,
    writer: Arc<Writer>,
    committer: OffsetCommitter,
    metrics: ListenerMetrics,
    feed: Feed,
    handover: Handover,
    poisoned: Poisoned,
    started: Instant,
    screening: Task<ScreeningResult>,
    work: Task<Result<Done, Failed>>,
    /// Who waits for partitions to be given back, by request.
    replies: HashMap<Request, mpsc::Sender<Vec<Commit>>>,
    requests: u64,
    /// What the database has said of the values that it refuses.
    refusal: String,
}

impl Shell {
    /// Hands an event in and carries out what follows. Returns what may be committed last once everything is finished.
    ///
    /// # Errors
    /// If a step has failed for good.
    fn step(&mut self, event: Event<Other>) -> anyhow::Result<Option<Vec<Commit>>> {
        let now = Moment { time: self.clock.now(), elapsed: self.started.elapsed() };
        for command in self.heart.step(now, event) {
            match command {
                Command::Screen(screening) => self.screen(screening),
                Command::Write(write) => self.write(write),
                Command::Probe(members) => self.probe(members),
                Command::Bury(member) => self.bury(member),
                Command::Commit(commits) => self.committer.commit(&commits),
                Command::Release { request, frontiers } => {
                    // Whoever asked may have stopped waiting.
                    let _late = self.replies.remove(&request).map(|reply| reply.send(frontiers));
                }
                Command::CountDuplicates(count) => self.count("duplicate", count),
                Command::Retry { step, after } => {
                    if let Some(failed) = self.failed(step) {
                        failed.tell_of_another(after);
                    }
                }
                Command::Fail(step) => {
                    let failed = self.failed(step).context("a step failed for no known reason")?;
                    return Err(failed.into());
                }
                Command::Finish { frontiers } => return Ok(Some(frontiers)),
            }
        }
        self.show();
        Ok(None)
    }

    fn failed(&mut self, step: Step) -> Option<Failed> {
        match step {
            Step::Screening => self.screening.failed.take(),
            Step::Writing | Step::Burying => self.work.failed.take(),
        }
    }

    fn on_control(&mut self, control: Control) -> Event<Other> {
        match control {
            Control::Assigned(assignments) => Event::Assigned(assignments),
            Control::Known(known) => Event::Known(known),
            Control::Revoked { assignments, lost, reply } => {
                self.requests += 1;
                let request = Request(self.requests);
                self.replies.extend(reply.map(|reply| (request, reply)));
                for assignment in &assignments {
                    self.poisoned.forget(*assignment);
                }
                Event::Revoked { request, assignments, lost }
            }
        }
    }

    fn on_fetched(&mut self, chunk: Chunk<Other>) -> Event<Other> {
        if !chunk.records.is_empty() {
            self.feed.came();
        }
        for record in &chunk.records {
            match record.content {
                Content::Stamp(_) => self.poisoned.note(record.assignment, false),
                Content::Other(Other::Dead(_)) => self.poisoned.note(record.assignment, true),
                // No news: whoever replays them knows about them.
                Content::Other(Other::ReplayedStamp(_)) => {}
            }
        }
        Event::Fetched(chunk)
    }

    fn screen(&mut self, screening: Screening<Other>) {
        let writer = Arc::clone(&self.writer);
        self.screening.under_way.get_or_insert_with(|| self.metrics.stall.begin());
        self.screening.running = Some(tokio::spawn(async move { screen(&writer, screening).await }));
    }

    fn on_screened(&mut self, result: ScreeningResult) -> Event<Other> {
        match result {
            Ok(ScreenedChunk { screened, dead }) => {
                self.screening.under_way = None;
                self.count("dead", dead);
                Event::Screened(screened)
            }
            Err((screening, failed)) => Event::ScreeningFailed(screening, self.screening.fail(failed)),
        }
    }

    fn write(&mut self, write: Write) {
        let writer = Arc::clone(&self.writer);
        self.begin(async move {
            let started = Instant::now();
            let processed = writer.write(&write).await?;
            Ok(Done::Written { write, processed, took: started.elapsed() })
        });
    }

    fn probe(&mut self, members: Vec<Member>) {
        let writer = Arc::clone(&self.writer);
        self.begin(async move { writer.probe(&members).await.map(|()| Done::Probed) });
    }

    fn bury(&mut self, member: Member) {
        let (writer, refusal) = (Arc::clone(&self.writer), self.refusal.clone());
        self.begin(async move { writer.bury_refused(&member, &refusal).await.map(|()| Done::Buried) });
    }

    fn begin(&mut self, work: impl Future<Output = Result<Done, Failed>> + Send + 'static) {
        self.work.under_way.get_or_insert_with(|| self.metrics.stall.begin());
        self.work.running = Some(tokio::spawn(work));
    }

    fn on_work(&mut self, result: Result<Done, Failed>) -> Event<Other> {
        match result {
            Ok(done) => {
                match done {
                    Done::Written { write, processed, took } => self.measure(&write, &processed, took),
                    Done::Probed => {}
                    Done::Buried => self.count("dead", 1),
                }
                self.work.under_way = None;
                Event::Done
            }
            Err(failed) => {
                if failed.failure() == Failure::Data {
                    self.refusal = failed.reason();
                    self.work.under_way = None;
                }
                Event::Failed(self.work.fail(failed))
            }
        }
    }

    fn count(&self, result: &str, count: usize) {
        self.metrics.messages.with_label_values(&[result]).inc_by(count as u64);
    }

    fn measure(&self, write: &Write, processed: &Processed, took: Duration) {
        self.metrics.commit_duration.observe(took.as_secs_f64());
        if let Some(sample) = processed.clock {
            self.clock.observe(sample);
        }
        let members =
            write.batches.iter().flat_map(|batch| batch.members.iter().map(|member| (batch.trigger, member)));
        for ((trigger, member), won) in members.zip(&processed.won) {
            let Some(Won { processed_at, .. }) = *won else { continue };
            let due = member.stamp.due();
            if !member.sent_late && is_missed(due, processed_at) {
                self.metrics.missed.inc();
            }
            if trigger == Trigger::Deadline {
                let late = (processed_at - due).num_microseconds().unwrap_or(i64::MAX);
                self.metrics.lateness.observe(late as f64 / 1e6);
            }
        }
        let won = processed.won.iter().flatten().count();
        self.count("processed", won);
        self.count("duplicate", processed.won.len() - won);
        let members = write.batches.iter().flat_map(|batch| &batch.members);
        self.handover.made(&processed.batches, members);
        let traces = traces_of_winners(write, processed);
        for batch in &processed.batches {
            self.metrics.batches.with_label_values(&[batch.trigger.as_str()]).inc();
            self.metrics.batch_size.observe(batch.size as f64);
            let traces = traces.get(&batch.id).map_or(&[][..], Vec::as_slice);
            tell_of(batch, &self.writer.maker.topic, traces, took);
        }
        let (batches, took_ms) = (processed.batches.len(), took.as_millis() as u64);
        tracing::info!(stamp.count = won, batch.count = batches, batch.took_ms = took_ms, "processed");
    }

    fn show(&mut self) {
        // After a failure nothing may be left that has to be written.
        if self.work.running.is_none() && self.heart.wake().elapsed.is_none() {
            self.work.under_way = None;
        }
        self.feed.is_full(self.heart.is_full());
        self.metrics.pending.set(self.heart.pending() as i64);
        let due = self.heart.next_due();
        let left = due.map_or(0, |due| (due - self.clock.now()).num_milliseconds());
        self.metrics.next_due.set(left as f64 / 1e3);
        self.metrics.poisoned.set(self.poisoned.raised() as i64);
    }
}
