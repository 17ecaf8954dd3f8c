//! Stamps as requests and answers hold them.

use domain::batch::policy::Trigger;
use domain::stamp::format_date;
use serde::Serialize;
use store::stamps::states::StampState;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

/// A stamp as a client sends it.
#[derive(ToSchema)]
#[schema(example = json!({"object_cid": "1", "time_tolerance": 10}))]
#[allow(dead_code, reason = "bodies are read leniently, see `StampFields`")]
pub struct NewStamp {
    #[schema(schema_with = object_cid)]
    object_cid: String,
    #[schema(schema_with = time_tolerance)]
    time_tolerance: i32,
    /// When the stamp was made: RFC 3339 or extended ISO 8601, by default now, at most 5 minutes ahead.
    #[schema(format = "date-time")]
    created_date: Option<String>,
}

/// A stamp as a form has it, in which everything is text, and an empty `created_date` an absent one.
#[derive(ToSchema)]
#[schema(example = json!({"object_cid": "1", "time_tolerance": 10}))]
#[allow(dead_code, reason = "bodies are read leniently, see `StampFields`")]
pub struct NewStampForm {
    #[schema(schema_with = object_cid)]
    object_cid: String,
    #[schema(schema_with = time_tolerance)]
    time_tolerance: i32,
    #[schema(schema_with = created_date_of_form)]
    created_date: Option<String>,
}

/// What every text is that is no mere white space, and has no NUL.
pub(super) const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";
/// Whole numbers up to [`MAX_MINUTES`], in digits.
const MINUTES: &str = r"^(-?0+|0*([1-9][0-9]{0,4}|[1-4][0-9]{5}|5[01][0-9]{4}|52[0-4][0-9]{3}|525[0-5][0-9]{2}|525600))(\.0+)?$";
/// The most that `MAX_TIME_TOLERANCE_MINUTES` may be. The description is one, whatever a service allows.
const MAX_MINUTES: i32 = 525_600;

fn object_cid() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(NOT_BLANK));
    let text = text.min_length(Some(1)).max_length(Some(255));
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let description =
        "The document's identifier, unique, kept as it comes. A JSON number is taken as its text.";
    AnyOfBuilder::new().item(text).item(number).description(Some(description)).into()
}

fn time_tolerance() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(MAX_MINUTES));
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(MINUTES));
    let description = "For how many minutes the stamp may wait for its batch, 0 is at once; at most what the service \
                       allows, 10080 by default. `\"10\"` and `10.0` are taken as well.";
    AnyOfBuilder::new().item(number).item(text).description(Some(description)).into()
}

fn created_date_of_form() -> Schema {
    let date = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let none = ObjectBuilder::new().schema_type(Type::String).max_length(Some(0));
    let description =
        "When the stamp was made: RFC 3339 or extended ISO 8601, by default now, at most 5 minutes ahead.";
    AnyOfBuilder::new().item(date).item(none).description(Some(description)).into()
}

/// Returns the schema of a text that is one of these words.
pub(super) fn word<const N: usize>(words: [&'static str; N], meaning: &str) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    text.description(Some(meaning)).into()
}

fn state() -> Schema {
    word(["pending", "processed"], "Whether the stamp is in a batch.")
}

pub(super) fn trigger() -> Schema {
    word([Trigger::MinBatchSize, Trigger::Deadline].map(Trigger::as_str), "Why the batch left.")
}

/// A stamp that was stored.
#[derive(ToSchema)]
#[schema(example = json!({"object_cid": "1", "time_tolerance": 10, "created_date": "2026-01-01T12:00:00.000000Z"}))]
#[allow(dead_code, reason = "the answer is the event, see `event::encode`")]
pub struct CreatedStamp {
    object_cid: String,
    time_tolerance: i32,
    #[schema(format = "date-time")]
    created_date: String,
}

/// A stamp, as a batch lists it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "object_cid": "1", "time_tolerance": 10, "created_date": "2026-01-01T12:00:00.000000Z",
    "process_after": "2026-01-01T12:10:00.000000Z",
    "kafka": {"topic": "topic_data_created", "partition": 3, "offset": 0},
}))]
pub struct StampBody {
    object_cid: String,
    time_tolerance: i32,
    #[schema(format = "date-time")]
    created_date: String,
    /// When the stamp is due.
    #[schema(format = "date-time")]
    process_after: String,
    /// Null where the stamp is pending, and where it left before its event was read.
    kafka: Option<KafkaOfStamp>,
}

