//! Puts batches and dead letters into PostgreSQL, however long that takes.

use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;

use domain::batch::policy::Trigger;
use domain::event;
use platform::kafka::KafkaSettings;
use platform::postgres::dead_letters::replays::{self, Claim, Verdict};
use platform::postgres::dead_letters::{self, DeadLetter};
use platform::postgres::processing::{self, Member, Processed};
use platform::postgres::{Database, DatabaseError, ErrorClass};
use platform::retry::Backoff;

use crate::record::{self, Record};
use crate::replay::Replay;

/// Writes for one listener.
pub(crate) struct Writer {
    pub(crate) database: Database,
    pub(crate) kafka: KafkaSettings,
    /// What the instance is called in `batches.listener`.
    pub(crate) listener: String,
    /// Where its records come from.
    pub(crate) topic: String,
}

/// An error that no waiting mends. The process stops and names it.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct Unwritable {
    step: &'static str,
    source: DatabaseError,
}

/// What became of members that were to be processed.
pub(crate) struct Written {
    pub(crate) processed: Processed,
    /// How many of them the database refuses; they are dead letters now.
    pub(crate) refused: usize,
}

impl Writer {
    /// Processes batches, in one transaction unless the database makes difficulties.
    ///
    /// An outage is waited for. Where the data is at fault the members are divided until the culprit stands
    /// alone; it becomes a dead letter and the others are processed. Many that take too long together are
    /// divided as well, so that a slow disk slows the listener down instead of stopping it.
    pub(crate) async fn process(
        &self,
        members: &[Member],
        triggers: &[Trigger],
    ) -> Result<Written, Unwritable> {
        const STEP: &str = "batches can't be written";
        let processed = Processed { won: vec![None; members.len()], batches: Vec::new(), clock: None };
        let mut written = Written { processed, refused: 0 };
        // What has to be written still, the next part last.
        let mut parts: Vec<Range<usize>> = std::iter::once(0..members.len()).collect();
        let mut backoff = Backoff::default();
        let mut lost = false;
        while let Some(part) = parts.pop() {
            let some = members[part.clone()].to_vec();
            let result =
                processing::process(&self.database, some, triggers, &self.listener, &self.topic, lost).await;
            match result {
                Ok(processed) => {
                    backoff = Backoff::default();
                    merge(&mut written.processed, part, processed);
                }
                Err(error) if error.class() == ErrorClass::Data && part.len() == 1 => {
                    self.bury_refused(&members[part.start], &error).await?;
                    written.refused += 1;
                }
                Err(error) if error.class() == ErrorClass::Data => parts.extend(divide(members, part)),
                Err(source) if source.class() == ErrorClass::Fatal => {
                    return Err(Unwritable { step: STEP, source });
                }
                Err(error) => {
                    lost |= !error.had_no_effect();
                    wait(STEP, &error, &mut backoff).await;
                    let too_slow = matches!(error, DatabaseError::Timeout(_)) && part.len() > 1;
                    if too_slow { parts.extend(divide(members, part)) } else { parts.push(part) }
                }
            }
        }
        Ok(written)
    }

