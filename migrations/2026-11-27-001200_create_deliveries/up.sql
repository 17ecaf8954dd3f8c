-- What is told of batches to the outside: a row for each part, written with the batch, only where a sink is set. A batch
-- has one part until somebody finds it too large for one event; then its cuts are stored before any part is told.
CREATE TABLE deliveries (
    batch_id         bigint  NOT NULL,
    part             integer NOT NULL DEFAULT 1,
    parts            integer,
    through          integer,
    sink             text    COLLATE "C" NOT NULL,
    claims           integer NOT NULL DEFAULT 1,
    attempts         integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    next_attempt_at  timestamptz,
    delivered_at     timestamptz,
    last_error       text,
    PRIMARY KEY (batch_id, part)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON COLUMN deliveries.parts IS 'null until a part was told or the batch was cut';
COMMENT ON COLUMN deliveries.through IS 'how many of the batch''s stamps, in the order of their ids, are told with this part and those before it; null where the batch is told whole';
COMMENT ON COLUMN deliveries.claims IS 'how often a listener has taken the part in hand: what it notes of an earlier time does not count';
COMMENT ON COLUMN deliveries.next_attempt_at IS 'when the part may be taken in hand; null once it is delivered or given up';

CREATE INDEX deliveries_waiting ON deliveries (sink, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_failed ON deliveries (batch_id) WHERE next_attempt_at IS NULL AND delivered_at IS NULL;
