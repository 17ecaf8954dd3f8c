//! Everything together, moved on by one choice at a time.

mod choices;
mod faults;
mod leaving;
mod rest;

use std::collections::{BTreeSet, VecDeque};

use domain::outbox::{OutboxCommand, OutboxEvent, OwnerId};

use super::history::{History, Kind};
use super::judge::Judge;
use super::kafka::Kafka;
use super::process::{LANES, LIMITS, Process};
use super::store::{Asker, Done, Payload, SILENCE, Sql, Store};

/// Processes at the same time.
const PROCESSES: usize = 2;
/// Ticks in which a statement is carried out and answered while nothing is slow.
const PROMPT: u64 = 1;
/// Ticks in which everything comes to rest once all faults end: silences, refusals' longest wait, and their sums.
const REST: u64 = 200;

/// Rounds of questions and answers in one tick, far more than there are events to be read.
const MOVES: u64 = 1_000;

/// A statement that is not committed.
#[derive(Debug)]
struct Statement {
    asker: Asker,
    lane: Option<usize>,
    sql: Sql,
    begun: bool,
    /// Whether nobody waits for the answer any more.
    is_orphan: bool,
    /// The owners that the process knew to be its own when it asked.
    own: BTreeSet<OwnerId>,
    since: u64,
}

/// An answer on its way back.
#[derive(Debug)]
struct Answer {
    process: u32,
    lane: Option<usize>,
    event: OutboxEvent<Payload>,
    /// What is heard instead where the answer is lost.
    otherwise: Option<OutboxEvent<Payload>>,
    since: u64,
}

/// One thing that can happen next in a world.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tick,
    Submit { process: usize, lane: usize, repeats: bool },
    Execute(usize),
    Answer(usize),
    Produce { process: usize, alone: bool },
    Acknowledge(usize),
    LoseAnswer(usize),
    LoseStatement(usize),
    StopWaiting(usize),
    GoAway,
    ComeBack,
    Refuse,
    TakeAgain,
    RefuseAll,
    TakeAll,
    Crash(usize),
    Stop(usize),
    End(usize),
    Stall(usize),
    GoOn(usize),
    FailProducer(usize),
    Start,
    LeaveByKafka,
    BeginTake,
    CommitTake,
    LoseTake,
}

/// Processes, a database and a Kafka, with what is on its way between them.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) kafka: Kafka,
    pub(crate) judge: Judge,
    processes: Vec<Process>,
    statements: Vec<Statement>,
    answers: VecDeque<Answer>,
    kinds: Vec<Kind>,
    seed: u64,
    now: u64,
    last_process: u32,
    last_payload: Payload,
    culprits: usize,
    /// Whether Kafka refuses everything at times.
    refuses_all: bool,
    trace: Vec<String>,
}

impl World {
    /// Runs a history to its end, lets all faults end, and waits until everything is at rest.
    pub(crate) fn run(history: &History) -> Result<Self, String> {
        let mut world = Self::new(history);
        world.live(history).map(|()| world)
    }

    /// Runs a history as [`run`](Self::run) does, and also returns what happened.
    pub(crate) fn traced(history: &History) -> (Vec<String>, Result<(), String>) {
        let mut world = Self::new(history);
        let result = world.live(history);
        (world.trace, result)
    }

    fn new(history: &History) -> Self {
        let mut world = Self {
            store: Store::default(),
            kafka: Kafka::default(),
            judge: Judge::default(),
            processes: Vec::new(),
            statements: Vec::new(),
            answers: VecDeque::new(),
            kinds: history.kinds.clone(),
            seed: history.seed,
            now: 0,
            last_process: 0,
            last_payload: 0,
            culprits: 0,
            refuses_all: history.kinds.contains(&Kind::RefusalOfAll),
            trace: Vec::new(),
        };
        for _ in 0..PROCESSES {
            world.start();
        }
        world
    }

    fn live(&mut self, history: &History) -> Result<(), String> {
        for choice in &history.choices {
            let steps = self.possible();
            // Usual things are usual: a fault is one step in eight.
            let (usual, faults) = steps;
            let among = if choice % 8 == 0 && !faults.is_empty() { faults } else { usual };
            let Some(step) = among.get((choice / 8) as usize % among.len().max(1)) else { continue };
            self.step(*step, choice >> 32)?;
        }
        self.come_to_rest()
    }

