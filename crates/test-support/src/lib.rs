//! What tests on real servers share: the stack, a database and a topic of one's own, and patience.
//!
//! Nothing in here is part of the services. A failure panics: it is a test that fails.

#![allow(clippy::missing_panics_doc, reason = "a failed expectation is a failed test")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

pub mod database;
pub mod guarded;
pub mod host_clock;
pub mod patience;
pub mod pooler;
pub mod postgres;
pub mod proxy;
pub mod servers;
pub mod stack;
pub mod tls;
pub mod topic;
pub mod transaction;

pub use database::{Role, Template, TestDatabase};
pub use guarded::GuardedKafka;
pub use host_clock::HostClock;
pub use patience::eventually;
pub use pooler::PgBouncer;
pub use postgres::OwnPostgres;
pub use proxy::{KafkaLink, Proxy};
pub use servers::{Directory, OwnKafka};
pub use stack::{Stack, stack};
pub use topic::TestTopic;
pub use transaction::OpenTransaction;
