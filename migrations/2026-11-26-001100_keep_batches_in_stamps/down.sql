LOCK TABLE stamp_states IN ACCESS EXCLUSIVE MODE;
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
JOIN batches b ON b.id = p.batch_id;

INSERT INTO processed_stamps (stamp_id, batch_id, time_tolerance, created_date, kafka_partition, kafka_offset)
SELECT id, batch_id, time_tolerance, created_date, kafka_partition, kafka_offset FROM stamps WHERE batch_id IS NOT NULL;
ALTER TABLE stamps
    DROP COLUMN batch_id,
    DROP COLUMN kafka_partition,
    DROP COLUMN kafka_offset;
