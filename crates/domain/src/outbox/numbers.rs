//! The numbers of one owner.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::OwnerId;

/// Whether something that was asked for has been answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing is asked for, and something may be.
    #[default]
    No,
    /// The answer is awaited.
    Yes,
    /// What was asked for was refused or lost; the next beat asks again.
    InVain,
}

impl Asked {
    /// Asks unless that was done already. Returns whether a question has to be sent.
    pub(super) fn ask(&mut self) -> bool {
        let first = *self == Self::No;
        if first {
            *self = Self::Yes;
        }
        first
    }

    /// Lets what was asked in vain be asked again.
    pub(super) fn beat(&mut self) {
        if *self == Self::InVain {
            *self = Self::No;
        }
    }
}

/// What an owner is to this process.
#[derive(Debug)]
pub(super) enum Stage {
    /// Stamps are stored under the owner.
    Present(Present),
    /// Another owner has taken the place of this one, whose row is to be retired.
    Leaving(Asked),
    /// Nothing can be added to the owner; what is above `known_through` is read from the database.
    Retired(Retired),
}

/// An owner under which stamps are stored.
#[derive(Debug)]
pub(super) struct Present {
    /// The next number that is given out.
    pub(super) next: i64,
    /// Numbers of the group whose answer is awaited.
    pub(super) under_way: Option<RangeInclusive<i64>>,
    /// Whether what is stored from now on is read from the database later.
    pub(super) given_up: bool,
}

/// An owner under which nothing can be stored.
#[derive(Debug)]
pub(super) struct Retired {
    /// Whether the owner was this process's own, not one that fell silent.
    pub(super) own: bool,
    pub(super) reading: Asked,
    /// Whether the database has no more rows of the owner.
    pub(super) read_out: bool,
    pub(super) forgetting: Asked,
}

/// The events of one owner.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) owner: OwnerId,
    /// Events on their way to Kafka, or waiting to be tried again.
    pub(super) outstanding: BTreeSet<i64>,
    /// How many of the outstanding events wait.
    pub(super) waiting: usize,
    /// Each number up to here is outstanding, in Kafka, or of no stamp. Beyond, only the database knows.
    pub(super) known_through: i64,
    pub(super) stage: Stage,
}

impl Numbers {
    /// Begins to store under a new owner.
    pub(super) fn new(owner: OwnerId) -> Self {
        let stage = Stage::Present(Present { next: 1, under_way: None, given_up: false });
        Self { owner, outstanding: BTreeSet::new(), waiting: 0, known_through: 0, stage }
    }

    /// Takes a silent owner over. `awaited`: a page of it is awaited from before.
    pub(super) fn adopted(owner: OwnerId, mark: i64, awaited: bool) -> Self {
        let mut numbers = Self::new(owner);
        numbers.known_through = mark;
        let reading = if awaited { Asked::Yes } else { Asked::No };
        numbers.stage = Stage::Retired(Retired { reading, ..Retired::new(false) });
        numbers
    }

    /// Returns the number up to which everything is in Kafka.
    pub(super) fn mark(&self) -> i64 {
        self.outstanding.first().map_or(self.known_through, |lowest| lowest - 1)
    }

    /// Returns how many events are on their way.
    pub(super) fn on_the_way(&self) -> usize {
        self.outstanding.len() - self.waiting
    }

    pub(super) fn present(&mut self) -> Option<&mut Present> {
        match &mut self.stage {
            Stage::Present(present) => Some(present),
            _ => None,
        }
    }

    /// Tells whether this is an own owner that will be gone soon. One of which nothing but refused events is left may
    /// stay for ever.
    pub(super) fn is_leaving(&self, refused: usize) -> bool {
        match &self.stage {
            Stage::Present(_) => false,
            Stage::Leaving(_) => true,
            Stage::Retired(retired) => {
                let stays = retired.read_out && refused > 0 && refused == self.outstanding.len();
                retired.own && !stays
            }
        }
    }

    /// Tells whether a page of the owner's rows is awaited.
    pub(super) fn is_reading(&self) -> bool {
        matches!(&self.stage, Stage::Retired(Retired { reading: Asked::Yes, .. }))
    }

    /// Tells whether another owner has to take this one's place.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.stage, Stage::Present(Present { given_up: true, .. }))
    }

    /// Tells whether rows may be in the database that have not been read.
    pub(super) fn is_unread(&self) -> bool {
        match &self.stage {
            Stage::Present(present) => present.given_up,
            Stage::Leaving(_) => true,
            Stage::Retired(retired) => !retired.read_out,
        }
    }
}

impl Retired {
    pub(super) fn new(own: bool) -> Self {
        Self { own, reading: Asked::No, read_out: false, forgetting: Asked::No }
    }
}
