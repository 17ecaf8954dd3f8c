//! An event on its way to a receiver, and what comes of it.

use domain::delivery::schedule::TryOutcome;

/// What came of a try: the outcome, and what went wrong for people.
pub(super) type Tried = (TryOutcome, Option<String>);

/// One event that is to be told.
#[derive(Debug, Clone)]
pub(super) struct OutgoingEvent {
    /// `id` of the event.
    pub(super) id: String,
    /// Id of the batch.
    pub(super) batch: i64,
    /// The event itself.
    pub(super) body: Vec<u8>,
}
