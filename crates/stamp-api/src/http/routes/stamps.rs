//! Stamps: taking one in, and telling what became of it.

use actix_web::http::header::LOCATION;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use domain::stamp::{IntakeLimits, ObjectCid, event, format_date};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use store::stamps::states::{self, StampState};

use crate::http::body::{Body, BodyLimits};
use crate::http::caller::{StampReader, StampWriter};
use crate::http::error::ApiError;
use crate::http::resource::{READ, read, resource};
use crate::http::routes::bulk;
use crate::http::state::AppState;
use crate::stamps::gate::OpenIntake;

/// The characters that are escaped in a path: all but the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Adds `/datasender/create_stamp/`, `/v1/stamps`, `/v1/stamps/bulk` and `/v1/stamps/{object_cid}`.
pub fn configure(config: &mut web::ServiceConfig) {
    let demo = ["/datasender/create_stamp/", "/datasender/create_stamp"];
    let collection = ["/v1/stamps", "/v1/stamps/"];
    // It is an id as well, and looked at before the other ids are.
    let many = ["/v1/stamps/bulk", "/v1/stamps/bulk/"];
    // The tail takes slashes too; `show` decides which of them belong to an id.
    let item = ["/v1/stamps/{object_cid}*"];
    config
        .service(resource("/datasender/create_stamp/", demo, "POST").route(web::post().to(create)))
        .service(resource("/v1/stamps", collection, "POST").route(web::post().to(create)))
        .service(
            resource("/v1/stamps/bulk", many, "GET, HEAD, POST")
                .route(web::post().to(bulk::create))
                .route(web::route().guard(read()).to(show)),
        )
        .service(resource("/v1/stamps/{object_cid}", item, READ).route(web::route().guard(read()).to(show)));
}

async fn create(
    _: StampWriter,
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = Body::read(&request, payload, BodyLimits::ONE_STAMP).await?;
    let fields = body.stamp_fields()?;
    let OpenIntake { clock, intake } = state.intake()?;
    let limits = IntakeLimits { max_tolerance: state.max_time_tolerance, now: clock.now() };
    let stamp = limits.accept(fields)?;
    let (location, answer) = (location(stamp.object_cid()), event::encode(&stamp));
    if !intake.submit(stamp).await? {
        return Err(ApiError::Duplicate { location });
    }
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .content_type("application/json")
        .body(answer))
}

async fn show(
    _: StampReader,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let object_cid = object_cid(request.uri().path()).ok_or(ApiError::NotFound("stamp"))?;
    let stamp = states::find(&state.stamps, object_cid.as_str()).await?.ok_or(ApiError::NotFound("stamp"))?;
    Ok(HttpResponse::Ok().json(StampWithState::from(stamp)))
}

fn location(object_cid: &ObjectCid) -> String {
    format!("/v1/stamps/{}", utf8_percent_encode(object_cid.as_str(), RESERVED))
}

/// Reads the id out of `/v1/stamps/{object_cid}` as the client sent it, decoding it once: by then the router
/// has decoded some characters and left others.
fn object_cid(raw_path: &str) -> Option<ObjectCid> {
    let rest = raw_path.splitn(4, '/').nth(3)?;
    let segment = rest.strip_suffix('/').unwrap_or(rest);
    if segment.contains('/') {
        return None;
    }
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    ObjectCid::parse(text).ok()
}

/// A stamp, as a batch lists it.
#[derive(Serialize)]
pub struct StampBody {
    object_cid: String,
    time_tolerance: i32,
    created_date: String,
    process_after: String,
    kafka: Option<KafkaOfStamp>,
}

/// Where the event of a stamp was read.
#[derive(Serialize)]
struct KafkaOfStamp {
    topic: String,
    partition: i32,
    offset: i64,
}

/// A stamp and what became of it.
#[derive(Serialize)]
struct StampWithState {
    #[serde(flatten)]
    stamp: StampBody,
    state: String,
    batch: Option<BatchOfStamp>,
}

/// The batch that a stamp left with.
#[derive(Serialize)]
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

    fn cid(raw_path: &str) -> Option<String> {
        object_cid(raw_path).map(|object_cid| object_cid.as_str().to_owned())
    }

    #[test]
    fn an_id_in_a_path_is_decoded_once() {
        for (path, expected) in [
            ("/v1/stamps/a", "a"),
            ("/v1/stamps/a/", "a"),
            ("/v1/stamps/bulk", "bulk"),
            ("/v1/stamps/a%2Fb%2F", "a/b/"),
            ("/v1/stamps/a%252Fb", "a%2Fb"),
            ("/v1/stamps/a+b%2Bc%20d", "a+b+c d"),
            ("/v1/stamps/100%", "100%"),
            ("/v1/stamps/%F0%9F%98%80%0A", "\u{1f600}\n"),
            ("/%761/%73tamps/x", "x"),
        ] {
            assert_eq!(cid(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_no_id_leads_nowhere() {
        let too_long = format!("/v1/stamps/{}", "%C3%A9".repeat(256));
        for path in [
            "/v1/stamps/",
            "/v1/stamps//",
            "/v1/stamps/a//",
            "/v1/stamps/a/b",
            "/v1/stamps/%FF",
            "/v1/stamps/a%00",
            "/v1/stamps/%20",
            &too_long,
        ] {
            assert_eq!(cid(path), None, "{path}");
        }
        assert!(cid(&too_long[..too_long.len() - 6]).is_some());
    }

    #[test]
    fn a_location_leads_back_to_its_id() {
        for text in ["a", "a/b c+d%2F?#", "\u{e9}\u{1f600}", "..", "\"\r\n\u{1b}[0m"] {
            let id = ObjectCid::parse(text).expect("an id");
            assert_eq!(cid(&location(&id)).as_deref(), Some(text));
        }
        assert_eq!(location(&ObjectCid::parse("a/b ~").expect("an id")), "/v1/stamps/a%2Fb%20~");
    }

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
