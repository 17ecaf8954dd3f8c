//! A listener's process: heart, client, commands that the shell has yet to carry out, and statements under way.

use std::collections::VecDeque;

use domain::batch::heart::{Command, Event, Failure, Heart, Screening};
use domain::batch::net::{Net, NetCommand, NetEvent};

use crate::client::{Client, Evidence};
use crate::database::{Outcome, Statement};
use crate::judge::holdings::Holdings;
use crate::judge::net::NetWatch;

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
    /// The table's net, unless the process is of a release without one, or is told to end.
    pub(crate) net: Option<Net>,
    /// Whether the process is of a release that had no net.
    pub(crate) is_old: bool,
    /// How many statements of the net are executed and answered at once.
    pub(crate) served: i64,
    /// When the heart was given records last.
    pub(crate) fed_at: Option<i64>,
    /// The statements under way: the screening, what the writer does, and what the net does.
    pub(crate) tasks: [Option<Task>; 3],
    /// What the judge knows of the process.
    pub(crate) holdings: Holdings,
    /// What the judge knows of its net.
    pub(crate) watch: NetWatch,
}

impl Process {
    /// Returns the rows that the net takes at the moment.
    pub(crate) fn takes(&self) -> &[i64] {
        match &self.tasks[2] {
            Some(Task { statement: Statement::Net(NetCommand::Take(rows)), .. }) => rows,
            _ => &[],
        }
    }

    /// Tells whether the net looks at the moment.
    pub(crate) fn looks(&self) -> bool {
        let task = self.tasks[2].as_ref();
        task.is_some_and(|task| matches!(task.statement, Statement::Net(NetCommand::Look)))
    }

    /// Returns the stamps that the writer writes at the moment.
    pub(crate) fn writes(&self) -> Vec<u8> {
        self.tasks[1].as_ref().map(Task::written).unwrap_or_default()
    }
}

impl Task {
    pub(crate) fn new(statement: Statement) -> Self {
        Self { statement, outcome: None }
    }

    /// Returns the stamps that the statement writes.
    pub(crate) fn written(&self) -> Vec<u8> {
        written(&self.statement)
    }

    /// Tells whether the statement changes anything.
    pub(crate) fn matters(&self) -> bool {
        !matches!(self.statement, Statement::Net(NetCommand::Look))
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
            Outcome::Seen(_) | Outcome::NotOurTurn => return None,
        })
    }

    /// Returns what the net is told when the server answers.
    pub(crate) fn net_answer(self) -> Option<NetEvent> {
        Some(match self.outcome? {
            Outcome::Done => NetEvent::Done,
            Outcome::Refused => NetEvent::Failed(Failure::Data),
            Outcome::Seen(seen) => NetEvent::Seen(seen),
            Outcome::NotOurTurn => NetEvent::NotOurTurn,
            Outcome::Screened(_) => return None,
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
            let stamps: Vec<&str> =
                screened.stamps.iter().map(|waiting| waiting.stamp.object_cid().as_str()).collect();
            format!("Screened {stamps:?}, repeats {:?}, finished {:?}", screened.repeats, screened.finished)
        }
        event => format!("{event:?}"),
    }
}
