-- What a pending row has to say so that the database itself knows when a stamp is due, and so that an event of
-- another producer can wait here too. Older binaries write rows without a due time; those are found by their stamp.
-- Adding the columns touches no row: stored_at gets its default afterwards, for new rows alone.
ALTER TABLE pending_stamps
    ADD COLUMN due_at          timestamptz,
    ADD COLUMN stored_at       timestamptz,
    ADD COLUMN retry_at        timestamptz,
    ADD COLUMN refusals        integer NOT NULL DEFAULT 0,
    ADD COLUMN kafka_topic     text COLLATE "C",
    ADD COLUMN kafka_partition integer,
    ADD COLUMN kafka_offset    bigint,
    ADD COLUMN kafka_timestamp bigint,
    ALTER COLUMN owner DROP NOT NULL,
    ALTER COLUMN seq DROP NOT NULL,
    ALTER COLUMN stored_at SET DEFAULT clock_timestamp(),
    -- The rows that are there all have an owner: there is nothing to check.
    ADD CONSTRAINT pending_stamps_have_an_owner_or_coordinates CHECK (
        CASE WHEN owner IS NULL
            THEN seq IS NULL
                AND num_nulls(due_at, kafka_topic, kafka_partition, kafka_offset, kafka_timestamp) = 0
            ELSE seq IS NOT NULL
        END) NOT VALID;
COMMENT ON COLUMN pending_stamps.owner IS 'null for an event of another producer, which no outbox publishes';
COMMENT ON COLUMN pending_stamps.due_at IS 'when the stamp has to leave; null from older binaries';
COMMENT ON COLUMN pending_stamps.retry_at IS 'not to be taken from the table before, after the database refused it';
COMMENT ON COLUMN pending_stamps.refusals IS 'how often the database has refused it';
COMMENT ON COLUMN pending_stamps.kafka_timestamp IS 'milliseconds since 1970, -1 if the record has none';

-- Due times are compared in ranges. The other two are small: rows of older binaries, and those that wait in the table
-- alone. Whoever writes here waits until they are built.
CREATE INDEX pending_stamps_due_at ON pending_stamps (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX pending_stamps_without_due_at ON pending_stamps (stamp_id) WHERE due_at IS NULL;
CREATE INDEX pending_stamps_distant ON pending_stamps (due_at) WHERE kafka_offset IS NOT NULL;

-- Stamps that left by the table before anybody knew their event to be in Kafka. It is published all the same: by
-- the owner, or by who takes its outbox over.
CREATE TABLE left_events (
    stamp_id     bigint      NOT NULL PRIMARY KEY,
    owner        bigint      NOT NULL,
    seq          bigint      NOT NULL,
    left_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);
CREATE INDEX left_events_unpublished ON left_events (owner, seq) WHERE published_at IS NULL;
