//! In how many parts a batch is told: receivers and brokers take no event of any size.

use super::event::push;
use crate::stamp::Stamp;

/// The most bytes of an event.
pub const LARGEST: usize = 512 * 1024;
/// What of an event is no stamp has fewer bytes than this, whoever tells it.
pub const ENVELOPE: usize = 1_024;
/// The most bytes of a source: it is part of the envelope.
pub const LONGEST_SOURCE: usize = 255;
/// A stamp adds fewer bytes to an event than this.
const LONGEST_STAMP: usize = 2_048;

/// Returns how many stamps of a batch are told with each part and those before it: one number where the batch is told
/// whole.
pub fn ends(stamps: &[Stamp]) -> Vec<i32> {
    if stamps.len() <= (LARGEST - ENVELOPE) / LONGEST_STAMP {
        return vec![stamps.len() as i32];
    }
    let mut cutter = Cutter::default();
    for stamp in stamps {
        cutter.add(stamp);
    }
    cutter.ends()
}

/// Divides a batch into parts, stamp by stamp. Where the cuts are follows from the stamps alone, so that a part that is
/// told again, by whomever, has the same `id` and the same content.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The last stamp's text.
    text: String,
    /// How many bytes the stamps of the last part take.
    length: usize,
    /// How many stamps there were so far.
    count: i32,
    /// How many stamps there are up to the end of each part before the last one.
    ends: Vec<i32>,
}

impl Cutter {
    /// Adds the next stamp. A stamp has a few kilobytes at most, so that each part holds one at least.
    pub fn add(&mut self, stamp: &Stamp) {
        self.text.clear();
        push(&mut self.text, stamp);
        // With the comma before it.
        let length = self.text.len() + 1;
        if self.length + length > LARGEST - ENVELOPE {
            self.ends.push(self.count);
            self.length = 0;
        }
        self.length += length;
        self.count += 1;
    }

    /// Returns how many stamps there are up to the end of each part.
    pub fn ends(self) -> Vec<i32> {
        let mut ends = self.ends;
        ends.push(self.count);
        ends
    }
}
