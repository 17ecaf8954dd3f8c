//! What is true on paper, without computers: stamps, user messages, their wire formats and the batching rule.
//!
//! Nothing in here does I/O, sleeps or reads a clock; whoever calls passes `now`.
//!
//! * [`stamp`]: the values of a stamp, how they are read from text and JSON, and a stamp as a Kafka record.
//! * [`message`]: a user message: its values, as a Kafka record, its topic and key.
//! * [`fields`], [`record`]: what stamps and messages share: members and what is wrong with them; records.
//! * [`batch`]: which pending stamps leave together, and when; which offsets are finished.
//! * [`delivery`]: telling the outside of batches: what, to whom, and when again.
//! * [`trace`]: the place of a request in a trace.
//! * [`backoff`]: how long to wait before another try.
//! * [`outbox`]: who publishes which stored event, and up to where everything is in Kafka.

pub mod backoff;
pub mod batch;
pub mod delivery;
pub mod fields;
pub mod message;
pub mod outbox;
pub mod record;
pub mod stamp;
pub mod trace;
