//! One write of batches: its parameters, and what the database has made of them.

use std::collections::HashSet;
use std::time::Instant;

use chrono::{DateTime, Utc};
use domain::batch::heart::{Batch, Member};
use domain::batch::policy::Trigger;
use domain::delivery::Sink;

use super::made::{MadeBatch, Maker, Processed, Won, join, make, trigger_of};
use crate::clock::ClockSample;
use crate::connection::{Parameter, Session};
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// Batches that are to be written.
pub(super) struct BatchWrite {
    members: Vec<Member>,
    /// The batch of each member, by position.
    batches: Vec<i32>,
    triggers: Vec<Trigger>,
    maker: Maker,
}

/// Some of the members, column by column.
#[derive(Default)]
struct MemberColumns<'a> {
    positions: Vec<usize>,
    ids: Vec<&'a str>,
    tolerances: Vec<i32>,
    dates: Vec<DateTime<Utc>>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    batches: Vec<i32>,
}

impl<'a> MemberColumns<'a> {
    fn push(&mut self, position: usize, member: &'a Member, batch: i32) {
        self.positions.push(position);
        self.ids.push(member.stamp.object_cid().as_str());
        self.tolerances.push(member.stamp.time_tolerance().minutes());
        self.dates.push(member.stamp.created_date());
        self.partitions.push(member.partition);
        self.offsets.push(member.offset);
        self.batches.push(batch);
    }

    fn parameters(&self) -> [&dyn Parameter; 6] {
        [&self.ids, &self.tolerances, &self.dates, &self.partitions, &self.offsets, &self.batches]
    }
}

impl BatchWrite {
    pub(super) fn of(batches: &[Batch], maker: &Maker) -> Self {
        let index = |(index, batch): (usize, &Batch)| std::iter::repeat_n(index as i32, batch.members.len());
        Self {
            members: batches.iter().flat_map(|batch| &batch.members).cloned().collect(),
            batches: batches.iter().enumerate().flat_map(index).collect(),
            triggers: batches.iter().map(|batch| batch.trigger).collect(),
            maker: maker.clone(),
        }
    }

    /// Supposes from now on that every member has a row.
    pub(super) fn suppose_rows(&mut self) {
        self.members.iter_mut().for_each(|member| member.has_row = true);
    }

    /// Sorts the members by whether they have a row, those without one by their ids, as all writers do.
    fn columns(&self) -> [MemberColumns<'_>; 2] {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.sort_unstable_by_key(|position| self.members[*position].stamp.object_cid().as_str());
        let mut columns = [MemberColumns::default(), MemberColumns::default()];
        for position in order {
            let member = &self.members[position];
            columns[usize::from(member.has_row)].push(position, member, self.batches[position]);
        }
        columns
    }

    /// Processes the batches.
    pub(super) async fn process(&self, session: &Session) -> Result<Processed, DatabaseError> {
        match self.try_to_process(session, "").await {
            // Somebody has stored one of the stamps since it was looked up.
            Err(error) if error.is_taken() => {
                self.try_to_process(session, "ON CONFLICT (object_cid) DO NOTHING").await
            }
            done => done,
        }
    }