    fn start(&mut self) {
        self.last_process += 1;
        // Of two that follow each other one is old.
        let is_old = self.has(Kind::Old) && (self.seed + u64::from(self.last_process)).is_multiple_of(2);
        self.processes.push(Process::new(Asker { process: self.last_process, is_old }));
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    fn step(&mut self, step: Step, extra: u64) -> Result<(), String> {
        self.trace.push(format!("{step:?}"));
        match step {
            Step::Tick => self.tick(),
            Step::Submit { process, lane, repeats } => self.submit(process, lane, repeats, extra),
            Step::Execute(index) => self.execute(index)?,
            Step::Answer(index) => self.answer(index),
            Step::Produce { process, alone } => self.produce(process, alone, extra),
            Step::Acknowledge(process) => {
                if let Some(event) = self.processes[process].acknowledged.pop_front() {
                    self.tell(process, event);
                }
            }
            Step::LoseAnswer(index) => self.lose_answer(index),
            Step::LoseStatement(index) => self.lose_statement(index),
            Step::StopWaiting(index) => self.stop_waiting(index),
            Step::GoAway => self.kafka.is_away = true,
            Step::ComeBack => self.kafka.is_away = false,
            Step::Refuse => {
                self.culprits += 1;
                self.kafka.refused = Some(self.last_payload + 1 + (extra % 3) as Payload);
            }
            Step::TakeAgain => self.kafka.refused = None,
            Step::RefuseAll => self.kafka.refuses_all = true,
            Step::TakeAll => self.kafka.refuses_all = false,
            Step::Crash(process) => self.crash(process),
            Step::Stop(process) => self.stop(process),
            Step::End(process) => self.end(process),
            Step::Stall(process) => self.processes[process].is_stalled = true,
            Step::GoOn(process) => self.processes[process].is_stalled = false,
            Step::FailProducer(process) => self.fail_producer(process, extra),
            Step::Start => self.start(),
            Step::LeaveByKafka => self.leave_by_kafka(extra),
            Step::BeginTake => self.begin_take(extra),
            Step::CommitTake => self.commit_take(),
            Step::LoseTake => self.lose_take(),
        }
        if self.processes.iter().any(|process| process.owners.refused() >= LIMITS.refused) {
            self.judge.meetings.met("so many refused that nothing further is handed out");
        }
        // Each may hold an owner.
        let culprits = self.culprits + if self.refuses_all { LIMITS.events } else { 0 };
        self.judge.look(&self.store, &self.kafka, &self.processes, culprits)
    }

    fn tick(&mut self) {
        self.now += 1;
        for process in 0..self.processes.len() {
            if !self.processes[process].is_stalled {
                self.tell(process, OutboxEvent::Beat);
            }
        }
    }

    fn tell(&mut self, process: usize, event: OutboxEvent<Payload>) {
        let stored = if let OutboxEvent::Stored { rows, .. } = &event { rows.len() } else { 0 };
        let before = self.processes[process].together.len();
        let commands = self.processes[process].tell(event);
        if self.processes[process].together.len() - before < stored {
            self.judge.meetings.met("a group for which there is no room");
        }
        for command in commands {
            self.trace.push(format!("  {command:?}"));
            self.ask(process, &command);
        }
    }

    fn ask(&mut self, process: usize, command: &OutboxCommand<Payload>) {
        if matches!(command, OutboxCommand::Retire(_)) {
            self.judge.meetings.met("an owner replaced by another");
        }
        if let Some(sql) = Sql::of(command) {
            self.send(process, None, sql);
        }
    }

    fn submit(&mut self, process: usize, lane: usize, repeats: bool, extra: u64) {
        let count = 1 + (extra % 3) as usize;
        let Some((owner, first)) = self.processes[process].owners.number(lane, count) else { return };
        let rows: Vec<(i64, Payload)> = (0..count)
            .map(|index| {
                self.last_payload += 1;
                (first + index as i64, self.last_payload)
            })
            .collect();
        let taken = if repeats { vec![first + (extra / 3 % count as u64) as i64] } else { Vec::new() };
        self.processes[process].storing[lane] = true;
        let sql = Sql::Store { owner, rows, taken };
        self.send(process, Some(lane), sql);
    }

    fn send(&mut self, process: usize, lane: Option<usize>, sql: Sql) {
        let (asker, own) = (self.processes[process].asker, self.processes[process].own.clone());
        let since = self.now;
        self.statements.push(Statement { asker, lane, sql, begun: false, is_orphan: false, own, since });
    }

    fn execute(&mut self, index: usize) -> Result<(), String> {
        let statement = &self.statements[index];
        let (asker, lane, sql) = (statement.asker, statement.lane, statement.sql.clone());
        let process = asker.process;
        self.notice(process, &sql);
        self.notice_left(asker, &sql);
        let before = self.store.owners.clone();
        let statement = &self.statements[index];
        let done = self.store.execute(&sql, statement.begun, asker, self.now);
        if let Done::Committed(OutboxEvent::SilentFound { owner, .. }) = &done {
            let row = before.get(owner);
            if statement.own.contains(owner) && row.is_some_and(|row| !row.retired) {
                return Err(format!("process {process} takes its own {owner:?} for silent"));
            }
            self.found(asker, *owner, row.is_none());
        }
        let event = match done {
            Done::Waits => {
                self.judge.meetings.met("a retirement that waits for a store under way");
                return Ok(());
            }
            Done::Begun => {
                self.statements[index].begun = true;
                return Ok(());
            }
            Done::Silently => {
                self.statements.remove(index);
                return Ok(());
            }
            Done::Committed(event) => event,
        };
        let statement = self.statements.remove(index);
        match &event {
            OutboxEvent::OwnerGone(_) => self.judge.meetings.met("a store that found its owner retired"),
            OutboxEvent::Stored { .. } if statement.is_orphan => {
                self.judge.meetings.met("a store carried out after its client stopped waiting");
            }
            _ => {}
        }
        if !statement.is_orphan {
            let otherwise = statement.sql.unanswered();
            self.answers.push_back(Answer { process, lane, event, otherwise, since: self.now });
        }
        Ok(())
    }

    /// Notes what a look meets before it is carried out.
    fn notice(&mut self, process: u32, sql: &Sql) {
        let Sql::Look(_) = sql else { return };
        let Some(own) = self.living(process).map(|index| self.processes[index].own.clone()) else { return };
        if self.store.silent(self.now).any(|owner| own.contains(&owner)) {
            self.judge.meetings.met("an own owner that looks silent");
        }
        if self.store.silent(self.now).any(|owner| self.store.is_locked(owner)) {
            self.judge.meetings.met("a retirement that waits for a store under way");
        }
    }

    fn living(&self, process: u32) -> Option<usize> {
        self.processes.iter().position(|living| living.asker.process == process)
    }

    fn hear(&mut self, process: u32, lane: Option<usize>, event: Option<OutboxEvent<Payload>>) {
        let Some(process) = self.living(process) else { return };
        if let Some(lane) = lane {
            self.processes[process].storing[lane] = false;
        }
        if let Some(event) = event {
            self.tell(process, event);
        }
    }
}
