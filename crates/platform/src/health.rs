//! Whether the process can do its work, and why not.

use std::sync::Arc;

use tokio::sync::watch;

use crate::kafka::reachability::Reachability;

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// All is well.
    Ready,
    /// The work goes on, but something needs attention.
    Degraded(Vec<String>),
    /// Nothing can be done at the moment.
    NotReady(Vec<String>),
}

/// A further condition: `Some` with the reason while it is not met.
pub type Condition = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Knows what the process depends on.
pub struct Health {
    kafka: watch::Receiver<Reachability>,
    required: Vec<Condition>,
    desired: Vec<Condition>,
}

impl Health {
    /// Returns the health of a process that depends on Kafka.
    pub fn new(kafka: watch::Receiver<Reachability>) -> Self {
        Self { kafka, required: Vec::new(), desired: Vec::new() }
    }

    /// Adds a condition without which the process is not ready.
    #[must_use]
    pub fn require(mut self, condition: Condition) -> Self {
        self.required.push(condition);
        self
    }

    /// Adds a condition without which the process is degraded.
    #[must_use]
    pub fn desire(mut self, condition: Condition) -> Self {
        self.desired.push(condition);
        self
    }

    /// Looks at Kafka and the conditions.
    pub fn check(&self) -> Readiness {
        let mut missing: Vec<String> = self.required.iter().filter_map(|condition| condition()).collect();
        let mut wanting: Vec<String> = self.desired.iter().filter_map(|condition| condition()).collect();
        // Whoever can't work without Kafka requires more than that.
        wanting.extend(self.kafka.borrow().reason());
        if !missing.is_empty() {
            wanting.retain(|reason| !missing.contains(reason));
            missing.extend(wanting);
            return Readiness::NotReady(missing);
        }
        if wanting.is_empty() { Readiness::Ready } else { Readiness::Degraded(wanting) }
    }
}

/// Shares a process's health between its servers.
pub type SharedHealth = Arc<Health>;
