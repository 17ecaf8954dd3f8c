//! PostgreSQL: statements are atomic, the table decides every race, and some values are refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::batch::heart::{Member, Screened, Screening, Write};
use domain::batch::net::{NetCommand, Seen};
use domain::batch::pending::PendingStamp;
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

use crate::log::{Log, What};
use crate::pending::{PendingRow, PendingTable};

/// Returns the number in an id of ours.
pub(crate) fn id_of(stamp: &Stamp) -> u8 {
    stamp.object_cid().as_str().strip_prefix("id-").and_then(|id| id.parse().ok()).expect("an id of ours")
}

/// Returns the stamp with a number in its id.
pub(crate) fn stamp_of(id: u8, due: DateTime<Utc>) -> Stamp {
    let tolerance = i32::from(id % 3) * 10;
    Stamp::new(
        ObjectCid::parse(format!("id-{id}")).expect("a valid id"),
        TimeTolerance::from_minutes(tolerance).expect("a valid tolerance"),
        due - TimeDelta::minutes(i64::from(tolerance)),
    )
    .expect("a valid due time")
}

/// What a listener has asked the server to do.
#[derive(Debug)]
pub(crate) enum Statement {
    Screen(Screening<u32>),
    Write(Write),
    Probe(Vec<Member>),
    Bury(Member),
    /// What the table's net has commanded.
    Net(NetCommand),
}

/// What the server says to a statement.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// The server refuses the values.
    Refused,
    Screened(Screened),
    Seen(Vec<Seen>),
    /// Another listener takes.
    NotOurTurn,
}

/// What a statement finds when it is executed.
pub(crate) struct Surroundings<'a> {
    pub(crate) stamps: &'a [Option<Stamp>],
    pub(crate) log: &'a Log,
    /// PostgreSQL's time.
    pub(crate) time: DateTime<Utc>,
    /// The most stamps of a batch.
    pub(crate) max: usize,
    /// A stamp whose row somebody else has locked.
    pub(crate) locked: Option<u8>,
}

/// What a statement has brought about.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) outcome: Outcome,
    /// How many stamps were lost to somebody else.
    pub(crate) lost: usize,
    /// Stamps that have left by the table.
    pub(crate) taken: Vec<u8>,
    /// Whether a row was to be put off that was put off already.
    pub(crate) is_put_off: bool,
}

impl From<Outcome> for Execution {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, lost: 0, taken: Vec::new(), is_put_off: false }
    }
}

/// The tables of the database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Each processed stamp and its batch.
    pub(crate) processed: BTreeMap<u8, usize>,
    /// Each batch that was made.
    pub(crate) batches: Vec<Vec<u8>>,
    pub(crate) pending: PendingTable,
    /// Stamps that have left by the table.
    pub(crate) by_table: BTreeSet<u8>,
    /// Stamps that are dead letters.
    pub(crate) dead: BTreeSet<u8>,
    /// Records that are dead letters, by serial number.
    pub(crate) garbage: BTreeSet<u32>,
    /// Stamps that were stored because they are due late: the table's net takes them.
    pub(crate) stored: BTreeSet<u8>,
    /// Stamps whose values the database refuses.
    pub(crate) refused: BTreeSet<u8>,
}

impl Database {
    /// Executes a statement.
    pub(crate) fn execute(&mut self, statement: &Statement, around: &Surroundings<'_>) -> Execution {
        match statement {
            Statement::Screen(screening) => Outcome::Screened(self.screen(screening, around)).into(),
            Statement::Write(write) => self.write(write),
            Statement::Probe(members) if self.refuses(members) => Outcome::Refused.into(),
            Statement::Probe(_) | Statement::Net(NetCommand::Fail) => Outcome::Done.into(),
            Statement::Bury(member) => {
                self.dead.insert(id_of(&member.stamp));
                Outcome::Done.into()
            }
            Statement::Net(NetCommand::Look) => Outcome::Seen(self.pending.look(around.time)).into(),
            Statement::Net(NetCommand::Take(rows)) => self.take(rows, around),
            Statement::Net(NetCommand::PutOff(row, _)) => {
                let is_put_off = !self.pending.put_off(*row, around.time);
                Execution { is_put_off, ..Outcome::Done.into() }
            }
        }
    }

