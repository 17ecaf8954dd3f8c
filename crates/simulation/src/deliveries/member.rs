//! A listener, and what it has under way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::batch::heart::Moment;
use domain::delivery::Sink;
use domain::delivery::courier::{Courier, CourierCommand, CourierEvent, Held, Note};

/// Something that takes time: its effect comes first, its answer later.
#[derive(Debug)]
pub(super) enum Task {
    Claim(usize),
    Tell(Vec<Held>),
    Note(Vec<Note>),
    /// What is told to the courier when the time has come.
    Answer(CourierEvent),
}

/// A listener.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) sink: Sink,
    pub(super) courier: Courier,
    started: DateTime<Utc>,
    /// What is under way, by when it happens.
    pub(super) tasks: Vec<(DateTime<Utc>, Task)>,
}

impl Member {
    pub(super) fn new(sink: Sink, seed: u64, now: DateTime<Utc>) -> Self {
        Self { sink, courier: Courier::new(sink, seed), started: now, tasks: Vec::new() }
    }

    fn elapsed(&self, now: DateTime<Utc>) -> Duration {
        (now - self.started).to_std().unwrap_or_default()
    }

    /// Tells the courier what has happened. Returns what it wants done.
    pub(super) fn step(&mut self, now: DateTime<Utc>, event: CourierEvent) -> Vec<CourierCommand> {
        let moment = Moment { time: now, elapsed: self.elapsed(now) };
        self.courier.step(moment, event)
    }

    /// Returns when something happens next.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let wake = self.courier.wake().map(|elapsed| self.started + elapsed);
        self.tasks.iter().map(|(time, _)| *time).chain(wake).min()
    }

    /// Takes out a task whose time has come.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Option<Task> {
        let due = self.tasks.iter().position(|(time, _)| *time <= now)?;
        Some(self.tasks.remove(due).1)
    }

    /// Returns the parts that are in hand, as far as they are being told.
    pub(super) fn in_hand(&self) -> usize {
        let tells = self
            .tasks
            .iter()
            .filter(|(_, task)| matches!(task, Task::Tell(_) | Task::Answer(CourierEvent::Told(_))));
        tells.count()
    }
}
