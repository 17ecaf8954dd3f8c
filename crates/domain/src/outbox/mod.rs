//! Who publishes which stored event, and up to where everything is in Kafka.
//!
//! A process stores stamps under *owners*, rows of the database that it renews. Each committer has an owner of its
//! own, its *lane*, and numbers the stamps that it stores. An owner's *mark* is the number up to which everything
//! is in Kafka; it stands in the owner's row. Where a process can't tell any more what of an owner's is on its way,
//! or can't hold it in memory, the owner is *given up*: what is stored under it from then on is read from the
//! database later. Once there is room, a new owner takes its place. The old one is *retired*, so that nothing can be
//! added to it, read page by page, published, and forgotten. Owners of processes that fell silent are retired and
//! read the same way.
//!
//! [`owner::Owners`] decides all this and does none of it: it takes [`OutboxEvent`]s and returns [`OutboxCommand`]s.

mod numbers;
pub mod owner;
mod refusals;

/// The id of an owner's row in the database. No two owners ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub i64);

/// One of the committers of a process, which store one group at a time each.
pub type Lane = usize;

/// What an owner's row said when it was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Id of the owner.
    pub owner: OwnerId,
    /// Whether the owner is retired: nothing can be stored under it.
    pub retired: bool,
}

/// An event on its way to Kafka. `P` is whatever it takes to publish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication<P> {
    /// Owner of the event.
    pub owner: OwnerId,
    /// Number of the event under its owner.
    pub number: i64,
    /// Whatever it takes to publish the event.
    pub payload: P,
    /// Whether the event goes to Kafka in a batch of its own, so that it answers for nobody else.
    pub alone: bool,
}

/// What has happened to the owners and their events.
#[derive(Clone, Debug)]
pub enum OutboxEvent<P> {
    /// Time has passed: about a second.
    Beat,
    /// A new owner's row is there, or it can't be told whether it is.
    Registered {
        /// Lane for which the owner was asked for.
        lane: Lane,
        /// Row of the new owner, `None` if it can't be told whether there is one.
        owner: Option<OwnerId>,
    },
    /// The rows of owners were renewed. One that is missing here is gone.
    Renewed(Vec<Renewal>),
    /// Whether the owners were renewed is not known.
    NotRenewed,
    /// A group is committed. A number that is missing here was not needed: the stamp was there already.
    Stored {
        /// Owner under which the group is stored.
        owner: OwnerId,
        /// Events to be published, in order of their numbers.
        rows: Vec<(i64, P)>,
    },
    /// A group is certainly not stored.
    NotStored(OwnerId),
    /// A group may be stored: its answer was lost.
    StoreUnanswered(OwnerId),
    /// A group is not stored because its owner is retired or gone.
    OwnerGone(OwnerId),
    /// An owner of this process is retired, or its row is gone.
    Retired {
        /// Owner that is retired or gone.
        owner: OwnerId,
        /// Whether the owner's row is gone: somebody else has published everything.
        gone: bool,
    },
    /// An owner's retirement is not known to have happened.
    NotRetired(OwnerId),
    /// A silent owner was retired.
    SilentFound {
        /// Owner that was retired.
        owner: OwnerId,
        /// Mark of the owner: the number up to which everything is in Kafka.
        mark: i64,
    },
    /// No owner is silent, or it can't be told.
    NoneSilent,
    /// A page of a retired owner's rows was read.
    PageRead {
        /// Owner of the rows.
        owner: OwnerId,
        /// Rows in order of their numbers; without any there are no more.
        rows: Vec<(i64, P)>,
    },
    /// A page of an outbox could not be read.
    PageNotRead(OwnerId),
    /// A retired owner's row is gone.
    Forgotten(OwnerId),
    /// Whether an owner's row is removed is not known.
    NotForgotten(OwnerId),
    /// Kafka has an event.
    Delivered {
        /// Owner of the event.
        owner: OwnerId,
        /// Number of the event under its owner.
        number: i64,
    },
    /// Kafka refused an event, or the batch that it was in.
    Refused(Publication<P>),
    /// An event did not reach Kafka, or nobody knows whether it did; the fault is not its own.
    Lost(Publication<P>),
    /// The process is about to end: nothing new is begun.
    Stop,
    /// Nothing is stored or published any more.
    End,
}

/// What is to be done for the owners and their events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxCommand<P> {
    /// Make a new owner.
    Register(Lane),
    /// Renew the rows of owners and raise their marks, all in one statement.
    Renew(Vec<(OwnerId, i64)>),
    /// Retire an owner of this process and wait for the stores under way.
    Retire(OwnerId),
    /// Retire an owner that is silent and none of `except`.
    LookForSilent {
        /// The owners of this process, which are not silent whatever their rows say.
        except: Vec<OwnerId>,
    },
    /// Read the next rows of a retired owner.
    ReadPage {
        /// Owner of the rows.
        owner: OwnerId,
        /// Number above which the rows lie.
        above: i64,
    },
    /// Remove a retired owner's row.
    Forget(OwnerId),
    /// Hand an event to Kafka. Exactly one [`OutboxEvent`] tells what became of it.
    Publish(Publication<P>),
    /// Raise the marks of owners, and let others take the owners over at once.
    Abandon(Vec<(OwnerId, i64)>),
}
