CREATE OR REPLACE VIEW stamp_states AS
SELECT
    s.object_cid,
    coalesce(p.time_tolerance, s.time_tolerance) AS time_tolerance,
    coalesce(p.created_date, s.created_date) AS created_date,
    coalesce(p.created_date, s.created_date)
        + make_interval(mins => coalesce(p.time_tolerance, s.time_tolerance)) AS process_after,
    CASE WHEN p.stamp_id IS NULL THEN 'pending' ELSE 'processed' END AS state,
    p.batch_id,
    b.trigger,
    b.processed_at,
    CASE WHEN p.kafka_offset IS NOT NULL THEN coalesce(p.kafka_topic, b.topic) END AS kafka_topic,
    p.kafka_partition,
    p.kafka_offset,
    b.size AS batch_size
FROM stamps s
LEFT JOIN processed_stamps p ON p.stamp_id = s.id
LEFT JOIN batches b ON b.id = p.batch_id;
