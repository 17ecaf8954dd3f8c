-- The identities under which stamp-api processes put stamps into the outbox. A live process renews seen_at;
-- up to published_through everything of that owner is known to be in Kafka. A retired owner takes no new rows.
CREATE TABLE intake_owners (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    published_through bigint      NOT NULL DEFAULT 0,
    retired           boolean     NOT NULL DEFAULT false,
    seen_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The outbox: one row from the moment a stamp is accepted until it is processed. What is in here is the list
-- of pending stamps. seq counts within the owner, so that publishing needs no write for each row.
CREATE TABLE pending_stamps (
    stamp_id bigint NOT NULL PRIMARY KEY,
    owner    bigint NOT NULL,
    seq      bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX pending_stamps_owner_seq ON pending_stamps (owner, seq);
