//! What the migrations make, as far as Diesel's queries look at it. A test compares it with the database.

#![allow(missing_docs, reason = "the columns are described in the migrations")]

diesel::table! {
    batches (id) {
        id -> Int8,
        trigger -> Text,
        size -> Int4,
        listener -> Text,
        topic -> Text,
        processed_at -> Timestamptz,
    }
}

diesel::table! {
    processed_stamps (stamp_id) {
        stamp_id -> Int8,
        batch_id -> Int8,
        time_tolerance -> Int4,
        created_date -> Timestamptz,
        kafka_partition -> Nullable<Int4>,
        kafka_offset -> Nullable<Int8>,
        kafka_topic -> Nullable<Text>,
    }
}

diesel::table! {
    /// A view: its key is that of the stamps.
    stamp_states (object_cid) {
        object_cid -> Varchar,
        time_tolerance -> Int4,
        created_date -> Timestamptz,
        process_after -> Timestamptz,
        state -> Text,
        batch_id -> Nullable<Int8>,
        trigger -> Nullable<Text>,
        processed_at -> Nullable<Timestamptz>,
        kafka_topic -> Nullable<Text>,
        kafka_partition -> Nullable<Int4>,
        kafka_offset -> Nullable<Int8>,
        batch_size -> Nullable<Int4>,
    }
}

diesel::table! {
    dead_letters (id) {
        id -> Int8,
        topic -> Text,
        partition -> Int4,
        offset -> Int8,
        timestamp -> Int8,
        key -> Nullable<Bytea>,
        value -> Nullable<Bytea>,
        headers -> Jsonb,
        reason -> Text,
        detail -> Text,
        received_at -> Timestamptz,
        replays -> Int4,
        replayed_at -> Nullable<Timestamptz>,
        resolved_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// A view of `stored_messages`: those that are not deleted.
    messages (id) {
        id -> Int8,
        subject -> Varchar,
        uuid -> Uuid,
        body -> Text,
        reference_url -> Nullable<Text>,
        is_active -> Bool,
        created_by -> Text,
        created_date -> Timestamptz,
        modified_by -> Text,
        modified_date -> Nullable<Timestamptz>,
        kafka_topic -> Text,
        kafka_partition -> Int4,
        kafka_offset -> Int8,
        kafka_timestamp -> Int8,
        kafka_key -> Nullable<Text>,
        recipient -> Uuid,
    }
}

diesel::table! {
    /// A row that is deleted has `deleted_at` and its coordinates alone; the latter no query of Diesel's looks at.
    stored_messages (id) {
        id -> Int8,
        subject -> Nullable<Varchar>,
        uuid -> Nullable<Uuid>,
        body -> Nullable<Text>,
        reference_url -> Nullable<Text>,
        is_active -> Nullable<Bool>,
        created_by -> Nullable<Text>,
        created_date -> Nullable<Timestamptz>,
        modified_by -> Nullable<Text>,
        modified_date -> Nullable<Timestamptz>,
        kafka_key -> Nullable<Text>,
        recipient -> Nullable<Uuid>,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Varchar,
        run_on -> Timestamp,
    }
}
