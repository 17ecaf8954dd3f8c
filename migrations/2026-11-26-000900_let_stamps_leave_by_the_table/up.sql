-- Who reads the view locks it first and the tables then; in another order a reader and this would wait for each other.
LOCK TABLE stamp_states IN ACCESS EXCLUSIVE MODE;

-- A stamp that leaves by the table may do so before anybody has read its event: then it has no coordinates, and keeps
-- none. Where it has some, they may be of another topic than its batch's.
ALTER TABLE processed_stamps
    ALTER COLUMN kafka_partition DROP NOT NULL,
    ALTER COLUMN kafka_offset DROP NOT NULL,
    ADD COLUMN kafka_topic text;
COMMENT ON COLUMN processed_stamps.kafka_topic IS 'null for the topic of the batch';

-- How long an event that is not in Kafka has waited is counted from the stamp's arrival, also after it has left.
ALTER TABLE left_events ADD COLUMN stored_at timestamptz;

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
