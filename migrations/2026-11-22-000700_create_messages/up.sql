-- One row for each record of a user's messages, for ever: the unique coordinates decide every race between those
-- who read the topics. A message that is deleted for good keeps them and nothing else. Were its row removed, or
-- kept in a table of its own, a reader that is under way could bring it back. Whatever else a deleted row loses
-- is null, and nothing of a message that is there may be.
CREATE TABLE stored_messages (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject         varchar(255),
    uuid            uuid        DEFAULT gen_random_uuid() UNIQUE,
    body            text,
    reference_url   text,
    is_active       boolean     DEFAULT true,
    created_by      text        DEFAULT 'System Account',
    created_date    timestamptz DEFAULT now(),
    modified_by     text        DEFAULT 'System Account',
    modified_date   timestamptz DEFAULT now(),
    kafka_topic     text COLLATE "C" NOT NULL,
    kafka_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    kafka_timestamp bigint      NOT NULL,
    kafka_key       text,
    recipient       uuid,
    deleted_at      timestamptz,
    UNIQUE (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp),
    CONSTRAINT stored_messages_are_whole_or_gone CHECK (
        CASE WHEN deleted_at IS NULL
            THEN num_nulls(subject, uuid, body, is_active, created_by, created_date, modified_by, recipient) = 0
            ELSE num_nonnulls(subject, uuid, body, reference_url, is_active, created_by, created_date,
                              modified_by, modified_date, kafka_key, recipient) = 0
        END)
);
COMMENT ON COLUMN stored_messages.created_date IS 'when it was stored';
COMMENT ON COLUMN stored_messages.kafka_timestamp IS 'milliseconds since 1970, -1 if the record has none';

-- A page of one user's inbox or trash, newest first.
CREATE INDEX stored_messages_folder ON stored_messages (recipient, is_active, id DESC) WHERE deleted_at IS NULL;

CREATE VIEW messages AS
SELECT
    id, subject, uuid, body, reference_url, is_active, created_by, created_date, modified_by, modified_date,
    kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, kafka_key, recipient
FROM stored_messages
WHERE deleted_at IS NULL;
