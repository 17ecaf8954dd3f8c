-- Roles that may do what each program needs, and no more.
--
-- Run this in the services' database after `stamp-api migrate`, and again after each later one, before the new programs
-- start: what a migration makes is nobody's until then. It may be run at any time and leaves the same rights each time.
-- Whoever runs it is a superuser, or owns the database and its tables and may create roles.
--
-- None of the four roles can log in. Make one that can for each program:
--     CREATE ROLE my_api LOGIN PASSWORD '…' IN ROLE stamp_api;
--
-- Roles belong to the whole server: a member has the same rights in each database there in which this was run.
BEGIN;
-- A role that is a member already is no news.
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    role text;
BEGIN
    IF to_regclass('stamps') IS NULL THEN
        RAISE EXCEPTION 'the tables are not there: run stamp-api migrate first';
    END IF;
    FOREACH role IN ARRAY ARRAY['stamp_migrator', 'stamp_api', 'stamp_listener', 'stamp_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END $$;

-- The database and the schema. Before PostgreSQL 15 everybody could make tables in the schema "public".
DO $$
DECLARE
    roles text := 'stamp_migrator, stamp_api, stamp_listener, stamp_reader';
    schema text := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'stamps'::regclass);
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), roles);
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, stamp_api, stamp_listener, stamp_reader', schema);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s', schema, roles);
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO stamp_migrator', schema);
END $$;

-- stamp_migrator owns all that migrations make: only an owner can change a table. Whoever owned it so far becomes a
-- member and can do what they could. The others lose every right here and get theirs below, in the same transaction.
DO $$
DECLARE
    relation regclass;
    own_by name;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        '__diesel_schema_migrations', 'batches', 'dead_letters', 'deliveries', 'intake_owners', 'left_events', 'messages',
        'pending_stamps', 'processed_stamps', 'stamp_states', 'stamps', 'stored_messages'
    ]::regclass[] LOOP
        SELECT rolname INTO own_by FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = relation;
        IF own_by <> 'stamp_migrator' THEN
            IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = own_by) THEN
                EXECUTE format('GRANT stamp_migrator TO %I', own_by);
            END IF;
            EXECUTE format('ALTER TABLE %s OWNER TO stamp_migrator', relation);
        END IF;
        EXECUTE format('REVOKE ALL ON %s FROM stamp_api, stamp_listener, stamp_reader', relation);
    END LOOP;
END $$;
REVOKE ALL ON SEQUENCE batches_id_seq FROM stamp_api, stamp_listener, stamp_reader;

-- An UPDATE of any column is what locking a row takes (FOR UPDATE, FOR KEY SHARE). Whoever inserts with ON CONFLICT or
-- RETURNING reads as well. Columns that are numbered by themselves need no right on their sequence. A view reads and
-- writes its tables with the rights of its owner.

-- stamp-api serve
GRANT SELECT ON __diesel_schema_migrations, batches, deliveries, processed_stamps, stamp_states TO stamp_api;
GRANT SELECT, INSERT ON stamps, pending_stamps, dead_letters, stored_messages TO stamp_api;
GRANT SELECT, INSERT, DELETE ON intake_owners TO stamp_api;
GRANT UPDATE (published_through, retired, seen_at) ON intake_owners TO stamp_api;
-- Events of stamps that have left before they were published.
GRANT SELECT, UPDATE (published_at) ON left_events TO stamp_api;
-- Older binaries, which run on while they are replaced, sweep, and give rows their due time.
GRANT UPDATE (due_at, sweeps, sweep_after) ON pending_stamps TO stamp_api;
-- A check over HTTP settles replays.
GRANT UPDATE (replays, replayed_at, resolved_at) ON dead_letters TO stamp_api;
-- Moving between inbox and trash.
GRANT SELECT, UPDATE (is_active, modified_by, modified_date) ON messages TO stamp_api;
-- Deleting for good, which leaves the coordinates.
GRANT UPDATE (
    subject, uuid, body, reference_url, is_active, created_by, created_date, modified_by, modified_date, kafka_key,
    recipient, deleted_at
) ON stored_messages TO stamp_api;

-- queue-listener run, queue-listener dlq, queue-listener deliveries
GRANT SELECT ON __diesel_schema_migrations TO stamp_listener;
GRANT SELECT, INSERT ON stamps, batches, processed_stamps, stored_messages TO stamp_listener;
GRANT USAGE ON SEQUENCE batches_id_seq TO stamp_listener;
GRANT SELECT, INSERT, DELETE ON pending_stamps TO stamp_listener;
-- Stamps that wait in the table alone, those that the database refuses, and rows of older binaries.
GRANT UPDATE (due_at, retry_at, refusals, kafka_topic, kafka_partition, kafka_offset, kafka_timestamp)
    ON pending_stamps TO stamp_listener;
-- Older binaries have distant stamps swept.
GRANT UPDATE (sweep_after) ON pending_stamps TO stamp_listener;
-- Taking stamps from the table leaves their unpublished events to the outbox.
GRANT SELECT (id, published_through) ON intake_owners TO stamp_listener;
GRANT INSERT ON left_events TO stamp_listener;
-- Only `dlq purge` deletes dead letters.
GRANT SELECT, INSERT, DELETE ON dead_letters TO stamp_listener;
GRANT UPDATE (replays, replayed_at, resolved_at) ON dead_letters TO stamp_listener;
-- Batches that are told to the outside; `deliveries` retries them and gives them up.
GRANT SELECT, INSERT ON deliveries TO stamp_listener;
GRANT UPDATE (
    parts, through, claims, attempts, first_attempt_at, next_attempt_at, delivered_at, last_error
) ON deliveries TO stamp_listener;

-- People and programs that read.
GRANT SELECT ON stamp_states, messages, stamps, batches, dead_letters, deliveries TO stamp_reader;

COMMIT;
