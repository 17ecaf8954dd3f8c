//! The table of deliveries: statements are atomic.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::delivery::courier::{Held, LEASE, Note};
use domain::delivery::schedule::Fate;
use domain::delivery::{PartId, Sink};

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) sink: Sink,
    /// How many parts the batch has, once it is told or cut.
    pub(super) parts: Option<i32>,
    /// How many stamps the batch holds.
    size: usize,
    pub(super) claim: i32,
    pub(super) tries: u32,
    pub(super) first: Option<DateTime<Utc>>,
    pub(super) next: Option<DateTime<Utc>>,
    pub(super) is_delivered: bool,
}

/// All rows.
#[derive(Default, Debug)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<PartId, Row>,
    /// How many batches are committed.
    batches: i64,
}

impl Table {
    /// Commits a batch that is to be told. Returns the part as its maker has it in hand.
    pub(super) fn make(&mut self, sink: Sink, size: usize, now: DateTime<Utc>) -> Held {
        self.batches += 1;
        let (id, until) = (PartId { batch: self.batches, part: 1 }, now + LEASE);
        let (parts, next) = (None, Some(until));
        self.rows.insert(
            id,
            Row { sink, parts, size, claim: 1, tries: 0, first: None, next, is_delivered: false },
        );
        Held { id, claim: 1, until, tries: 0, first_try: None, size }
    }

    /// Stores in how many parts a batch is told, if it is in this hand and nobody else has. Returns the parts.
    pub(super) fn cut(&mut self, held: Held, parts: i32) -> Vec<Held> {
        let Some(first) = self.rows.get_mut(&held.id) else { return Vec::new() };
        if first.claim != held.claim || first.parts.is_some() {
            return Vec::new();
        }
        first.parts = Some(parts);
        let row = first.clone();
        let all = (1..=parts).map(|part| PartId { part, ..held.id });
        all.map(|id| {
            self.rows.entry(id).or_insert_with(|| row.clone());
            Held { id, ..held }
        })
        .collect()
    }

    /// Takes parts in hand.
    pub(super) fn claim(&mut self, sink: Sink, limit: usize, now: DateTime<Utc>) -> Vec<Held> {
        let is_due = |row: &Row| row.sink == sink && row.next.is_some_and(|next| next <= now);
        let mut due: Vec<_> =
            self.rows.iter().filter(|(_, row)| is_due(row)).map(|(id, row)| (row.next, *id)).collect();
        due.sort_unstable();
        let mut held = Vec::new();
        for (_, id) in due.into_iter().take(limit) {
            if let Some(row) = self.rows.get_mut(&id) {
                row.claim += 1;
                row.next = Some(now + LEASE);
                let Row { claim, tries, first: first_try, size, .. } = *row;
                held.push(Held { id, claim, until: now + LEASE, tries, first_try, size });
            }
        }
        held
    }

    /// Writes notes. Returns how many were of a part in another hand.
    pub(super) fn note(&mut self, notes: &[Note]) -> u64 {
        let mut foreign = 0;
        for note in notes {
            let Some(row) = self.rows.get_mut(&note.id) else { continue };
            foreign += u64::from(row.claim != note.claim);
            if row.is_delivered || (row.claim != note.claim && note.fate != Fate::Delivered) {
                continue;
            }
            row.parts = row.parts.or(Some(1));
            row.tries += 1;
            row.first = row.first.or(Some(note.began));
            row.is_delivered = note.fate == Fate::Delivered;
            row.next = match note.fate {
                Fate::Waiting(next) => Some(next),
                Fate::Delivered | Fate::Failed => None,
            };
        }
        foreign
    }

    /// Tells whether a part may still be told: its hand is the one that has it.
    pub(super) fn is_held(&self, held: &Held) -> bool {
        self.rows.get(&held.id).is_some_and(|row| row.claim == held.claim && !row.is_delivered)
    }
}
