//! What the poll thread tells the shell about partitions.

use std::sync::mpsc;

use domain::batch::assignment::{Assignment, Commit};

/// What happens to partitions.
#[derive(Debug)]
pub(crate) enum Control {
    /// Partitions were assigned.
    Assigned(Vec<Assignment>),
    /// Partitions are taken away. `reply` takes what may be committed for them; there is none if they are somebody
    /// else's already.
    Revoked { assignments: Vec<Assignment>, lost: bool, reply: Option<mpsc::Sender<Vec<Commit>>> },
    /// What is committed, as far as the client knows.
    Known(Vec<Commit>),
}
