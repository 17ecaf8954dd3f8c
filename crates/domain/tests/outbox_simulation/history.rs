//! A history is data: which kinds of faults it has, and a list of choices among what can happen next.

/// A kind of event that a history may have beside the usual ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Kafka is away for a while.
    Away,
    /// Kafka refuses an event and every batch that it is in.
    Refusal,
    /// Kafka refuses every event, as when its clock is wrong.
    RefusalOfAll,
    /// A stamp is there already.
    Repeat,
    /// A statement or its answer is lost.
    Loss,
    /// A statement is carried out long after its client stopped waiting, and answers come late.
    Late,
    /// A process dies.
    Crash,
    /// A process is stopped.
    Stop,
    /// A process stands still.
    Stall,
    /// A producer fails for good.
    ProducerFailure,
    /// Stamps leave, by the table or because their events have come out of Kafka.
    Leave,
    /// Some processes are of an older binary.
    Old,
}

/// All kinds of events.
pub(crate) const ALL_KINDS: [Kind; 12] = [
    Kind::Away,
    Kind::Refusal,
    Kind::RefusalOfAll,
    Kind::Repeat,
    Kind::Loss,
    Kind::Late,
    Kind::Crash,
    Kind::Stop,
    Kind::Stall,
    Kind::ProducerFailure,
    Kind::Leave,
    Kind::Old,
];

/// What happens in a world, in order.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) choices: Vec<u64>,
}

/// A small generator of numbers (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl History {
    /// Returns a history with two to four of these kinds: with all at once, none goes far.
    pub(crate) fn of(seed: u64, among: &[Kind]) -> Self {
        let mut random = Random(seed);
        let mut left = among.to_vec();
        let wanted = (2 + random.next() % 3).min(left.len() as u64);
        let kinds = (0..wanted).map(|_| left.remove(random.next() as usize % left.len())).collect();
        let length = 100 + random.next() % 300;
        let choices = (0..length).map(|_| random.next()).collect();
        Self { seed, kinds, choices }
    }

    /// Leaves choices out for as long as `fails` still holds.
    pub(crate) fn shortest(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut shortest = self.clone();
        let mut piece = shortest.choices.len() / 2;
        while piece > 0 {
            let mut at = 0;
            while at < shortest.choices.len() {
                let mut shorter = shortest.clone();
                shorter.choices.drain(at..(at + piece).min(shorter.choices.len()));
                if fails(&shorter) { shortest = shorter } else { at += piece }
            }
            piece /= 2;
        }
        shortest
    }
}
