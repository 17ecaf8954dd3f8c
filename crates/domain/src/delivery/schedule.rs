//! When a part is told again after a try that was in vain.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Sink;

/// The pauses after the first tries of a webhook; then [`HOURLY`].
const PAUSES: [Duration; 5] = [secs(5), secs(30), secs(2 * 60), secs(10 * 60), secs(30 * 60)];
/// The pause after each further try of a webhook, and the longest that a receiver may ask for.
const HOURLY: Duration = secs(60 * 60);
/// The shortest pause that a receiver may ask for.
const SHORTEST: Duration = secs(1);
/// How long after its first try a webhook is given up.
const GIVEN_UP: TimeDelta = TimeDelta::days(3);
/// By how much of itself a pause is longer or shorter, so that what failed together does not come back together.
const SPREAD: f64 = 0.1;
/// The first pause of Kafka; each further one is twice as long, up to [`LONGEST_OF_KAFKA`].
const FIRST_OF_KAFKA: Duration = secs(1);
const LONGEST_OF_KAFKA: Duration = secs(5 * 60);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver does not have it, as far as is known, and may take it later: after a pause that it asked for, if it did.
    Again(Option<Duration>),
    /// The receiver will never take it.
    Refused,
}

/// The tries of a part, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// How many there were, at least one.
    pub count: u32,
    /// When the first one began.
    pub first: DateTime<Utc>,
}

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Delivered,
    /// It is tried again at this time.
    Waiting(DateTime<Utc>),
    /// It is given up.
    Failed,
}

/// Returns what becomes of a part after a try. `chance` is a number from 0 to 1 that spreads the pauses.
pub fn after(sink: Sink, tries: Tries, outcome: TryOutcome, now: DateTime<Utc>, chance: f64) -> Fate {
    let asked = match outcome {
        TryOutcome::Delivered => return Fate::Delivered,
        TryOutcome::Refused => return Fate::Failed,
        TryOutcome::Again(asked) => asked,
    };
    let spread = |pause: Duration| pause.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * chance.clamp(0.0, 1.0));
    let made = tries.count.max(1) as usize - 1;
    let pause = match (sink, asked) {
        (Sink::Kafka, _) => {
            let doubled = FIRST_OF_KAFKA.saturating_mul(1 << made.min(16));
            spread(doubled.min(LONGEST_OF_KAFKA))
        }
        (Sink::Webhook, Some(asked)) => asked.clamp(SHORTEST, HOURLY),
        (Sink::Webhook, None) => spread(PAUSES.get(made).copied().unwrap_or(HOURLY)),
    };
    let next = now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX);
    if sink == Sink::Webhook && next > tries.first + GIVEN_UP { Fate::Failed } else { Fate::Waiting(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a valid time")
    }

    /// Returns the pause after a try in milliseconds.
    fn pause(sink: Sink, count: u32, asked: Option<u64>, chance: f64) -> i64 {
        let tries = Tries { count, first: time(0) };
        match after(sink, tries, TryOutcome::Again(asked.map(secs)), time(10), chance) {
            Fate::Waiting(next) => (next - time(10)).num_milliseconds(),
            fate => panic!("{fate:?}"),
        }
    }

    #[test]
    fn a_webhook_is_tried_again_ever_less_often() {
        let pauses: Vec<i64> = (1..=7).map(|count| pause(Sink::Webhook, count, None, 0.5)).collect();
        assert_eq!(pauses, [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 3_600_000]);
        assert_eq!((pause(Sink::Webhook, 1, None, 0.0), pause(Sink::Webhook, 1, None, 1.0)), (4_500, 5_500));
    }

    #[test]
    fn a_receiver_says_within_bounds_when_it_wants_to_be_asked_again() {
        let pauses = [0, 7, 100_000].map(|asked| pause(Sink::Webhook, 3, Some(asked), 0.9));
        assert_eq!(pauses, [1_000, 7_000, 3_600_000]);
    }

    #[test]
    fn a_webhook_is_given_up_three_days_after_its_first_try_and_kafka_never() {
        let tries = Tries { count: 80, first: time(0) };
        let days = |days: i64| time(days * 86_400);
        let again = TryOutcome::Again(None);
        assert!(matches!(after(Sink::Webhook, tries, again, days(2), 0.5), Fate::Waiting(_)));
        assert_eq!(after(Sink::Webhook, tries, again, days(3), 0.5), Fate::Failed);
        assert_eq!(
            after(Sink::Kafka, tries, again, days(300), 0.5),
            Fate::Waiting(days(300) + TimeDelta::minutes(5))
        );
    }

    #[test]
    fn what_will_never_be_taken_is_given_up_at_once() {
        let tries = Tries { count: 1, first: time(0) };
        for sink in Sink::ALL {
            assert_eq!(after(sink, tries, TryOutcome::Refused, time(1), 0.5), Fate::Failed);
            assert_eq!(after(sink, tries, TryOutcome::Delivered, time(1), 0.5), Fate::Delivered);
        }
    }

    #[test]
    fn pauses_of_kafka_double_up_to_five_minutes() {
        let pauses = [1, 2, 3, 9, 10, 99].map(|count| pause(Sink::Kafka, count, None, 0.5));
        assert_eq!(pauses, [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
    }
}
