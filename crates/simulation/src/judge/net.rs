//! What a net owes, as anyone can tell who hears what it is told and what it commands, and who knows the table.

use std::collections::BTreeSet;

use domain::batch::heart::Failure;
use domain::batch::net::{NetCommand, NetEvent, Obstacle};

use super::facts::{Broken, Facts};
use crate::database::Database;
use crate::meetings::{Meeting, Meetings};
use crate::pending::{GRACE, PendingRow};

/// How far apart looks are, in microseconds.
const PERIOD: i64 = 1_000_000;
/// How far apart takes may be while something is ripe.
const PACE: i64 = 100_000;
/// How long a net waits while another listener takes.
const TURN: i64 = 250_000;
/// How long a failure is waited for at most.
const PAUSE: i64 = 2_000_000;
/// How late a stamp leaves by the table at most, while all is well.
const LATE: i64 = 2_000_000;

/// What one net has in hand.
#[derive(Debug, Default)]
pub(crate) struct NetWatch {
    /// The command under way, and when it was given.
    asked: Option<(NetCommand, i64)>,
    /// Rows that the last look has seen, of which nothing was heard since.
    kept: BTreeSet<u8>,
    /// Rows that were refused together with others or alone. The clock may have been set back since they were ripe.
    suspects: BTreeSet<u8>,
    /// How many rows the last take had, if it was slow.
    slow: Option<usize>,
    look_at: i64,
    last_take: Option<i64>,
    /// Nothing is taken before, since another listener takes.
    turn: i64,
    failed_at: Option<i64>,
    is_fatal: bool,
    /// Since when everything was answered at once.
    calm_since: i64,
}

impl NetWatch {
    pub(crate) fn new(now: i64) -> Self {
        Self { look_at: now, calm_since: now, ..Self::default() }
    }

    /// Takes note of what the net is told.
    pub(crate) fn told(&mut self, event: &NetEvent, facts: &Facts<'_>, met: &mut Meetings) {
        let now = facts.now;
        let Some((command, at)) = self.asked.take_if(|_| *event != NetEvent::Time) else { return };
        if at < now {
            self.calm_since = now;
        }
        match (event, command) {
            (NetEvent::Seen(seen), _) => self.kept = seen.iter().filter_map(|seen| id(seen.row)).collect(),
            (NetEvent::Done, NetCommand::Take(rows)) => {
                rows.iter().filter_map(|row| id(*row)).for_each(|id| self.is_dealt_with(id));
            }
            (NetEvent::Done, NetCommand::PutOff(row, obstacle)) => {
                met.count(match obstacle {
                    Obstacle::Refused => Meeting::CulpritPutOff,
                    Obstacle::NoTime => Meeting::EndlessPutOff,
                });
                if let Some(id) = id(row) {
                    self.is_dealt_with(id);
                }
            }
            (NetEvent::NotOurTurn, _) => {
                met.count(Meeting::NotOurTurn);
                self.turn = now + TURN;
                self.calm_since = now + TURN;
            }
            (NetEvent::Failed(Failure::Data), NetCommand::Take(rows)) => {
                if rows.len() > 1 {
                    met.count(Meeting::TakeDivided);
                }
                self.suspects.extend(rows.iter().filter_map(|row| id(*row)));
            }
            (NetEvent::Failed(Failure::Fatal), _) => self.is_fatal = true,
            (NetEvent::Failed(failure), command) if *failure != Failure::Data => {
                if let (Failure::Slow, NetCommand::Take(rows)) = (failure, command) {
                    self.slow = (!self.are_suspects(&rows)).then_some(rows.len());
                }
                self.failed_at = Some(now);
                self.calm_since = now + PAUSE;
            }
            _ => {}
        }
    }

    fn is_dealt_with(&mut self, id: u8) {
        self.kept.remove(&id);
        self.suspects.remove(&id);
    }

    fn are_suspects(&self, rows: &[i64]) -> bool {
        rows.iter().filter_map(|row| id(*row)).all(|id| self.suspects.contains(&id))
    }

    /// Takes note that PostgreSQL's clock has jumped: what is late by the new time could not be taken by the old one.
    pub(crate) fn jumped(&mut self, now: i64) {
        self.calm_since = self.calm_since.max(now);
    }

