//! Sending a message to a user's topic, and storing what is in it.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaFormat, Type};

use super::{MessageBody, own, uuid};
use crate::auth::caller::{Caller, MESSAGES_SEND};
use crate::http::body::{Body, BodyLimits};
use crate::http::caller::require_scope;
use crate::http::error::ApiError;
use crate::http::problems::{OfOne, OfSending};
use crate::http::state::AppState;
use crate::http::trace;
use crate::messages::check::Checker;
use crate::messages::sender::{Outgoing, SendError, Sender, Sent};
use crate::metrics::ApiMetrics;

/// Where in Kafka a message was sent to.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "topic": "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11", "partition": 0, "offset": 4,
    "key": "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11",
}))]
struct SentBody {
    topic: String,
    partition: i32,
    offset: i64,
    key: String,
}

/// What a check of a user's topic has stored.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"created": 0, "messages": []}))]
struct CheckedBody {
    created: usize,
    messages: Vec<MessageBody>,
}

/// A message as it is sent.
#[derive(ToSchema)]
#[schema(example = json!({"ns-message": {"subject": "Hello", "body": "World"}}))]
#[allow(dead_code, reason = "bodies are read leniently, see `MessageFields`")]
struct NewMessageBody {
    #[schema(rename = "ns-message")]
    ns_message: NewMessageFields,
}

/// What a message says.
#[derive(ToSchema)]
#[allow(dead_code, reason = "bodies are read leniently, see `MessageFields`")]
struct NewMessageFields {
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$")]
    subject: String,
    #[schema(min_length = 1, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$")]
    body: String,
    #[schema(schema_with = reference_url)]
    reference_url: Option<String>,
    /// Whether the message is in the inbox, by default true.
    is_active: Option<bool>,
}

fn reference_url() -> Schema {
    let uri = SchemaFormat::Custom("uri".to_owned());
    let url = ObjectBuilder::new().schema_type(Type::String).format(Some(uri)).max_length(Some(2_000));
    let empty = ObjectBuilder::new().schema_type(Type::String).max_length(Some(0));
    let none = ObjectBuilder::new().schema_type(Type::Null);
    let description = "An absolute http or https URL with a host and no user info; an empty one is none.";
    AnyOfBuilder::new().item(url).item(empty).item(none).description(Some(description)).into()
}

/// Sends a message to a user's topic.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/messages",
    tag = "messages",
    params(("user" = Uuid, Path, description = "The user who gets it.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11")),
    request_body = NewMessageBody,
    responses((status = 201, description = "Kafka has it.", body = SentBody), OfSending),
    security(("token" = ["messages:send"])),
)]
pub(super) async fn send(
    caller: Caller,
    sender: web::Data<Sender>,
    state: web::Data<AppState>,
    metrics: web::Data<ApiMetrics>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let user = uuid(&request, "user")?;
    require_scope(&caller, MESSAGES_SEND)?;
    let body = Body::read(&request, payload, BodyLimits::ONE_MESSAGE).await?;
    let message = body.message_fields()?.parse()?;
    let now = state.intake()?.clock.now();
    let outgoing =
        Outgoing { sender: caller.subject(), user, message: &message, now, trace: trace::of(&request) };
    let outcome = sender.send(outgoing).await;
    metrics.message_sent(outcome.as_ref().map_or_else(SendError::outcome, |_| "sent"));
    let Sent { topic, partition, offset, key } = outcome?;
    Ok(HttpResponse::Created().json(SentBody { topic, partition, offset, key }))
}

/// Stores what is in the user's topic now.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/messages/check",
    tag = "messages",
    params(("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11")),
    responses((status = 200, description = "What was found.", body = CheckedBody), OfOne),
    security(("token" = [])),
)]
pub(super) async fn check(
    caller: Caller,
    checker: web::Data<Checker>,
    metrics: web::Data<ApiMetrics>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let outcome = checker.check(own(&request, &caller)?).await;
    metrics.message_check(outcome.as_ref().map_or_else(|error| error.outcome(), |_| "done"));
    let checked = outcome?;
    let messages = checked.messages.into_iter().map(MessageBody::from).collect();
    Ok(HttpResponse::Ok().json(CheckedBody { created: checked.created, messages }))
}
