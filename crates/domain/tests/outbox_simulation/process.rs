//! A process as the rest of the world sees it: the machine, its producer, and what it waits for.

use std::collections::{BTreeSet, VecDeque};

use domain::outbox::owner::{Limits, Owners};
use domain::outbox::{OutboxCommand, OutboxEvent, OwnerId, Publication};

use super::store::{Asker, PAGE, Payload};

/// Committers of a process.
pub(crate) const LANES: usize = 2;
/// Low limits, so that there is no room soon.
pub(crate) const LIMITS: Limits = Limits { events: 6, page: PAGE, refused: 2 };

/// One life of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) asker: Asker,
    pub(crate) owners: Owners<Payload>,
    /// Which lanes wait for the answer to a store.
    pub(crate) storing: [bool; LANES],
    /// Events that are handed to the producer and not decided.
    pub(crate) together: VecDeque<Publication<Payload>>,
    pub(crate) alone: VecDeque<Publication<Payload>>,
    /// Acknowledgements that the producer has not passed on.
    pub(crate) acknowledged: VecDeque<OutboxEvent<Payload>>,
    /// The owners that the process knows to be its own.
    pub(crate) own: BTreeSet<OwnerId>,
    pub(crate) is_stalled: bool,
    pub(crate) is_stopping: bool,
}

impl Process {
    pub(crate) fn new(asker: Asker) -> Self {
        Self {
            asker,
            owners: Owners::new(LANES, LIMITS),
            storing: [false; LANES],
            together: VecDeque::new(),
            alone: VecDeque::new(),
            acknowledged: VecDeque::new(),
            own: BTreeSet::new(),
            is_stalled: false,
            is_stopping: false,
        }
    }

    /// Takes an event and hands what is to be published to the producer. Returns what is asked of the database.
    pub(crate) fn tell(&mut self, event: OutboxEvent<Payload>) -> Vec<OutboxCommand<Payload>> {
        if let OutboxEvent::Registered { owner: Some(owner), .. } = &event {
            self.own.insert(*owner);
        }
        let mut questions = Vec::new();
        for command in self.owners.on(event) {
            match command {
                OutboxCommand::Publish(publication) if publication.alone => self.alone.push_back(publication),
                OutboxCommand::Publish(publication) => self.together.push_back(publication),
                question => questions.push(question),
            }
        }
        questions
    }

    /// Takes up to `most` events out of a queue for one batch, passing over those of owners that others have taken.
    pub(crate) fn batch(&mut self, alone: bool, most: usize) -> Vec<Publication<Payload>> {
        let queue = if alone { &mut self.alone } else { &mut self.together };
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some(publication) = queue.pop_front()
        {
            if self.owners.is_outstanding(publication.owner, publication.number) {
                batch.push(publication);
            } else {
                self.acknowledged.push_back(OutboxEvent::Lost(publication));
            }
        }
        batch
    }
}
