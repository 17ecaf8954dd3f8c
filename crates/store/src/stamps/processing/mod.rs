//! Which stamps are processed already, and processing batches: of what Kafka has brought here, of what is [`overdue`]
//! there.
//!
//! Nothing else deletes pending rows, and nothing else writes batches and their members.

mod made;
pub mod overdue;
mod write;

use std::sync::Arc;
use std::time::Duration;

use domain::batch::heart::{Batch, Member};
use domain::batch::policy::Trigger;

pub(crate) use self::made::trigger_of;
pub use self::made::{MadeBatch, Maker, Processed, Won};
use self::write::BatchWrite;
use crate::database::Database;
use crate::error::DatabaseError;

/// The limit of a statement that usually takes a tenth of a second. What takes longer than this is a lock, a link that
/// went half open, or a disk that can't keep up, and is tried again.
const LIMIT: Duration = Duration::from_secs(5);

/// What the database knows of a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampStanding {
    /// There is no row of the stamp.
    Unknown,
    /// The stamp has its row and is in no batch.
    Pending,
    /// The stamp is in a batch.
    Processed,
}

const STANDINGS: &str = "
    SELECT array_agg(i.ordinal), array_agg(found.is_processed)
    FROM unnest($1::text[]) WITH ORDINALITY AS i (object_cid, ordinal)
    CROSS JOIN LATERAL (
        SELECT s.batch_id IS NOT NULL
            OR EXISTS (SELECT FROM processed_stamps p WHERE p.stamp_id = s.id) AS is_processed
        FROM stamps s WHERE s.object_cid = i.object_cid
        -- No join is made of this, which might read a whole index.
        OFFSET 0
    ) AS found";

/// Returns what the database knows of the stamps with these ids, by position.
///
/// # Errors
/// Whatever the database says.
pub async fn standings(database: &Database, ids: &[&str]) -> Result<Vec<StampStanding>, DatabaseError> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let row = session.query_one(STANDINGS, &[&ids]).await?;
                let mut standings = vec![StampStanding::Unknown; ids.len()];
                let (known, processed): (Option<Vec<i64>>, Option<Vec<bool>>) =
                    (row.try_get(0)?, row.try_get(1)?);
                for (ordinal, processed) in known.into_iter().flatten().zip(processed.into_iter().flatten()) {
                    standings[ordinal as usize - 1] =
                        if processed { StampStanding::Processed } else { StampStanding::Pending };
                }
                Ok(standings)
            })
        })
        .await
}

/// Opens the connections for bulk statements and has each run a listener's statements on nothing. Otherwise the first
/// batches of a process wait for connections, for tables to be looked up and for statements to be planned.
///
/// # Errors
/// Whatever the database says; it mends nothing to try again.
pub async fn warm_up(database: &Database, maker: &Maker) -> Result<(), DatabaseError> {
    let nothing = Arc::new(BatchWrite::of(&[], maker));
    database
        .on_every_connection(LIMIT, |session| {
            let nothing = Arc::clone(&nothing);
            Box::pin(async move {
                nothing.process(session).await?;
                session.query(STANDINGS, &[&Vec::<&str>::new()]).await?;
                Ok(())
            })
        })
        .await
}

/// Processes batches in one transaction. Each `object_cid` may occur once among the members.
///
/// A stamp is won by whoever deletes its pending row or, for an event of another producer, inserts the stamp. Which of
/// the two is tried follows from [`Member::has_row`]; where a row has come since, the other one is tried too.
/// Only winners become members of batches; a batch without a winner is not made. So a redelivered event, a
/// replica that was thought dead or an offset that was reset wins nothing.
///
/// Rows are locked and inserted in the order of their keys throughout: two replicas that meet wait for each
/// other instead of deadlocking.
///
/// After an answer that was lost, by a broken connection or because this side gave a slow statement up, the members
/// may be in batches already. With `after_lost_answer` those of this very listener and these very records count as
/// won: nobody else has told of them.
///
/// # Errors
/// Whatever the database says; then nothing was processed, or the answer was lost and a second try finds out.
pub async fn process(
    database: &Database,
    batches: &[Batch],
    maker: &Maker,
    after_lost_answer: bool,
) -> Result<Processed, DatabaseError> {
    let mut write = BatchWrite::of(batches, maker);
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let mut processed = write.process(session).await?;
                if !processed.is_complete() && write.are_pending(session, &processed).await? {
                    // A row was committed after it had been looked for, or while this statement waited for it.
                    write.suppose_rows();
                    processed.add(write.process(session).await?);
                }
                if after_lost_answer && !processed.is_complete() {
                    write.recover(session, &mut processed).await?;
                }
                Ok(processed)
            })
        })
        .await
}

/// Processes stamps as one batch and takes that back: it only tells whether the database refuses them.
///
/// # Errors
/// Whatever the database says.
pub async fn probe(database: &Database, members: &[Member], maker: &Maker) -> Result<(), DatabaseError> {
    let batch = Batch { trigger: Trigger::Deadline, members: members.to_vec() };
    let write = BatchWrite::of(&[batch], maker);
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                session.take_back();
                write.process(session).await.map(drop)
            })
        })
        .await
}
