//! Messages to users: sending and checking ([`topic`]), and what users do with theirs ([`inbox`]).

pub mod inbox;
pub mod topic;

use actix_web::{HttpRequest, web};
use domain::stamp::format_date;
use serde::Serialize;
use store::messages::rows::StoredMessage;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::auth::caller::Caller;
use crate::http::caller::require_self;
use crate::http::error::ApiError;
use crate::http::resource::{READ, read, resource};

/// The routes of messages.
#[derive(OpenApi)]
#[openapi(paths(
    topic::send,
    topic::check,
    inbox::list,
    inbox::counts,
    inbox::show,
    inbox::trash,
    inbox::restore,
    inbox::delete,
))]
pub struct MessageRoutes;

/// Adds everything under `/v1/users/{user}/messages`.
pub fn configure(config: &mut web::ServiceConfig) {
    macro_rules! paths {
        ($path:literal) => {
            [concat!("/v1/users/{user}/messages", $path), concat!("/v1/users/{user}/messages", $path, "/")]
        };
    }
    let at = |patterns: [&'static str; 2], allow| resource(patterns[0], patterns, allow);
    let get = || web::route().guard(read());
    config
        .service(
            at(paths!(""), "GET, HEAD, POST")
                .route(get().to(inbox::list))
                .route(web::post().to(topic::send)),
        )
        // Before the resource of one message, whose pattern they match as well.
        .service(at(paths!("/check"), "POST").route(web::post().to(topic::check)))
        .service(at(paths!("/counts"), READ).route(get().to(inbox::counts)))
        .service(
            at(paths!("/{uuid}"), "GET, HEAD, DELETE")
                .route(get().to(inbox::show))
                .route(web::delete().to(inbox::delete)),
        )
        .service(at(paths!("/{uuid}/trash"), "POST").route(web::post().to(inbox::trash)))
        .service(at(paths!("/{uuid}/restore"), "POST").route(web::post().to(inbox::restore)));
}

/// Returns the user of a path, who has to be the caller.
///
/// # Errors
/// 404 for what is no uuid, 403 for another user.
fn own(request: &HttpRequest, caller: &Caller) -> Result<Uuid, ApiError> {
    let user = uuid(request, "user")?;
    require_self(caller, user)?;
    Ok(user)
}

/// Returns the user of a path, who has to be the caller, and the uuid of the message.
///
/// # Errors
/// 404 for what is no uuid, before anything is said about the user.
fn own_message(request: &HttpRequest, caller: &Caller) -> Result<(Uuid, Uuid), ApiError> {
    let message = uuid(request, "uuid")?;
    Ok((own(request, caller)?, message))
}

/// Reads a uuid of the path; what is none is the name of nothing.
fn uuid(request: &HttpRequest, name: &str) -> Result<Uuid, ApiError> {
    let what = if name == "user" { "user" } else { "message" };
    Uuid::try_parse(request.match_info().query(name)).map_err(|_| ApiError::NotFound(what))
}

/// A message as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "uuid": "018f6b0c-0000-7000-8000-000000000000", "subject": "Hello", "body": "World", "reference_url": null,
    "is_active": true, "created_by": "System Account", "created_date": "2026-01-01T12:00:00.000000Z",
    "modified_by": "System Account", "modified_date": "2026-01-01T12:00:00.000000Z",
    "kafka": {
        "topic": "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11", "partition": 0, "offset": 4,
        "key": "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11",
    },
}))]
struct MessageBody {
    uuid: Uuid,
    subject: String,
    body: String,
    reference_url: Option<String>,
    is_active: bool,
    created_by: String,
    #[schema(format = "date-time")]
    created_date: String,
    modified_by: String,
    #[schema(format = "date-time")]
    modified_date: Option<String>,
    kafka: KafkaOfMessage,
}

/// Where the record of a message was read.
#[derive(Debug, Serialize, ToSchema)]
struct KafkaOfMessage {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<String>,
}

impl From<StoredMessage> for MessageBody {
    fn from(message: StoredMessage) -> Self {
        Self {
            uuid: message.uuid,
            subject: message.subject,
            body: message.body,
            reference_url: message.reference_url,
            is_active: message.is_active,
            created_by: message.created_by,
            created_date: format_date(message.created_date),
            modified_by: message.modified_by,
            modified_date: message.modified_date.map(format_date),
            kafka: KafkaOfMessage {
                topic: message.kafka_topic,
                partition: message.kafka_partition,
                offset: message.kafka_offset,
                key: message.kafka_key,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_shows_what_it_says_who_changed_it_and_its_record() {
        let time = DateTime::from_timestamp(1_767_225_600, 0).expect("a time");
        let stored = StoredMessage {
            id: 17,
            uuid: Uuid::from_u128(1),
            subject: "s".to_owned(),
            body: "b".to_owned(),
            reference_url: Some("https://example.com/".to_owned()),
            is_active: false,
            created_by: "System Account".to_owned(),
            created_date: time,
            modified_by: "m".to_owned(),
            modified_date: Some(time),
            kafka_topic: "t".to_owned(),
            kafka_partition: 2,
            kafka_offset: 5,
            kafka_timestamp: 7,
            kafka_key: Some("k".to_owned()),
            recipient: Uuid::from_u128(2),
        };
        let date = "2026-01-01T00:00:00.000000Z";
        let mut expected = json!({
            "uuid": "00000000-0000-0000-0000-000000000001", "subject": "s", "body": "b",
            "reference_url": "https://example.com/", "is_active": false, "created_by": "System Account",
            "created_date": date, "modified_by": "m", "modified_date": date,
            "kafka": {"topic": "t", "partition": 2, "offset": 5, "key": "k"},
        });
        let body = |stored: StoredMessage| serde_json::to_value(MessageBody::from(stored)).expect("JSON");
        assert_eq!(body(stored.clone()), expected);
        for member in ["reference_url", "modified_date"] {
            expected[member] = json!(null);
        }
        expected["kafka"]["key"] = json!(null);
        let bare = StoredMessage { reference_url: None, modified_date: None, kafka_key: None, ..stored };
        assert_eq!(body(bare), expected);
    }
}