    /// Returns those of the ids whose stamps are processed.
    pub(crate) async fn processed_among(&self, ids: &[String]) -> Result<HashSet<String>, Unwritable> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        patiently("processed stamps can't be looked up", || processing::processed_among(&self.database, &ids))
            .await
    }

    /// Stores dead letters, each once.
    pub(crate) async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Unwritable> {
        if letters.is_empty() {
            return Ok(());
        }
        patiently("dead letters can't be written", || dead_letters::store(&self.database, letters)).await?;
        letters.iter().for_each(tell_of);
        Ok(())
    }

    /// Finds out which records repeat dead letters, and settles those. Returns what each record is, and whether it
    /// repeats one.
    pub(crate) async fn settle(&self, replays: Vec<Replay>) -> Result<Vec<(Record, bool)>, Unwritable> {
        if replays.is_empty() {
            return Ok(Vec::new());
        }
        let claims: Vec<Claim> = replays.iter().map(|replay| replay.claim.clone()).collect();
        let found = self.recognise(&claims).await?;
        let genuine = replays.iter().zip(&found);
        let verdicts: Vec<Verdict> =
            genuine.filter_map(|(replay, id)| Some(replay.verdict((*id)?))).collect();
        self.pass(&verdicts).await?;
        let records = replays.into_iter().zip(found);
        Ok(records.map(|(replay, id)| (replay.into_record(id.is_some()), id.is_some())).collect())
    }

    async fn recognise(&self, claims: &[Claim]) -> Result<Vec<Option<i64>>, Unwritable> {
        patiently("replays can't be looked up", || replays::recognise(&self.database, claims)).await
    }

    async fn pass(&self, verdicts: &[Verdict]) -> Result<(), Unwritable> {
        if verdicts.is_empty() {
            return Ok(());
        }
        patiently("replays can't be settled", || replays::settle(&self.database, verdicts)).await?;
        let understood = verdicts.iter().filter(|verdict| verdict.understood).count();
        tracing::info!(replays = verdicts.len(), understood, "dead letters were replayed");
        Ok(())
    }

    /// Makes a dead letter of a stamp that the database refuses, with the bytes that Kafka still has.
    async fn bury_refused(&self, member: &Member, error: &DatabaseError) -> Result<(), Unwritable> {
        let detail = error.to_string();
        let (config, topic) = (self.kafka.client_config(), self.topic.clone());
        let (partition, offset) = (member.partition, member.offset);
        let read = tokio::task::spawn_blocking(move || {
            record::read_again(&config, &topic, partition, offset, "refused_by_database", &detail)
        });
        let (letter, claim) = read.await.ok().flatten().unwrap_or_else(|| {
            let letter = DeadLetter {
                topic: self.topic.clone(),
                partition,
                offset,
                timestamp: -1,
                key: Some(member.stamp.object_cid().as_str().into()),
                value: Some(event::encode(&member.stamp)),
                headers: serde_json::json!([]),
                reason: "refused_by_database".to_owned(),
                detail: format!("{error} (the record can't be read again; this is what it said)"),
            };
            (letter, None)
        });
        // A replay that was understood and is refused after all is one that came back.
        let found = self.recognise(claim.as_slice()).await?.pop().flatten();
        match claim.zip(found) {
            Some((claim, id)) => {
                let replays = claim.replays;
                self.pass(&[Verdict { id, replays, understood: false }]).await
            }
            None => self.bury(&[letter]).await,
        }
    }
}

fn merge(all: &mut Processed, part: Range<usize>, processed: Processed) {
    all.won[part].copy_from_slice(&processed.won);
    all.batches.extend(processed.batches);
    all.clock = processed.clock.or(all.clock);
}

/// Cuts a part in two, between two batches where there is more than one. The first half is written first.
fn divide(members: &[Member], part: Range<usize>) -> [Range<usize>; 2] {
    let middle = part.start + part.len() / 2;
    let between = |cut: &usize| members[*cut - 1].batch != members[*cut].batch;
    let cut = (middle..part.end).find(between).or_else(|| (part.start + 1..middle).rev().find(between));
    let cut = cut.unwrap_or(middle);
    [cut..part.end, part.start..cut]
}

/// Logs a dead letter that was stored.
pub(crate) fn tell_of(letter: &DeadLetter) {
    let DeadLetter { topic, partition, offset, reason, detail, .. } = letter;
    tracing::warn!(topic, partition, offset, reason, detail, "a record became a dead letter");
}

/// Tries until it works or no waiting can mend it.
pub(crate) async fn patiently<T, F>(
    step: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Unwritable>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(source) if source.class() != ErrorClass::Transient => {
                return Err(Unwritable { step, source });
            }
            Err(error) => wait(step, &error, &mut backoff).await,
        }
    }
}

async fn wait(step: &str, error: &DatabaseError, backoff: &mut Backoff) {
    let delay = backoff.delay();
    tracing::warn!(error = error.to_string(), delay_ms = delay.as_millis() as u64, "{step}; trying again");
    tokio::time::sleep(delay).await;
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

    use super::*;

    fn members(batches: &[usize]) -> Vec<Member> {
        let stamp = Stamp::new(
            ObjectCid::parse("a").expect("a valid id"),
            TimeTolerance::from_minutes(0).expect("a valid tolerance"),
            DateTime::UNIX_EPOCH,
        )
        .expect("a valid due time");
        let member = |batch: &usize| Member { stamp: stamp.clone(), partition: 0, offset: 0, batch: *batch };
        batches.iter().map(member).collect()
    }

    #[test]
    fn a_part_is_cut_between_batches_while_there_is_more_than_one() {
        assert_eq!(divide(&members(&[0, 0, 0, 1, 2]), 0..5), [3..5, 0..3]);
        assert_eq!(divide(&members(&[0, 1, 1, 1, 1]), 0..5), [1..5, 0..1]);
        assert_eq!(divide(&members(&[0, 0, 0, 0]), 0..4), [2..4, 0..2]);
        assert_eq!(divide(&members(&[0, 0]), 0..2), [1..2, 0..1]);
    }
}
