//! A batch of records that the client library can't decode.
//!
//! Such a batch can't be handed over, not even as a dead letter, so its partition stands still at it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// How long after the last word of a batch a partition counts as standing still: the client tries a batch that it can't
/// decode twice a second.
const LASTING: Duration = Duration::from_secs(10);

/// Whether a client stands still at a batch that it can't decode.
#[derive(Debug)]
pub(crate) struct UndecodableBatch {
    /// When the client last met a batch that it can't decode.
    last: Mutex<Option<Instant>>,
    /// How many clients of the process stand still.
    gauge: IntGauge,
}

impl UndecodableBatch {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        Self { last: Mutex::default(), gauge }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.last().is_some()
    }

    /// Takes the word of a batch back once nothing was heard of that batch for a while.
    pub(crate) fn forget_old(&self) {
        if self.last().take_if(|last| last.elapsed() > LASTING).is_some() {
            self.gauge.dec();
        }
    }

    /// Tells of an error that a poll has returned.
    pub(crate) fn report(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // Said by the reachability probe.
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {
                tracing::debug!(error = error.to_string(), "the brokers are away");
            }
            Some(
                RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::MessageSizeTooLarge,
            ) => {
                if self.last().replace(Instant::now()).is_none() {
                    self.gauge.inc();
                    tracing::error!(
                        error = error.to_string(),
                        "a partition stands still at a batch that can't be decoded: move its offset by hand"
                    );
                }
            }
            _ => tracing::warn!(error = error.to_string(), "Kafka reports an error"),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_that_stand_still_are_two_and_one_that_goes_on_takes_back_its_own_only() {
        let gauge = IntGauge::new("unreadable", "A test.").expect("a gauge");
        let (one, other) = (UndecodableBatch::new(gauge.clone()), UndecodableBatch::new(gauge.clone()));
        let error = KafkaError::MessageConsumption(RDKafkaErrorCode::BadCompression);
        one.report(&error);
        one.report(&error);
        other.report(&error);
        assert_eq!((one.is_on(), gauge.get()), (true, 2));
        one.forget_old();
        assert_eq!(gauge.get(), 2, "it was heard of just now");
        *one.last() = Some(Instant::now() - LASTING - Duration::from_secs(1));
        one.forget_old();
        assert_eq!((one.is_on(), other.is_on(), gauge.get()), (false, true, 1));
    }
}
