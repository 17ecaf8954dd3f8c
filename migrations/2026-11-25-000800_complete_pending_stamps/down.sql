DROP TABLE left_events;
DROP INDEX pending_stamps_distant, pending_stamps_without_due_at, pending_stamps_due_at;
ALTER TABLE pending_stamps DROP CONSTRAINT pending_stamps_have_an_owner_or_coordinates;
-- Nobody is owner 0: as before, the sweeper publishes what no owner will.
UPDATE pending_stamps SET owner = 0, seq = 0 WHERE owner IS NULL;
ALTER TABLE pending_stamps
    ALTER COLUMN owner SET NOT NULL,
    ALTER COLUMN seq SET NOT NULL,
    DROP COLUMN due_at,
    DROP COLUMN stored_at,
    DROP COLUMN retry_at,
    DROP COLUMN refusals,
    DROP COLUMN kafka_topic,
    DROP COLUMN kafka_partition,
    DROP COLUMN kafka_offset,
    DROP COLUMN kafka_timestamp;
