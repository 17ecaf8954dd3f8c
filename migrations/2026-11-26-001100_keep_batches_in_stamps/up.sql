-- A stamp of another producer that is first stored when it is processed is one row: its batch and the coordinates of its
-- event are beside it. The stamp of a pending row has none of the three, also once it is processed; that is told by
-- `processed_stamps`, because updating a row costs more than inserting one.
-- Who reads the view locks it first and the tables then; in another order a reader and this would wait for each other.
LOCK TABLE stamp_states IN ACCESS EXCLUSIVE MODE;

ALTER TABLE stamps
    ADD COLUMN batch_id        bigint,
    ADD COLUMN kafka_partition integer,
    ADD COLUMN kafka_offset    bigint;
CREATE INDEX IF NOT EXISTS stamps_batch_id ON stamps (batch_id) WHERE batch_id IS NOT NULL;

CREATE OR REPLACE VIEW stamp_states AS
SELECT
    s.object_cid,
    s.time_tolerance,
    s.created_date,
    s.created_date + make_interval(mins => s.time_tolerance) AS process_after,
    'pending'::text AS state,
    NULL::bigint AS batch_id,
    NULL::text AS trigger,
    NULL::timestamptz AS processed_at,
    NULL::text AS kafka_topic,
    NULL::integer AS kafka_partition,
    NULL::bigint AS kafka_offset,
    NULL::integer AS batch_size
FROM pending_stamps q
JOIN stamps s ON s.id = q.stamp_id
UNION ALL
SELECT
    s.object_cid,
    coalesce(p.time_tolerance, s.time_tolerance),
    coalesce(p.created_date, s.created_date),
    coalesce(p.created_date, s.created_date)
        + make_interval(mins => coalesce(p.time_tolerance, s.time_tolerance)),
    'processed',
    p.batch_id,
    b.trigger,
    b.processed_at,
    CASE WHEN p.kafka_offset IS NOT NULL THEN coalesce(p.kafka_topic, b.topic) END,
    p.kafka_partition,
    p.kafka_offset,
    b.size
FROM processed_stamps p
JOIN stamps s ON s.id = p.stamp_id
JOIN batches b ON b.id = p.batch_id
UNION ALL
SELECT
    s.object_cid,
    s.time_tolerance,
    s.created_date,
    s.created_date + make_interval(mins => s.time_tolerance),
    'processed',
    s.batch_id,
    b.trigger,
    b.processed_at,
    b.topic,
    s.kafka_partition,
    s.kafka_offset,
    b.size
FROM stamps s
JOIN batches b ON b.id = s.batch_id;
