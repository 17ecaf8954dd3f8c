//! PostgreSQL: statements are atomic, and their answers are another matter.

use std::collections::BTreeMap;

use domain::outbox::{Lane, OutboxCommand, OutboxEvent, OwnerId, Renewal};

use super::leaving::{LeftRow, Place, Taking};

/// Ticks of silence after which an owner is taken for dead.
pub(crate) const SILENCE: u64 = 5;
/// Rows of a page.
pub(crate) const PAGE: usize = 2;

/// A stamp's event; the number is all there is to it.
pub(crate) type Payload = u32;

/// A row of `intake_owners`.
#[derive(Clone, Debug)]
pub(crate) struct OwnerRow {
    pub(crate) mark: i64,
    pub(crate) retired: bool,
    pub(crate) seen_at: Option<u64>,
    /// Which process made the owner; the database does not know.
    pub(crate) made_by: u32,
}

/// Who sends a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) process: u32,
    /// Whether the process is one of an older binary, which knows nothing of left events.
    pub(crate) is_old: bool,
}

/// A statement of a process.
#[derive(Clone, Debug)]
pub(crate) enum Sql {
    Register(Lane),
    Renew(Vec<(OwnerId, i64)>),
    Retire(OwnerId),
    Look(Vec<OwnerId>),
    Read(OwnerId, i64),
    Forget(OwnerId),
    Abandon(Vec<(OwnerId, i64)>),
    /// Store rows, except those whose stamps are there already.
    Store {
        owner: OwnerId,
        rows: Vec<(i64, Payload)>,
        taken: Vec<i64>,
    },
}

impl Sql {
    /// Returns what a command asks of the database.
    pub(crate) fn of(command: &OutboxCommand<Payload>) -> Option<Self> {
        Some(match command {
            OutboxCommand::Register(lane) => Self::Register(*lane),
            OutboxCommand::Renew(marks) => Self::Renew(marks.clone()),
            OutboxCommand::Retire(owner) => Self::Retire(*owner),
            OutboxCommand::LookForSilent { except } => Self::Look(except.clone()),
            OutboxCommand::ReadPage { owner, above } => Self::Read(*owner, *above),
            OutboxCommand::Forget(owner) => Self::Forget(*owner),
            OutboxCommand::Abandon(marks) => Self::Abandon(marks.clone()),
            OutboxCommand::Publish(_) => return None,
        })
    }

    /// Returns what a client makes of an answer that does not come.
    pub(crate) fn unanswered(&self) -> Option<OutboxEvent<Payload>> {
        Some(match self {
            Self::Register(lane) => OutboxEvent::Registered { lane: *lane, owner: None },
            Self::Renew(_) => OutboxEvent::NotRenewed,
            Self::Retire(owner) => OutboxEvent::NotRetired(*owner),
            Self::Look(_) => OutboxEvent::NoneSilent,
            Self::Read(owner, _) => OutboxEvent::PageNotRead(*owner),
            Self::Forget(owner) => OutboxEvent::NotForgotten(*owner),
            Self::Abandon(_) => return None,
            Self::Store { owner, .. } => OutboxEvent::StoreUnanswered(*owner),
        })
    }
}

/// What a statement did.
#[derive(Debug)]
pub(crate) enum Done {
    /// The statement waits for the locks of stores under way.
    Waits,
    /// The statement has its locks and goes on.
    Begun,
    /// The statement is committed, with this answer.
    Committed(OutboxEvent<Payload>),
    /// The statement is committed, and nobody waits.
    Silently,
}

/// The tables of the database.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) owners: BTreeMap<OwnerId, OwnerRow>,
    pub(crate) pending: BTreeMap<Place, Payload>,
    pub(crate) left: BTreeMap<Place, LeftRow>,
    /// Every stamp that was ever stored; the database does not know where each was in the outbox.
    pub(crate) accepted: BTreeMap<Place, Payload>,
    /// How many stamps have left.
    pub(crate) departures: usize,
    /// The take under way.
    pub(crate) taking: Option<Taking>,
    last_owner: i64,
    /// Locks of stores under way, by owner.
    under_way: Vec<OwnerId>,
}

impl Store {
    /// Tells whether a store holds an owner's row.
    pub(crate) fn is_locked(&self, owner: OwnerId) -> bool {
        self.under_way.contains(&owner)
    }

    /// Returns the owners that a look would take, whoever looks.
    pub(crate) fn silent(&self, now: u64) -> impl Iterator<Item = OwnerId> {
        let silent =
            move |row: &OwnerRow| row.seen_at.is_none_or(|seen_at| now.saturating_sub(seen_at) > SILENCE);
        self.owners.iter().filter(move |(_, row)| silent(row)).map(|(owner, _)| *owner)
    }

