//! The judge. It knows the log, the group and the tables, and what the heart was told; it never looks into the heart.
//!
//! * [`facts`]: what is so; [`holdings`]: what a listener has in hand, and so owes.
//! * [`told`], [`commanded`], [`writes`]: what follows from each event and command.
//! * [`offsets`]: what is committed.
//! * [`net`]: what the table's net owes, and the tables.

mod commanded;
pub(crate) mod facts;
pub(crate) mod holdings;
pub(crate) mod net;
pub(crate) mod offsets;
mod told;
mod writes;
