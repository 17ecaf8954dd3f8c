//! What stamps and messages share as Kafka records: their place, the layers around their JSON, why a record is refused,
//! and what becomes of one that is.
//!
//! * [`KafkaRecord`]: a record as it was read; [`Coordinates`]: where that was.
//! * [`Rejection`] and its [`Reason`]: why a record can't be understood; [`DeadLetter`]: the record that could not be.
//! * [`replay`]: a dead letter that is published once more.
//! * [`text`]: bytes as text, and back.

mod coordinates;
mod dead_letter;
mod json;
mod kafka;
mod reason;
mod rejection;
pub mod replay;
#[cfg(test)]
pub(crate) mod spoiling;
pub mod text;

pub use self::coordinates::Coordinates;
pub use self::dead_letter::DeadLetter;
pub(crate) use self::json::object_text;
pub use self::kafka::{Header, KafkaRecord, guarded, time_of};
pub use self::reason::Reason;
pub use self::rejection::Rejection;
pub use self::replay::{Claim, Verdict};
