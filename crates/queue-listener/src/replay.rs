//! A record that says of itself that it is a dead letter's replay.

use domain::batch::Position;
use platform::postgres::dead_letters::replays::{Claim, Verdict};

use crate::record::Record;

/// Such a record. Only the database knows whether it is one; until then it is both.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Where it was read itself.
    pub(crate) position: Position,
    /// What it says of itself.
    pub(crate) claim: Claim,
    /// What it is if that is true: the same bytes, read under the original coordinates.
    pub(crate) original: Record,
    /// What it is if not.
    pub(crate) own: Record,
}

impl Replay {
    /// Tells what it is, once it is known whether it repeats a dead letter.
    pub(crate) fn into_record(self, genuine: bool) -> Record {
        if genuine { self.original } else { self.own }
    }

    /// Tells what the dead letter with this number comes to by it.
    pub(crate) fn verdict(&self, id: i64) -> Verdict {
        let understood = matches!(self.original, Record::Stamp(_));
        Verdict { id, replays: self.claim.replays, understood }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        256 + self.claim.size() + self.original.size() + self.own.size()
    }
}