    /// Stores the row of a stamp, unless the stamp is known.
    pub(crate) fn store(&mut self, id: u8, due: Option<DateTime<Utc>>, time: DateTime<Utc>) -> bool {
        let is_new = !self.processed.contains_key(&id) && !self.pending.rows.contains_key(&id);
        if is_new {
            self.pending.store(id, due, time);
        }
        is_new
    }

    fn refuses(&self, members: &[Member]) -> bool {
        members.iter().any(|member| self.refused.contains(&id_of(&member.stamp)))
    }

    fn write(&mut self, write: &Write) -> Execution {
        if write.batches.iter().any(|batch| self.refuses(&batch.members)) {
            return Outcome::Refused.into();
        }
        let mut lost = 0;
        for batch in &write.batches {
            let ids = batch.members.iter().map(|member| id_of(&member.stamp));
            let won: Vec<u8> = ids.filter(|id| !self.processed.contains_key(id)).collect();
            lost += batch.members.len() - won.len();
            self.process(&won);
        }
        Execution { lost, ..Outcome::Done.into() }
    }

    /// Has stamps leave that are ripe, in batches.
    fn take(&mut self, rows: &[i64], around: &Surroundings<'_>) -> Execution {
        let mut taken = self.pending.ripe(rows, around.time);
        taken.retain(|id| around.locked != Some(*id));
        if taken.iter().any(|id| self.refused.contains(id)) {
            return Outcome::Refused.into();
        }
        taken.chunks(around.max).for_each(|batch| self.process(batch));
        self.by_table.extend(&taken);
        Execution { taken, ..Outcome::Done.into() }
    }

    /// Makes a batch.
    fn process(&mut self, ids: &[u8]) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            self.pending.rows.remove(id);
            self.processed.insert(*id, self.batches.len());
        }
        self.batches.push(ids.to_vec());
    }

    fn screen(&mut self, screening: &Screening<u32>, around: &Surroundings<'_>) -> Screened {
        let mut screened = Screened { ends: screening.ends.clone(), ..Screened::default() };
        screened.stamps.clone_from(&screening.stamps);
        for distant in &screening.distant {
            let stamp = &distant.waiting.stamp;
            self.stored.insert(id_of(stamp));
            self.store(id_of(stamp), Some(stamp.due()), around.time);
            screened.finished.push(distant.waiting.position);
        }
        for (position, serial) in &screening.others {
            match around.log.record(*serial).what {
                What::Replay(id) => {
                    let stamp = around.stamps[usize::from(id)].clone().expect("a stamp that was appended");
                    screened.stamps.push(PendingStamp {
                        stamp,
                        position: *position,
                        has_row: false,
                        sent_late: false,
                    });
                }
                What::Garbage | What::Stamp(_) => {
                    self.garbage.insert(*serial);
                    screened.finished.push(*position);
                }
            }
        }
        for mut waiting in std::mem::take(&mut screened.stamps) {
            let id = id_of(&waiting.stamp);
            if self.processed.contains_key(&id) {
                screened.repeats.push(waiting.position);
                continue;
            }
            waiting.has_row = self.pending.rows.contains_key(&id);
            screened.stamps.push(waiting);
        }
        screened
    }

    /// Returns the rows with which a net still has something to do: those that leave, and those that were never put off.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = (u8, &PendingRow)> {
        let leaves = |id: &u8, row: &PendingRow| row.due.is_some() && !self.refused.contains(id);
        let rows = self.pending.rows.iter().map(|(id, row)| (*id, row));
        rows.filter(move |(id, row)| leaves(id, row) || row.refusals == 0)
    }

    /// Tells whether nothing more is to be done about a record.
    pub(crate) fn is_done(&self, serial: u32, log: &Log) -> bool {
        match log.record(serial).id() {
            Some(id) => {
                self.processed.contains_key(&id) || self.dead.contains(&id) || self.stored.contains(&id)
            }
            None => self.garbage.contains(&serial),
        }
    }
}
