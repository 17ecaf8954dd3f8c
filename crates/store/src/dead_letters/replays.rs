//! A dead letter that is published once more: recognised where it is read, settled, and marked. Why `replays` numbers
//! its publications is told in [`domain::record::replay`].

use domain::record::{Claim, Verdict};

use super::LIMIT;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// Returns the dead letter that each record repeats, or `None` where there is none with these coordinates and
/// these very bytes.
///
/// # Errors
/// Whatever the database says.
pub async fn recognise(database: &Database, claims: &[Claim]) -> Result<Vec<Option<i64>>, DatabaseError> {
    const SQL: &str = r#"
        SELECT i.ordinal, d.id
        FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[]) WITH ORDINALITY
            AS i (topic, partition, "offset", "timestamp", key, value, ordinal)
        JOIN dead_letters d ON d.topic = i.topic AND d.partition = i.partition AND d."offset" = i."offset"
            AND d."timestamp" = i."timestamp"
            AND d.key IS NOT DISTINCT FROM i.key AND d.value IS NOT DISTINCT FROM i.value"#;
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let claims = claims.to_vec();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let topics: Vec<&str> = claims.iter().map(|claim| claim.original.topic.as_str()).collect();
                let partitions: Vec<i32> = claims.iter().map(|claim| claim.original.partition).collect();
                let offsets: Vec<i64> = claims.iter().map(|claim| claim.original.offset).collect();
                let timestamps: Vec<i64> = claims.iter().map(|claim| claim.original.timestamp).collect();
                let keys: Vec<Option<&[u8]>> = claims.iter().map(|claim| claim.key.as_deref()).collect();
                let values: Vec<Option<&[u8]>> = claims.iter().map(|claim| claim.value.as_deref()).collect();
                let rows = session
                    .query(SQL, &[&topics, &partitions, &offsets, &timestamps, &keys, &values])
                    .await?;
                let mut found = vec![None; claims.len()];
                for row in rows {
                    let (ordinal, id): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
                    found[ordinal as usize - 1] = Some(id);
                }
                Ok(found)
            })
        })
        .await
}

/// Settles replays: one that is understood is resolved, another one counts and waits for the next replay. Returns how
/// many dead letters that has changed.
///
/// A record that doesn't tell which publication it is counts if a replay is under way at all.
///
/// # Errors
/// Whatever the database says.
pub async fn settle(database: &Database, verdicts: &[Verdict]) -> Result<u64, DatabaseError> {
    if verdicts.is_empty() {
        return Ok(0);
    }
    let settled = update(database, verdicts).await?;
    let understood = verdicts.iter().filter(|verdict| verdict.understood).count();
    tracing::info!(
        dead_letter.replays = verdicts.len(),
        dead_letter.understood = understood,
        "dead letters were replayed"
    );
    Ok(settled)
}

/// Settles replays without a word in the log.
///
/// # Errors
/// Whatever the database says.
pub(crate) async fn update(database: &Database, verdicts: &[Verdict]) -> Result<u64, DatabaseError> {
    let sql = format!(
        r"
        WITH input AS MATERIALIZED (
            SELECT DISTINCT * FROM unnest($1::int8[], $2::int4[], $3::bool[]) AS i (id, replays, understood)
        ), locked AS MATERIALIZED (
            SELECT d.id FROM dead_letters d WHERE d.id = ANY ($1) ORDER BY d.id FOR UPDATE OF d
        )
        UPDATE dead_letters d SET
            resolved_at = CASE WHEN i.understood THEN clock_timestamp() END,
            replayed_at = CASE WHEN i.understood THEN d.replayed_at END,
            replays = d.replays + CASE WHEN i.understood THEN 0 ELSE 1 END
        FROM locked l JOIN input i ON i.id = l.id
        WHERE d.id = l.id
            AND NOT (i.understood AND d.resolved_at IS NOT NULL)
            AND coalesce(i.replays = d.replays, i.understood OR d.replayed_at IS NOT NULL)
            AND {DURABLE}"
    );
    let verdicts = verdicts.to_vec();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let ids: Vec<i64> = verdicts.iter().map(|verdict| verdict.id).collect();
                let replays: Vec<Option<i32>> = verdicts.iter().map(|verdict| verdict.replays).collect();
                let understood: Vec<bool> = verdicts.iter().map(|verdict| verdict.understood).collect();
                session.execute(&sql, &[&ids, &replays, &understood]).await
            })
        })
        .await
}

/// Notes that Kafka has acknowledged publications: each a dead letter and how often it had come back before.
/// A dead letter that has come back already since then is left as it is.
///
/// # Errors
/// Whatever the database says.
pub async fn mark_replayed(database: &Database, published: &[(i64, i32)]) -> Result<u64, DatabaseError> {
    let sql = format!(
        r"
        WITH locked AS MATERIALIZED (
            SELECT d.id FROM dead_letters d WHERE d.id = ANY ($1) ORDER BY d.id FOR UPDATE OF d
        )
        UPDATE dead_letters d SET replayed_at = clock_timestamp()
        FROM locked l JOIN unnest($1::int8[], $2::int4[]) AS i (id, replays) ON i.id = l.id
        WHERE d.id = l.id AND d.replays = i.replays AND d.replayed_at IS NULL AND {DURABLE}"
    );
    let (ids, replays): (Vec<i64>, Vec<i32>) = published.iter().copied().unzip();
    database
        .run(LIMIT, |session| Box::pin(async move { session.execute(&sql, &[&ids, &replays]).await }))
        .await
}
