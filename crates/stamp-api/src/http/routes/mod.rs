//! What clients can ask for, one file or folder per resource.

pub mod batches;
pub mod bodies;
pub mod bulk;
pub mod health;
pub mod messages;
pub mod openapi;
pub mod stamps;
