//! This process's outbox: what [`domain::outbox`] decides, shared by those who store, publish and keep the owners.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::outbox::owner::{Limits, Owners, Standing};
use domain::outbox::{Lane, OutboxCommand, OutboxEvent, OwnerId, Publication};
use domain::stamp::Stamp;
use tokio::sync::{mpsc, watch};

/// Lane of the committer that stores what comes in requests of its own. It is one: two share what comes, and the smaller
/// a group, the more processor time each stamp takes.
pub const SINGLE: Lane = 0;
/// Lanes of the committers that store what comes by the thousand: nothing else waits behind it. While the database
/// commits for one of them, it inserts for the other.
pub const BULK: [Lane; 2] = [SINGLE + 1, SINGLE + 2];

/// How many lanes there are, each with an owner of its own.
const LANES: usize = 1 + BULK.len();
/// The most events in memory, of about 300 bytes each; what comes beyond is read from the database later.
pub const EVENTS: usize = 100_000;
/// Rows that are read from the database, published and acknowledged together.
pub const PAGE: usize = 5_000;

/// Refused events with which nothing further is handed out: more than a few broken ones, so that Kafka takes nothing.
const REFUSED: usize = 1_000;

/// What the outbox wants done. The outbox itself bounds how much is in the queues.
#[derive(Debug)]
pub struct Wanted {
    /// Events that go to Kafka as they come.
    pub together: mpsc::UnboundedReceiver<Publication<Stamp>>,
    /// Events that go to Kafka in batches of their own.
    pub alone: mpsc::UnboundedReceiver<Publication<Stamp>>,
    /// What is asked of the database.
    pub database: mpsc::UnboundedReceiver<OutboxCommand<Stamp>>,
}

/// The state of the outbox.
#[derive(Debug)]
pub struct Outbox {
    owners: Mutex<Owners<Stamp>>,
    together: mpsc::UnboundedSender<Publication<Stamp>>,
    alone: mpsc::UnboundedSender<Publication<Stamp>>,
    database: mpsc::UnboundedSender<OutboxCommand<Stamp>>,
    /// Which lanes have an owner.
    owned: watch::Sender<[bool; LANES]>,
}

impl Outbox {
    /// Returns an outbox without owners, and what it wants done.
    pub fn new() -> (Self, Wanted) {
        let (together, together_wanted) = mpsc::unbounded_channel();
        let (alone, alone_wanted) = mpsc::unbounded_channel();
        let (database, database_wanted) = mpsc::unbounded_channel();
        let owners = Mutex::new(Owners::new(LANES, Limits { events: EVENTS, page: PAGE, refused: REFUSED }));
        let owned = watch::Sender::new([false; LANES]);
        let wanted = Wanted { together: together_wanted, alone: alone_wanted, database: database_wanted };
        (Self { owners, together, alone, database, owned }, wanted)
    }

    fn owners(&self) -> MutexGuard<'_, Owners<Stamp>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what has happened, and passes on what is to be done about it.
    pub fn tell(&self, event: OutboxEvent<Stamp>) {
        let mut owners = self.owners();
        for command in owners.on(event) {
            // Whoever would do it has ended with the process.
            let _ended = match command {
                OutboxCommand::Publish(publication) if publication.alone => {
                    self.alone.send(publication).is_ok()
                }
                OutboxCommand::Publish(publication) => self.together.send(publication).is_ok(),
                other => self.database.send(other).is_ok(),
            };
        }
        let owned = std::array::from_fn(|lane| owners.has_owner(lane));
        self.owned.send_if_modified(|before| std::mem::replace(before, owned) != owned);
    }

    /// Waits until every lane has an owner.
    pub async fn opened(&self) {
        let mut owned = self.owned.subscribe();
        // The sender lives as long as this.
        let _opened = owned.wait_for(|owned| owned.iter().all(|owned| *owned)).await;
    }

    /// Numbers the stamps of a group, as soon as its lane has an owner.
    pub async fn number(&self, lane: Lane, count: usize) -> (OwnerId, i64) {
        let mut owned = self.owned.subscribe();
        loop {
            if let Some(numbered) = self.owners().number(lane, count) {
                return numbered;
            }
            let _owned = owned.wait_for(|owned| owned[lane]).await;
        }
    }

    /// Tells whether an event is still to be published by this process.
    pub fn is_outstanding(&self, publication: &Publication<Stamp>) -> bool {
        self.owners().is_outstanding(publication.owner, publication.number)
    }

    /// Ends the outbox. Returns its owners with their marks, for others to go on from.
    pub fn end(&self) -> Vec<(OwnerId, i64)> {
        let commands = self.owners().on(OutboxEvent::End);
        let marks = commands.into_iter().find_map(|command| match command {
            OutboxCommand::Abandon(marks) => Some(marks),
            _ => None,
        });
        marks.unwrap_or_default()
    }

    /// Returns how the owners stand, and how many events Kafka refuses.
    pub fn standing(&self) -> (Vec<Standing>, usize) {
        let owners = self.owners();
        (owners.standing(), owners.refused())
    }
}