    /// Judges a command at the moment it is given.
    pub(crate) fn commanded(&mut self, command: &NetCommand, facts: &Facts<'_>) -> Broken {
        let now = facts.now;
        if let Some((asked, _)) = &self.asked {
            return Err(format!("a net commands {command:?} during {asked:?}"));
        }
        if self.is_fatal != (*command == NetCommand::Fail) {
            return Err(format!("a net commands {command:?}, and a fatal failure: {}", self.is_fatal));
        }
        if self.failed_at.is_some_and(|at| at >= now) {
            return Err(format!("a net commands {command:?} in the moment of a failure"));
        }
        match command {
            NetCommand::Look if now < self.look_at => {
                return Err("a net looks again within a second".to_owned());
            }
            NetCommand::Look => self.look_at = now + PERIOD,
            NetCommand::Take(rows) => self.judge_take(rows, facts)?,
            NetCommand::PutOff(row, obstacle) => {
                let row = id(*row).ok_or("a net puts off what nobody has")?;
                let is_true = match obstacle {
                    Obstacle::Refused => facts.refused.contains(&row),
                    Obstacle::NoTime => facts.pending.rows.get(&row).is_none_or(|row| row.due.is_none()),
                };
                if !is_true {
                    return Err(format!("a net puts id-{row} off as {obstacle:?}, and it is not"));
                }
            }
            NetCommand::Fail => {}
        }
        self.asked = Some((command.clone(), now));
        Ok(())
    }

    fn judge_take(&mut self, rows: &[i64], facts: &Facts<'_>) -> Broken {
        let ids: BTreeSet<u8> = rows.iter().filter_map(|row| id(*row)).collect();
        if ids.is_empty() || ids.len() != rows.len() {
            return Err(format!("a net takes {rows:?}"));
        }
        if facts.now < self.turn {
            return Err("a net takes again before its turn can have come".to_owned());
        }
        for id in &ids {
            if !self.kept.contains(id) && !self.suspects.contains(id) {
                return Err(format!(
                    "a net takes id-{id}, which the last look has not seen or which was dealt with"
                ));
            }
            let is_early = |row: &PendingRow| row.due.is_none_or(|due| due + GRACE > facts.time());
            if !self.suspects.contains(id) && facts.pending.rows.get(id).is_some_and(is_early) {
                return Err(format!("a net takes id-{id} before its time"));
            }
        }
        if !self.are_suspects(rows)
            && let Some(slow) = self.slow.take()
            && rows.len() > (slow / 2).max(1)
        {
            return Err(format!("a net takes {rows:?}, and {slow} rows were slow"));
        }
        self.last_take = Some(facts.now);
        Ok(())
    }

    /// Judges what was not done when a step is over. `wake` is when the net looks again by itself.
    pub(crate) fn judge_rest(&self, wake: Option<i64>, facts: &Facts<'_>) -> Broken {
        if self.asked.is_some() {
            return Ok(());
        }
        let now = facts.now;
        let pause = self.failed_at.map_or(0, |at| at + PAUSE);
        let wake = wake.ok_or("a net sleeps for ever")?;
        let owes = |what: String, at: i64| match at {
            at if at <= now => Err(format!("a net is idle, and {what} at {at}")),
            at if at < wake => Err(format!("a net sleeps until {wake}, and {what} at {at}")),
            _ => Ok(()),
        };
        // What was refused is dealt with first: a look would see it once more.
        let turn = if self.suspects.is_empty() { 0 } else { self.turn };
        owes("it has to look".to_owned(), self.look_at.max(pause).max(turn))?;
        let begin = self.last_take.map_or(0, |at| at + PACE).max(self.turn).max(pause);
        for (id, row) in facts.pending.rows.iter().filter(|(_, row)| !row.is_put_off(facts.time())) {
            let ripe = row.due.map_or(0, |due| facts.micros(due + GRACE));
            if self.kept.contains(id) || self.suspects.contains(id) {
                owes(format!("id-{id}, which it has seen, is ripe"), ripe.max(begin))?;
            }
            let free = [row.due, row.retry_at, Some(row.since)].into_iter().flatten();
            let since = free.map(|time| facts.micros(time)).max().unwrap_or(0).max(self.calm_since);
            let late = since + LATE;
            if late < now || late < wake {
                return Err(format!("id-{id} stays in the table beyond {late}; a net sleeps until {wake}"));
            }
        }
        Ok(())
    }
}

fn id(row: i64) -> Option<u8> {
    u8::try_from(row).ok()
}

/// Judges the tables: each stamp stands in one batch at most, and none is too large.
pub(crate) fn judge_batches(database: &Database, max: usize) -> Broken {
    let mut all = BTreeSet::new();
    for batch in &database.batches {
        if batch.len() > max {
            return Err(format!("the batch {batch:?} is too large"));
        }
        if let Some(id) = batch.iter().find(|id| !all.insert(**id)) {
            return Err(format!("id-{id} stands in two batches"));
        }
    }
    Ok(())
}

/// Judges the rows when everything is at rest and some net is alive: what can leave has left, and what can't is put off.
pub(crate) fn judge_rows(database: &Database) -> Broken {
    let stays = database.wanting().next();
    stays.map_or(Ok(()), |(id, _)| {
        Err(format!("everything is at rest, and the row of id-{id} is not dealt with"))
    })
}
