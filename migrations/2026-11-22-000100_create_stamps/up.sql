-- One row for each stamp that was ever accepted, whether over HTTP or from an event of another producer.
-- "C" compares bytes: the index is smaller and faster, and every writer sorts its rows the same way, which is
-- what keeps multi-row statements from deadlocking.
CREATE TABLE stamps (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_cid     varchar(255) COLLATE "C" NOT NULL UNIQUE,
    time_tolerance integer      NOT NULL CHECK (time_tolerance >= 0),
    created_date   timestamptz  NOT NULL
);
COMMENT ON COLUMN stamps.time_tolerance IS 'minutes';