    async fn try_to_process(&self, session: &Session, on_conflict: &str) -> Result<Processed, DatabaseError> {
        let [new, known] = self.columns();
        let triggers: Vec<&str> = self.triggers.iter().map(|trigger| trigger.as_str()).collect();
        let mut parameters = [new.parameters(), known.parameters()].concat();
        parameters.extend([&triggers as &dyn Parameter, &self.maker.listener, &self.maker.topic]);
        let sent = Instant::now();
        let row = session.query_one(&statement(on_conflict, self.maker.sink), &parameters).await?;
        let received = Instant::now();
        let (indexes, ids): (Vec<i64>, Vec<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let (sizes, processed_at): (Vec<i32>, Option<DateTime<Utc>>) = (row.try_get(2)?, row.try_get(3)?);
        let mut made_of = vec![None; self.triggers.len()];
        for (index, batch) in indexes.iter().zip(&ids) {
            made_of[*index as usize - 1] =
                processed_at.map(|processed_at| Won { batch: *batch, processed_at });
        }
        let win = |position: usize| made_of[self.batches[position] as usize];
        let mut won: Vec<Option<Won>> = (0..self.members.len()).map(win).collect();
        // Told only where not all were won.
        if let Some(made) = row.try_get::<_, Option<Vec<&str>>>(4)? {
            let made: HashSet<&str> = made.into_iter().collect();
            for (position, id) in new.positions.iter().zip(&new.ids) {
                if !made.contains(id) {
                    won[*position] = None;
                }
            }
        }
        let taken: Option<Vec<i64>> = row.try_get(5)?;
        let taken = taken.iter().flatten().map(|ordinal| known.positions[*ordinal as usize - 1]);
        if row.try_get(6)? {
            for position in &known.positions {
                won[*position] = None;
            }
            for position in taken.clone() {
                won[position] = win(position);
            }
        }
        let mut members = vec![Vec::new(); self.triggers.len()];
        if self.maker.sink.is_some() {
            // A row that was there has a lower id than one that was made now, in the order of the `object_cid`s.
            let made = new.positions.iter().copied().filter(|position| won[*position].is_some());
            for position in taken.chain(made) {
                members[self.batches[position] as usize].push(position);
            }
        }
        let made = |((index, id), size): ((i64, i64), i32)| {
            let index = index as usize - 1;
            let (trigger, members) = (self.triggers[index], std::mem::take(&mut members[index]));
            Some(MadeBatch { id, trigger, size: size as usize, processed_at: processed_at?, members })
        };
        let batches = indexes.into_iter().zip(ids).zip(sizes).filter_map(made).collect();
        Ok(Processed { won, batches, clock: processed_at.map(|time| ClockSample { sent, time, received }) })
    }

    /// Returns the members that were not won, with their positions.
    fn lost<'a>(&'a self, processed: &Processed) -> MemberColumns<'a> {
        let mut lost = MemberColumns::default();
        for (position, member) in self.members.iter().enumerate() {
            if processed.won[position].is_none() {
                lost.push(position, member, self.batches[position]);
            }
        }
        lost
    }

    /// Tells whether any stamp that was not won is still to be had.
    pub(super) async fn are_pending(
        &self,
        session: &Session,
        processed: &Processed,
    ) -> Result<bool, DatabaseError> {
        const SQL: &str = "
            SELECT EXISTS (
                SELECT FROM unnest($1::text[]) AS i (object_cid)
                JOIN stamps s ON s.object_cid = i.object_cid
                JOIN pending_stamps p ON p.stamp_id = s.id)";
        Ok(session.query_one(SQL, &[&self.lost(processed).ids]).await?.try_get(0)?)
    }

    /// Finds what an earlier try has processed, whose answer was lost.
    pub(super) async fn recover(
        &self,
        session: &Session,
        processed: &mut Processed,
    ) -> Result<(), DatabaseError> {
        const SQL: &str = "
            SELECT i.ordinal, b.processed_at, b.id, b.trigger, b.size
            FROM unnest($1::text[], $2::int4[], $3::int8[]) WITH ORDINALITY
                AS i (object_cid, kafka_partition, kafka_offset, ordinal)
            JOIN stamps s ON s.object_cid = i.object_cid
            LEFT JOIN processed_stamps p ON p.stamp_id = s.id
            JOIN batches b ON b.id = coalesce(s.batch_id, p.batch_id) AND b.listener = $4 AND b.topic = $5
            WHERE coalesce(s.kafka_partition, p.kafka_partition) = i.kafka_partition
              AND coalesce(s.kafka_offset, p.kafka_offset) = i.kafka_offset
            ORDER BY b.id";
        let MemberColumns { positions, ids, partitions, offsets, .. } = self.lost(processed);
        let parameters: [&dyn Parameter; 5] =
            [&ids, &partitions, &offsets, &self.maker.listener, &self.maker.topic];
        for row in session.query(SQL, &parameters).await? {
            let (ordinal, processed_at, id): (i64, _, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            processed.won[positions[ordinal as usize - 1]] = Some(Won { batch: id, processed_at });
            // In order of the batches, so the members of one come together.
            if processed.batches.last().is_none_or(|last| last.id != id) {
                let (name, size): (&str, i32) = (row.try_get(3)?, row.try_get(4)?);
                let (trigger, members) = (trigger_of(name), Vec::new());
                processed.batches.push(MadeBatch { id, trigger, size: size as usize, processed_at, members });
            }
        }
        Ok(())
    }
}

