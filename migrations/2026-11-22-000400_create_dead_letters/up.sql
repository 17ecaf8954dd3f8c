-- Records that could not be understood, their bytes untouched. The timestamp belongs to the coordinates
-- because a topic that is deleted and made again starts at offset 0.
CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    "timestamp" bigint      NOT NULL,
    key         bytea,
    value       bytea,
    headers     jsonb       NOT NULL DEFAULT '[]',
    reason      text        NOT NULL,
    detail      text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replays     integer     NOT NULL DEFAULT 0,
    replayed_at timestamptz,
    resolved_at timestamptz,
    UNIQUE (topic, partition, "offset", "timestamp")
);
COMMENT ON COLUMN dead_letters."timestamp" IS 'milliseconds since 1970, -1 if the record has none';
