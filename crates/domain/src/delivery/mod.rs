//! Telling the outside of batches: what is told ([`event`]), in how many parts ([`cut`]), when it is tried again
//! ([`schedule`]), and what a listener does next about it ([`courier`]).

pub mod courier;
pub mod cut;
pub mod event;
pub mod schedule;

use std::fmt;

/// Where batches are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sink {
    /// A Kafka topic.
    Kafka,
    /// A receiver of HTTP requests.
    Webhook,
}

impl Sink {
    /// All sinks there are.
    pub const ALL: [Self; 2] = [Self::Kafka, Self::Webhook];

    /// Returns the word for the sink, as it stands in settings and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Webhook => "webhook",
        }
    }

    /// Returns the sink of a word, if it is one.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sink| sink.as_str() == word)
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One part of a batch that is told, counted from 1. A batch that is told whole has one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId {
    /// Id of the batch.
    pub batch: i64,
    /// Number of the part.
    pub part: i32,
}