/// Returns the statement that processes batches: stamps that have no row, in the order of their ids, those that have
/// one, and the triggers of the batches.
///
/// Where batches are told it also returns in which order the internal ids of the stamps stand that had a row.
///
/// Rows are found by their keys, whatever the planner thinks of the tables: of `OFFSET 0` and of an array it makes no
/// join, which might read a whole index. An array is walked through in the order of the keys.
fn statement(on_conflict: &str, sink: Option<Sink>) -> String {
    let (join, make, is_told) = (join("taken", "$15"), make("$14", "$15", sink), sink.is_some());
    format!(
        "
        WITH numbered AS MATERIALIZED (
            SELECT t.ordinal AS batch, t.trigger, nextval('batches_id_seq') AS id
            FROM unnest($13::text[]) WITH ORDINALITY AS t (trigger, ordinal)
        ), numbers AS MATERIALIZED (
            SELECT ARRAY(SELECT id FROM numbered ORDER BY batch) AS ids
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date, batch_id, kafka_partition, kafka_offset)
            SELECT i.object_cid, i.time_tolerance, i.created_date, (SELECT ids FROM numbers)[i.batch + 1],
                i.kafka_partition, i.kafka_offset
            FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::int4[], $5::int8[], $6::int4[])
                AS i (object_cid, time_tolerance, created_date, kafka_partition, kafka_offset, batch)
            WHERE {DURABLE}
            {on_conflict}
            RETURNING object_cid, batch_id
        ), known AS MATERIALIZED (
            SELECT s.stamp_id, i.*
            FROM unnest($7::text[], $8::int4[], $9::timestamptz[], $10::int4[], $11::int8[], $12::int4[])
                WITH ORDINALITY
                AS i (object_cid, time_tolerance, created_date, kafka_partition, kafka_offset, batch, ordinal)
            CROSS JOIN LATERAL (SELECT id AS stamp_id FROM stamps WHERE object_cid = i.object_cid OFFSET 0) AS s
            WHERE {DURABLE}
        ), freed AS (
            DELETE FROM pending_stamps p WHERE p.stamp_id = ANY (ARRAY(SELECT stamp_id FROM known))
            RETURNING p.stamp_id, p.kafka_topic, p.kafka_partition, p.kafka_offset
        ), taken AS MATERIALIZED (
            SELECT k.stamp_id, k.ordinal, k.time_tolerance, k.created_date, f.kafka_topic,
                (SELECT ids FROM numbers)[k.batch + 1] AS batch_id,
                coalesce(f.kafka_partition, k.kafka_partition) AS kafka_partition,
                coalesce(f.kafka_offset, k.kafka_offset) AS kafka_offset
            FROM known k JOIN freed f ON f.stamp_id = k.stamp_id
        ), {join}, won AS (
            SELECT batch_id FROM taken UNION ALL SELECT batch_id FROM made
        ), {make}
        SELECT
            ARRAY(SELECT batch FROM sized ORDER BY id),
            ARRAY(SELECT id FROM sized ORDER BY id),
            ARRAY(SELECT size FROM sized ORDER BY id),
            (SELECT max(processed_at) FROM batched),
            CASE WHEN (SELECT count(*) FROM made) < cardinality($1) THEN ARRAY(SELECT object_cid FROM made) END,
            CASE WHEN {is_told} OR (SELECT count(*) FROM taken) < cardinality($7)
                THEN ARRAY(SELECT ordinal FROM taken ORDER BY stamp_id) END,
            (SELECT count(*) FROM taken) < cardinality($7)"
    )
}
