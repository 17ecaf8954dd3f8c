//! What is true on paper, without computers: stamps, their wire format and the batching rule.
//!
//! Nothing in here does I/O, sleeps or reads a clock; whoever calls passes `now`.
//!
//! * [`stamp`]: the values of a stamp and how they are read from text and JSON.
//! * [`event`]: a stamp as a Kafka record.
//! * [`batch`]: which pending stamps leave together, and when; which offsets are finished.

pub mod batch;
pub mod event;
pub mod stamp;
