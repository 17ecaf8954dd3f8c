//! What Kafka refuses until its operator, or ours, does something about it.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Tells whether trying again is in vain until an operator acts: a right, a setting of a topic, a mechanism.
pub fn takes_an_operator(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::SecurityDisabled
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
    )
}

/// Keeps the last reason for which the brokers don't talk with a client.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<Option<&'static str>>);

impl Troubles {
    /// Returns the last reason, in words for everybody; the log has the client's own.
    pub fn last(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the reason: the brokers do talk.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl ClientContext for Troubles {
    fn error(&self, error: KafkaError, reason: &str) {
        let trouble = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => "it refuses the credentials",
            Some(RDKafkaErrorCode::SSL) => "no TLS connection can be made",
            _ => return tracing::debug!(error = error.to_string(), kafka.reason = reason, "librdkafka"),
        };
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(trouble);
        if before != Some(trouble) {
            tracing::warn!(kafka.reason = reason, "Kafka is out of reach: {trouble}");
        }
    }
}

impl ConsumerContext for Troubles {}