/// Where the event of a stamp was read.
#[derive(Serialize, ToSchema)]
struct KafkaOfStamp {
    topic: String,
    partition: i32,
    offset: i64,
}

/// A stamp and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "object_cid": "1", "time_tolerance": 10, "created_date": "2026-01-01T12:00:00.000000Z",
    "process_after": "2026-01-01T12:10:00.000000Z",
    "kafka": {"topic": "topic_data_created", "partition": 3, "offset": 0}, "state": "processed",
    "batch": {"id": 1, "trigger": "min_batch_size", "size": 2, "processed_at": "2026-01-01T12:00:03.431907Z"},
}))]
pub struct StampWithState {
    #[serde(flatten)]
    stamp: StampBody,
    #[schema(schema_with = state)]
    state: String,
    /// Null while the stamp is pending.
    batch: Option<BatchOfStamp>,
}

/// The batch that a stamp left with.
#[derive(Serialize, ToSchema)]
struct BatchOfStamp {
    id: i64,
    #[schema(schema_with = trigger)]
    trigger: String,
    size: i32,
    #[schema(format = "date-time")]
    processed_at: String,
}

impl From<StampState> for StampBody {
    fn from(state: StampState) -> Self {
        let coordinates = state.kafka_topic.zip(state.kafka_partition).zip(state.kafka_offset);
        Self {
            object_cid: state.object_cid,
            time_tolerance: state.time_tolerance,
            created_date: format_date(state.created_date),
            process_after: format_date(state.process_after),
            kafka: coordinates.map(|((topic, partition), offset)| KafkaOfStamp { topic, partition, offset }),
        }
    }
}

impl From<StampState> for StampWithState {
    fn from(mut state: StampState) -> Self {
        Self { batch: batch_of(&mut state), state: std::mem::take(&mut state.state), stamp: state.into() }
    }
}

fn batch_of(state: &mut StampState) -> Option<BatchOfStamp> {
    Some(BatchOfStamp {
        id: state.batch_id?,
        trigger: state.trigger.take()?,
        size: state.batch_size?,
        processed_at: format_date(state.processed_at?),
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stamp_shows_its_batch_and_its_record_once_there_are_any() {
        let time = DateTime::from_timestamp(1_767_225_600, 0).expect("a time");
        let pending = StampState {
            object_cid: "a".to_owned(),
            time_tolerance: 10,
            created_date: time,
            process_after: time,
            state: "pending".to_owned(),
            batch_id: None,
            trigger: None,
            processed_at: None,
            kafka_topic: None,
            kafka_partition: None,
            kafka_offset: None,
            batch_size: None,
        };
        let body = |state: StampState| serde_json::to_value(StampWithState::from(state)).expect("JSON");
        let date = "2026-01-01T00:00:00.000000Z";
        let mut expected = json!({
            "object_cid": "a", "time_tolerance": 10, "created_date": date, "process_after": date,
            "state": "pending", "batch": null, "kafka": null,
        });
        assert_eq!(body(pending.clone()), expected);

        expected["state"] = json!("processed");
        expected["batch"] = json!({"id": 7, "trigger": "deadline", "size": 3, "processed_at": date});
        expected["kafka"] = json!({"topic": "t", "partition": 2, "offset": 5});
        let processed = StampState {
            state: "processed".to_owned(),
            batch_id: Some(7),
            trigger: Some("deadline".to_owned()),
            processed_at: Some(time),
            kafka_topic: Some("t".to_owned()),
            kafka_partition: Some(2),
            kafka_offset: Some(5),
            batch_size: Some(3),
            ..pending
        };
        assert_eq!(body(processed), expected);
    }
}
