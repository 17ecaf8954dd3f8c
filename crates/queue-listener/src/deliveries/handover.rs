//! Batches that this listener has just made, on their way to be told.

use std::collections::{HashMap, VecDeque};

use domain::batch::heart::Member;
use domain::delivery::PartId;
use domain::delivery::courier::{Held, LEASE};
use domain::stamp::Stamp;
use store::deliveries::content::PartContent;
use store::stamps::processing::MadeBatch;
use tokio::sync::mpsc;

/// Lists of batches that may wait. What comes beyond is found in PostgreSQL once nobody has it in hand any more.
const LISTS: usize = 32;
/// The most stamps that wait in memory. Those of further batches are read from PostgreSQL.
const STAMPS: usize = 100_000;

/// A batch that was just made: its only part, in hand, and what it holds, where that is known.
pub(crate) type Made = (Held, Option<PartContent>);

/// Hands batches over, if there is a sink. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover(Option<mpsc::Sender<Vec<Made>>>);

/// Takes batches that were handed over.
pub(crate) type HandedOver = mpsc::Receiver<Vec<Made>>;

impl Handover {
    /// Returns a handover and what takes from it.
    pub(crate) fn new() -> (Self, HandedOver) {
        let (sender, receiver) = mpsc::channel(LISTS);
        (Self(Some(sender)), receiver)
    }

    /// Hands batches over that were just committed. `members` are those of the write, by position.
    pub(crate) fn made<'a>(&self, batches: &[MadeBatch], members: impl Iterator<Item = &'a Member>) {
        let Some(sender) = &self.0 else { return };
        let members: Vec<&Stamp> = members.map(|member| &member.stamp).collect();
        // PostgreSQL has them, however full this is.
        let _later = sender.try_send(batches.iter().map(|batch| made(batch, &members)).collect());
    }
}

fn made(batch: &MadeBatch, members: &[&Stamp]) -> Made {
    let id = PartId { batch: batch.id, part: 1 };
    let until = batch.processed_at + LEASE;
    let held = Held { id, claim: 1, until, tries: 0, first_try: None, size: batch.size };
    let content = (batch.members.len() == batch.size).then(|| PartContent {
        id,
        parts: None,
        trigger: batch.trigger,
        size: batch.size,
        processed_at: batch.processed_at,
        stamps: batch.members.iter().map(|position| members[*position].clone()).collect(),
    });
    (held, content)
}

/// What batches hold that are about to be told, as far as there is room for it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: HashMap<PartId, PartContent>,
    /// In the order in which they came, with those that were taken since.
    order: VecDeque<PartId>,
    stamps: usize,
}

impl Contents {
    /// Keeps a content, and forgets the oldest ones where there is no room for it.
    pub(super) fn keep(&mut self, content: PartContent) {
        while let Some(oldest) = self.order.front()
            && !self.known.contains_key(oldest)
        {
            self.order.pop_front();
        }
        self.stamps += content.stamps.len();
        self.order.push_back(content.id);
        self.known.insert(content.id, content);
        while self.stamps > STAMPS
            && let Some(oldest) = self.order.pop_front()
        {
            self.take(oldest);
        }
    }

    /// Takes out what a part holds, if that is known.
    pub(super) fn take(&mut self, id: PartId) -> Option<PartContent> {
        let content = self.known.remove(&id)?;
        self.stamps -= content.stamps.len();
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use domain::batch::policy::Trigger;
    use domain::stamp::event;

    use super::*;

    fn content(batch: i64, stamps: usize) -> PartContent {
        let value = br#"{"object_cid":"a","time_tolerance":1,"created_date":"1970-01-01T00:00:00Z"}"#;
        let now = chrono::DateTime::UNIX_EPOCH;
        let stamp = event::decode(Some(value), None, now).expect("a stamp");
        let id = PartId { batch, part: 1 };
        let stamps = vec![stamp; stamps];
        PartContent {
            id,
            parts: None,
            trigger: Trigger::Deadline,
            size: stamps.len(),
            processed_at: now,
            stamps,
        }
    }

    #[test]
    fn the_oldest_contents_are_forgotten_where_there_is_no_room() {
        let mut contents = Contents::default();
        (1..=3).for_each(|batch| contents.keep(content(batch, STAMPS / 2)));
        let is_known = |contents: &mut Contents, batch| contents.take(PartId { batch, part: 1 }).is_some();
        assert_eq!([1, 2, 3].map(|batch| is_known(&mut contents, batch)), [false, true, true]);
        assert!(!is_known(&mut contents, 3), "it was taken");
        contents.keep(content(4, STAMPS));
        assert!(is_known(&mut contents, 4));
    }
}