    /// Carries a statement out, or a part of it. `begun`: the statement has its locks.
    pub(crate) fn execute(&mut self, sql: &Sql, begun: bool, asker: Asker, now: u64) -> Done {
        match sql {
            Sql::Register(lane) => {
                self.last_owner += 1;
                let owner = OwnerId(self.last_owner);
                let row = OwnerRow { mark: 0, retired: false, seen_at: Some(now), made_by: asker.process };
                self.owners.insert(owner, row);
                Done::Committed(OutboxEvent::Registered { lane: *lane, owner: Some(owner) })
            }
            Sql::Renew(marks) => {
                if !asker.is_old {
                    for (owner, mark) in marks {
                        self.note(*owner, *mark);
                    }
                }
                Done::Committed(OutboxEvent::Renewed(self.raise(marks, Some(now))))
            }
            Sql::Abandon(marks) => {
                self.raise(marks, None);
                Done::Silently
            }
            Sql::Retire(owner) if self.is_locked(*owner) => Done::Waits,
            Sql::Retire(owner) => {
                let row = self.owners.get_mut(owner);
                let gone = row.is_none();
                if let Some(row) = row {
                    (row.retired, row.seen_at) = (true, Some(now));
                }
                Done::Committed(OutboxEvent::Retired { owner: *owner, gone })
            }
            Sql::Look(except) => Done::Committed(match self.look(except, asker, now) {
                Some((owner, mark)) => OutboxEvent::SilentFound { owner, mark },
                None => OutboxEvent::NoneSilent,
            }),
            Sql::Read(owner, above) => {
                let rows = self.page(*owner, *above, !asker.is_old);
                Done::Committed(OutboxEvent::PageRead { owner: *owner, rows })
            }
            Sql::Forget(owner) => {
                if !asker.is_old {
                    self.note(*owner, i64::MAX);
                }
                self.owners.retain(|id, row| id != owner || !row.retired);
                Done::Committed(OutboxEvent::Forgotten(*owner))
            }
            Sql::Store { owner, .. } if !begun => {
                if self.owners.get(owner).is_none_or(|row| row.retired) {
                    return Done::Committed(OutboxEvent::OwnerGone(*owner));
                }
                self.under_way.push(*owner);
                Done::Begun
            }
            Sql::Store { owner, rows, taken } => {
                self.release(*owner);
                let rows: Vec<_> =
                    rows.iter().filter(|(number, _)| !taken.contains(number)).copied().collect();
                for table in [&mut self.pending, &mut self.accepted] {
                    table.extend(rows.iter().map(|(number, payload)| ((*owner, *number), *payload)));
                }
                Done::Committed(OutboxEvent::Stored { owner: *owner, rows })
            }
        }
    }

    /// Retires a silent owner, or puts one back whose left events nobody publishes.
    fn look(&mut self, except: &[OwnerId], asker: Asker, now: u64) -> Option<(OwnerId, i64)> {
        let silent: Vec<OwnerId> = self.silent(now).collect();
        let found =
            silent.into_iter().find(|owner| !except.contains(owner) && !self.under_way.contains(owner));
        match found.and_then(|owner| Some((owner, self.owners.get_mut(&owner)?))) {
            Some((owner, row)) => {
                (row.retired, row.seen_at) = (true, Some(now));
                let mark = row.mark;
                // An older process raises marks above left events that it does not see.
                let lowest = self.unpublished_of(owner).next().filter(|_| !asker.is_old);
                Some((owner, lowest.map_or(mark, |(number, _)| mark.min(number - 1))))
            }
            None if asker.is_old => None,
            None => self.put_back(except, asker.process, now),
        }
    }

    /// Rolls a store back that had begun.
    pub(crate) fn release(&mut self, owner: OwnerId) {
        let lock = self.under_way.iter().position(|locked| *locked == owner).expect("it has its lock");
        self.under_way.remove(lock);
    }

    fn raise(&mut self, marks: &[(OwnerId, i64)], seen_at: Option<u64>) -> Vec<Renewal> {
        let mut renewed = Vec::new();
        for (owner, mark) in marks {
            if let Some(row) = self.owners.get_mut(owner) {
                (row.mark, row.seen_at) = (row.mark.max(*mark), seen_at);
                renewed.push(Renewal { owner: *owner, retired: row.retired });
            }
        }
        renewed
    }
}
