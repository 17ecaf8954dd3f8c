//! Measures both services on real servers. Each figure stands beside a limit that was measured in the same round, and
//! their ratio is what counts: machines differ, and one machine differs from hour to hour.

#![allow(clippy::missing_panics_doc, reason = "what can't be measured ends the run")]

pub mod bench;
pub mod bulk;
pub mod deliveries;
pub mod drain;
pub mod events;
pub mod figures;
pub mod growth;
pub mod http;
pub mod ids;
pub mod intake;
pub mod lateness;
pub mod limits;
pub mod load;
pub mod nothing;
pub mod options;
pub mod pace;
pub mod requests;
pub mod rows;
pub mod run;
pub mod servers;
pub mod services;
pub mod stats;
pub mod steady;
pub mod table;
pub mod usage;
