//! The batching rule, as a pure function of what waits and the time.

use chrono::{DateTime, Utc};

/// How many stamps make a batch: `1 ≤ min ≤ max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    min: usize,
    max: usize,
}

/// Limits that contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("min_batch_size {min} and max_batch_size {max} must satisfy 1 <= min_batch_size <= max_batch_size")]
pub struct InvalidBatchLimits {
    min: usize,
    max: usize,
}

impl BatchLimits {
    /// Refuses limits that no batch could satisfy.
    ///
    /// # Errors
    /// [`InvalidBatchLimits`] unless `1 ≤ min ≤ max`.
    pub fn new(min: usize, max: usize) -> Result<Self, InvalidBatchLimits> {
        if min == 0 || min > max {
            return Err(InvalidBatchLimits { min, max });
        }
        Ok(Self { min, max })
    }

    /// Returns from how many stamps on a batch leaves without waiting.
    pub fn min(self) -> usize {
        self.min
    }

    /// Returns how many stamps a batch holds at most.
    pub fn max(self) -> usize {
        self.max
    }
}

/// Why a batch left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// At least `min_batch_size` stamps were pending.
    MinBatchSize,
    /// Fewer stamps than `min_batch_size` were pending, and these were due.
    Deadline,
}

impl Trigger {
    /// Returns the trigger's name in the database, in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MinBatchSize => "min_batch_size",
            Self::Deadline => "deadline",
        }
    }
}

/// What the batching rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many stamps are pending.
    pub pending: usize,
    /// How many of the pending stamps are due.
    pub due: usize,
    /// When the next stamp falls due, if any is pending.
    pub next_due: Option<DateTime<Utc>>,
    /// Whether a backlog is being read, so that more stamps are about to be there: what is not a full batch yet
    /// waits for them. The caller bounds how long this may be so.
    pub reading_backlog: bool,
}

/// What the batching rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Process one batch of `size` stamps: those that are due first, then in order of arrival.
    /// Then ask again.
    Process {
        /// Why the batch leaves.
        trigger: Trigger,
        /// How many stamps the batch holds, from 1 to `max_batch_size`.
        size: usize,
    },
    /// Nothing leaves before this time unless another stamp arrives.
    WaitUntil(DateTime<Utc>),
    /// Nothing leaves unless another stamp arrives.
    WaitForArrival,
}

/// Decides what leaves next.
///
/// 1. While at least `min` stamps are pending, up to `max` of them leave together.
/// 2. Below `min`, exactly the due ones leave, and no other.
pub fn decide(limits: BatchLimits, waiting: Waiting) -> Decision {
    let Waiting { pending, due, next_due, reading_backlog } = waiting;
    if reading_backlog && pending < limits.max {
        return Decision::WaitForArrival;
    }
    if pending >= limits.min {
        return Decision::Process { trigger: Trigger::MinBatchSize, size: pending.min(limits.max) };
    }
    if due > 0 {
        return Decision::Process { trigger: Trigger::Deadline, size: due };
    }
    next_due.map_or(Decision::WaitForArrival, Decision::WaitUntil)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(min: usize, max: usize) -> BatchLimits {
        BatchLimits::new(min, max).expect("valid limits")
    }

    #[test]
    fn impossible_limits_are_refused() {
        for (min, max) in [(0, 10), (0, 0), (11, 10)] {
            assert_eq!(BatchLimits::new(min, max), Err(InvalidBatchLimits { min, max }));
        }
        assert!(BatchLimits::new(1, 1).is_ok());
    }

    #[test]
    fn decisions_follow_the_rule() {
        use Decision::{Process, WaitForArrival, WaitUntil};
        use Trigger::{Deadline, MinBatchSize};
        let later = DateTime::from_timestamp(1_000, 0);
        let at = later.expect("a valid time");
        let cases = [
            ("nothing pending", (2, 10), (0, 0, None, false), WaitForArrival),
            ("one below min waits for its time", (2, 10), (1, 0, later, false), WaitUntil(at)),
            ("min leaves at once", (2, 10), (2, 0, later, false), Process { trigger: MinBatchSize, size: 2 }),
            ("no more than max", (2, 10), (25, 0, later, false), Process { trigger: MinBatchSize, size: 10 }),
            (
                "only the due ones below min",
                (3, 10),
                (2, 1, later, false),
                Process { trigger: Deadline, size: 1 },
            ),
            (
                "due ones count towards min",
                (3, 10),
                (3, 1, later, false),
                Process { trigger: MinBatchSize, size: 3 },
            ),
            ("min 1 never waits", (1, 1), (1, 0, later, false), Process { trigger: MinBatchSize, size: 1 }),
            ("a backlog fills its batches", (2, 10), (9, 4, later, true), WaitForArrival),
            (
                "a full batch leaves a backlog",
                (2, 10),
                (11, 0, later, true),
                Process { trigger: MinBatchSize, size: 10 },
            ),
        ];
        for (why, (min, max), (pending, due, next_due, reading_backlog), expected) in cases {
            let waiting = Waiting { pending, due, next_due, reading_backlog };
            assert_eq!(decide(limits(min, max), waiting), expected, "{why}");
        }
    }
}
