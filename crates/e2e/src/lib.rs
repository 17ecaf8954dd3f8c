//! Both services as processes on real servers: what the tests in `tests/it`, `chaos` and `lateness` work with.

#![allow(clippy::missing_panics_doc, reason = "a failed expectation is a failed test")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

pub mod figures;
pub mod process;
pub mod world;
