//! A listener's process: heart, client, commands that the shell has yet to carry out, and statements under way.

use std::collections::VecDeque;

use domain::batch::heart::{Command, Event, Failure, Heart, Screening};

use crate::client::{Client, Evidence};
use crate::database::{Outcome, Statement};
use crate::judge::holdings::Holdings;

/// A statement that was sent.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) statement: Statement,
    /// What the server has said, once it was executed.
    pub(crate) outcome: Option<Outcome>,
}

/// A listener that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) serial: u32,
    pub(crate) heart: Heart<u32>,
    pub(crate) client: Client,
    pub(crate) outbox: VecDeque<(Command<u32>, Evidence)>,
    /// The statements under way: the screening, and what the writer does.
    pub(crate) tasks: [Option<Task>; 2],
    /// What the judge knows of the process.
    pub(crate) holdings: Holdings,
}

impl Task {
    pub(crate) fn new(statement: Statement) -> Self {
        Self { statement, outcome: None }
    }

    /// Returns the stamps that the statement writes.
    pub(crate) fn written(&self) -> Vec<u8> {
        written(&self.statement)
    }

    /// Lets the statement fail, or seem to. Returns what its heart is told, and the statement if the server may have it.
    pub(crate) fn fail(self, failure: Failure) -> (Event<u32>, Option<Statement>) {
        let may_run = matches!(failure, Failure::Slow | Failure::Unanswered) && self.outcome.is_none();
        match self.statement {
            Statement::Screen(screening) => {
                let left = may_run.then(|| Statement::Screen(copy(&screening)));
                (Event::ScreeningFailed(screening, failure), left)
            }
            statement => (Event::Failed(failure), may_run.then_some(statement)),
        }
    }

    /// Returns what the heart is told when the server answers.
    pub(crate) fn answer(self) -> Option<Event<u32>> {
        Some(match self.outcome? {
            Outcome::Done => Event::Done,
            Outcome::Refused => Event::Failed(Failure::Data),
            Outcome::Screened(screened) => Event::Screened(screened),
        })
    }
}

/// Returns the stamps that a statement writes.
pub(crate) fn written(statement: &Statement) -> Vec<u8> {
    let Statement::Write(write) = statement else { return Vec::new() };
    let members = write.batches.iter().flat_map(|batch| &batch.members);
    members.map(|member| crate::database::id_of(&member.stamp)).collect()
}

fn copy(screening: &Screening<u32>) -> Screening<u32> {
    let Screening { ends, stamps, distant, others } = screening;
    Screening { ends: ends.clone(), stamps: stamps.clone(), distant: distant.clone(), others: others.clone() }
}

/// Returns an event in a line that is the same each time.
pub(crate) fn describe(event: &Event<u32>) -> String {
    match event {
        Event::Screened(screened) => {
            let mut processed: Vec<&String> = screened.processed.iter().collect();
            processed.sort();
            let stamps: Vec<&str> =
                screened.stamps.iter().map(|waiting| waiting.stamp.object_cid().as_str()).collect();
            format!("Screened {stamps:?}, processed {processed:?}, finished {:?}", screened.finished)
        }
        event => format!("{event:?}"),
    }
}
