//! A Kafka record as the heart takes it: a stamp that was understood, or what the database has to see first.

use chrono::{DateTime, Utc};
use domain::batch::assignment::Position;
use domain::batch::heart::Content;
use domain::batch::pending::PendingStamp;
use domain::batch::promise::is_sent_late;
use domain::record::{Claim, DeadLetter, KafkaRecord, Verdict, guarded, time_of};
use domain::stamp::{Stamp, event};
use domain::trace::TraceContext;

/// What the bytes of a record say.
#[derive(Debug, Clone)]
pub(crate) enum Decoded {
    /// A stamp.
    Stamp(Stamp),
    /// Nothing that can be understood.
    Dead(Box<DeadLetter>),
}

/// A record that the database has to see before anything else.
#[derive(Debug, Clone)]
pub(crate) enum Other {
    /// A record that can't be understood.
    Dead(Box<DeadLetter>),
    /// A record that says that it is a dead letter's replay.
    ReplayedStamp(Box<ReplayedStamp>),
}

/// A record that says of itself that it is a dead letter's replay. Only the database knows whether it is one.
#[derive(Debug, Clone)]
pub(crate) struct ReplayedStamp {
    /// What the record says of itself.
    pub(crate) claim: Claim,
    /// What the record is if its claim is true: the same bytes, read under the original coordinates.
    original: Decoded,
    /// What the record is if its claim is not true.
    own: Decoded,
    /// Kafka's timestamp of the record: when it was sent again.
    pub(crate) sent: i64,
}

/// Decodes a record that was read at `now`. Returns what it holds, and roughly how much memory that takes, in bytes.
pub(crate) fn decode(record: &KafkaRecord<'_>, now: DateTime<Utc>) -> (Content<Other>, usize) {
    let own = decode_at(record, record.timestamp, now);
    let size = own.size();
    let Some(claim) = Claim::of(record) else {
        let content = match own {
            Decoded::Stamp(stamp) => Content::Stamp(stamp),
            Decoded::Dead(letter) => Content::Other(Other::Dead(letter)),
        };
        return (content, size);
    };
    let original = decode_at(record, claim.original.timestamp, now);
    let size = 256 + claim.size() + original.size() + size;
    (
        Content::Other(Other::ReplayedStamp(Box::new(ReplayedStamp {
            claim,
            original,
            own,
            sent: record.timestamp,
        }))),
        size,
    )
}

/// Decodes a record as if it had this timestamp. One whose decoding panics again and again is a dead letter, not the
/// end of the process.
fn decode_at(record: &KafkaRecord<'_>, timestamp: i64, now: DateTime<Utc>) -> Decoded {
    match guarded(|| event::decode(record.value, time_of(timestamp), now)) {
        // What nobody records takes no memory while the stamp waits.
        Ok(stamp) => Decoded::Stamp(stamp.with_trace(record.trace().filter(TraceContext::is_sampled))),
        Err(rejection) => Decoded::Dead(Box::new(record.dead_letter(rejection.reason(), rejection.detail()))),
    }
}

impl Decoded {
    fn size(&self) -> usize {
        match self {
            Self::Stamp(_) => 128,
            Self::Dead(letter) => 256 + letter.size(),
        }
    }

    /// Sorts a record that was sent at this time by what becomes of it: a stamp waits, and a dead letter is stored.
    pub(crate) fn sort(self, position: Position, sent: i64) -> Result<PendingStamp, Box<DeadLetter>> {
        match self {
            Self::Stamp(stamp) => {
                let sent_late = is_sent_late(stamp.due(), sent);
                Ok(PendingStamp { stamp, position, has_row: false, sent_late })
            }
            Self::Dead(letter) => Err(letter),
        }
    }
}

impl ReplayedStamp {
    /// Returns what the record is, once it is known whether it repeats a dead letter.
    pub(crate) fn decoded(&self, genuine: bool) -> &Decoded {
        if genuine { &self.original } else { &self.own }
    }

    /// Returns what the dead letter with this id comes to by the record.
    pub(crate) fn verdict(&self, id: i64) -> Verdict {
        self.claim.verdict(id, matches!(self.original, Decoded::Stamp(_)))
    }
}
