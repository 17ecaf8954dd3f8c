//! What the ways of stamps and of messages do as members of a consumer group.
//!
//! * [`member`]: how a member is configured, the one place that commits offsets, and pausing.
//! * [`ends`]: how far partitions reach beyond what was read and committed.
//! * [`behind`]: for how long what is not read has waited.
//! * [`undecodable`]: a batch that the client library can't decode, and the other errors of a client.
//! * [`recreated`]: notices a topic that was deleted and recreated under the same name.
//! * [`refusals`]: what Kafka refuses, until its operator acts.
//! * [`reread`]: reads outside of any group, such as one record again.

pub(crate) mod behind;
pub(crate) mod ends;
pub(crate) mod member;
pub(crate) mod recreated;
pub(crate) mod refusals;
pub(crate) mod reread;
pub(crate) mod undecodable;
