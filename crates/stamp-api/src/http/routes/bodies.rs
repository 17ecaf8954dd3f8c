//! Stamps as requests and answers hold them.

use domain::stamp::format_date;
use serde::Serialize;
use store::stamps::states::StampState;
use utoipa::ToSchema;

/// A stamp as a client sends it.
#[derive(ToSchema)]
#[schema(example = json!({"object_cid": "1", "time_tolerance": 10}))]
#[allow(dead_code, reason = "bodies are read leniently, see `StampFields`")]
pub struct NewStamp {
    /// The document's identifier, unique, kept as it comes. A JSON number is taken as its text.
    #[schema(min_length = 1, max_length = 255)]
    object_cid: String,
    /// For how many minutes the stamp may wait for its batch; 0 is at once. `"10"` and `10.0` are taken as well.
    #[schema(minimum = 0)]
    time_tolerance: i32,
    /// When the stamp was made: RFC 3339 or extended ISO 8601, by default now, at most 5 minutes ahead.
    created_date: Option<String>,
}

/// A stamp that was stored.
#[derive(ToSchema)]
#[schema(example = json!({"object_cid": "1", "time_tolerance": 10, "created_date": "2026-01-01T12:00:00.000000Z"}))]
#[allow(dead_code, reason = "the answer is the event, see `event::encode`")]
pub struct CreatedStamp {
    object_cid: String,
    time_tolerance: i32,
    created_date: String,
}

/// A stamp, as a batch lists it.
#[derive(Serialize, ToSchema)]
pub struct StampBody {
    object_cid: String,
    time_tolerance: i32,
    created_date: String,
    process_after: String,
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
pub struct StampWithState {
    #[serde(flatten)]
    stamp: StampBody,
    state: String,
    batch: Option<BatchOfStamp>,
}

/// The batch that a stamp left with.
#[derive(Serialize, ToSchema)]
struct BatchOfStamp {
    id: i64,
    trigger: String,
    size: i32,
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
