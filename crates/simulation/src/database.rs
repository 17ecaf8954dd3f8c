//! PostgreSQL: statements are atomic, the table decides every race, and some values are refused.

use std::collections::{BTreeMap, BTreeSet};

use domain::batch::heart::{Member, Screened, Screening, Write};
use domain::batch::pending::PendingStamp;
use domain::stamp::Stamp;

use crate::log::{Log, What};

/// Returns the number in an id of ours.
pub(crate) fn id_of(stamp: &Stamp) -> u8 {
    stamp.object_cid().as_str().strip_prefix("id-").and_then(|id| id.parse().ok()).expect("an id of ours")
}

/// What a listener has asked the server to do.
#[derive(Debug)]
pub(crate) enum Statement {
    Screen(Screening<u32>),
    Write(Write),
    Probe(Vec<Member>),
    Bury(Member),
}

/// What the server says to a statement.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// The server refuses the values.
    Refused,
    Screened(Screened),
}

/// The tables of the database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Each processed stamp and its batch.
    pub(crate) processed: BTreeMap<u8, u32>,
    last_batch: u32,
    /// Stamps that are dead letters.
    pub(crate) dead: BTreeSet<u8>,
    /// Records that are dead letters, by serial number.
    pub(crate) garbage: BTreeSet<u32>,
    /// Stamps that were stored because they are due late: the table's net takes them.
    pub(crate) stored: BTreeSet<u8>,
    /// Stamps that came through the API.
    pub(crate) rows: BTreeSet<u8>,
    /// Stamps whose values the database refuses.
    pub(crate) refused: BTreeSet<u8>,
}

impl Database {
    /// Executes a statement. Also returns how many stamps were lost to somebody else.
    pub(crate) fn execute(
        &mut self,
        statement: &Statement,
        stamps: &[Option<Stamp>],
        log: &Log,
    ) -> (Outcome, usize) {
        match statement {
            Statement::Screen(screening) => (Outcome::Screened(self.screen(screening, stamps, log)), 0),
            Statement::Write(write) => self.write(write),
            Statement::Probe(members) if self.refuses(members) => (Outcome::Refused, 0),
            Statement::Probe(_) => (Outcome::Done, 0),
            Statement::Bury(member) => {
                self.dead.insert(id_of(&member.stamp));
                (Outcome::Done, 0)
            }
        }
    }

    fn refuses(&self, members: &[Member]) -> bool {
        members.iter().any(|member| self.refused.contains(&id_of(&member.stamp)))
    }

    fn write(&mut self, write: &Write) -> (Outcome, usize) {
        if write.batches.iter().any(|batch| self.refuses(&batch.members)) {
            return (Outcome::Refused, 0);
        }
        let mut lost = 0;
        for batch in &write.batches {
            self.last_batch += 1;
            for member in &batch.members {
                let id = id_of(&member.stamp);
                match self.processed.get(&id) {
                    Some(_) => lost += 1,
                    None => _ = self.processed.insert(id, self.last_batch),
                }
            }
        }
        (Outcome::Done, lost)
    }

    fn screen(&mut self, screening: &Screening<u32>, stamps: &[Option<Stamp>], log: &Log) -> Screened {
        let mut screened = Screened { ends: screening.ends.clone(), ..Screened::default() };
        screened.stamps.clone_from(&screening.stamps);
        for distant in &screening.distant {
            self.stored.insert(id_of(&distant.waiting.stamp));
            screened.finished.push(distant.waiting.position);
        }
        for (position, serial) in &screening.others {
            match log.record(*serial).what {
                What::Replay(id) => {
                    let stamp = stamps[usize::from(id)].clone().expect("a stamp that was appended");
                    screened.stamps.push(PendingStamp { stamp, position: *position });
                }
                What::Garbage | What::Stamp(_) => {
                    self.garbage.insert(*serial);
                    screened.finished.push(*position);
                }
            }
        }
        let is_processed = |waiting: &&PendingStamp| self.processed.contains_key(&id_of(&waiting.stamp));
        let id = |waiting: &PendingStamp| waiting.stamp.object_cid().as_str().to_owned();
        screened.processed = screened.stamps.iter().filter(is_processed).map(id).collect();
        screened
    }

    /// Has the table's net take a stamp that has a row.
    pub(crate) fn net(&mut self, id: u8) -> bool {
        let takes = !self.processed.contains_key(&id) && !self.refused.contains(&id);
        if takes {
            self.last_batch += 1;
            self.processed.insert(id, self.last_batch);
        }
        takes
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
