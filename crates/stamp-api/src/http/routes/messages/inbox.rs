//! What users do with their messages.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use store::messages::inbox::{self, Deletion, Folder, Page};
use store::messages::rows::StoredMessage;
use utoipa::ToSchema;

use super::{MessageBody, own, own_message};
use crate::auth::caller::Caller;
use crate::http::cursor;
use crate::http::error::ApiError;
use crate::http::problems::{OfDeleting, OfListOfOne, OfOne};
use crate::http::query::{ListBody, Query};
use crate::http::state::AppState;

/// How many messages a user has.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"inbox": 2, "trash": 1}))]
struct CountsBody {
    inbox: i64,
    trash: i64,
}

/// Lists a folder, the newest messages first.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/messages",
    tag = "messages",
    params(("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11"),
        ("folder" = Option<String>, Query, description = "`inbox`, which is the default, or `trash`.",
         pattern = "^(inbox|trash)$", example = "inbox"),
        ("limit" = Option<i64>, Query, description = "How many, 50 by default.", minimum = 1, maximum = 200,
         example = 50),
        ("after" = Option<String>, Query, description = "`next` of the page before.", example = "aW5ib3g6NTI7")),
    responses((status = 200, description = "A page.", body = ListBody<MessageBody>), OfListOfOne),
    security(("token" = [])),
)]
pub(super) async fn list(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let user = own(&request, &caller)?;
    let mut query = Query::of(&request)?;
    let folder = query.parse("folder", folder).unwrap_or(Folder::Inbox);
    let limit = query.limit();
    // A cursor carries no user: of another's it leads nowhere.
    let after = query.after::<1>(name(folder));
    query.finish()?;
    let Page { messages, is_more } =
        inbox::list(&state.messages, user, folder, after.map(|[id]| id), limit).await?;
    let next = messages.last().filter(|_| is_more).map(|last| cursor::encode(name(folder), [last.id]));
    let items: Vec<MessageBody> = messages.into_iter().map(MessageBody::from).collect();
    Ok(HttpResponse::Ok().json(ListBody { items, next }))
}

/// Counts the messages of each folder.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/messages/counts",
    tag = "messages",
    params(("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11")),
    responses((status = 200, description = "How many there are.", body = CountsBody), OfOne),
    security(("token" = [])),
)]
pub(super) async fn counts(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let counts = inbox::counts(&state.messages, own(&request, &caller)?).await?;
    Ok(HttpResponse::Ok().json(CountsBody { inbox: counts.inbox, trash: counts.trash }))
}

/// Shows a message.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/messages/{uuid}",
    tag = "messages",
    params(
        ("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11"),
        ("uuid" = Uuid, Path, description = "The message.", example = "018f6b0c-0000-7000-8000-000000000000"),
    ),
    responses((status = 200, description = "The message.", body = MessageBody), OfOne),
    security(("token" = [])),
)]
pub(super) async fn show(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (user, uuid) = own_message(&request, &caller)?;
    found(inbox::find(&state.messages, user, uuid).await?)
}

/// Moves a message to the trash.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/messages/{uuid}/trash",
    tag = "messages",
    params(
        ("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11"),
        ("uuid" = Uuid, Path, description = "The message.", example = "018f6b0c-0000-7000-8000-000000000000"),
    ),
    responses((status = 200, description = "The message.", body = MessageBody), OfOne),
    security(("token" = [])),
)]
pub(super) async fn trash(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    set_active(&caller, &state, &request, false).await
}

/// Moves a message to the inbox.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/messages/{uuid}/restore",
    tag = "messages",
    params(
        ("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11"),
        ("uuid" = Uuid, Path, description = "The message.", example = "018f6b0c-0000-7000-8000-000000000000"),
    ),
    responses((status = 200, description = "The message.", body = MessageBody), OfOne),
    security(("token" = [])),
)]
pub(super) async fn restore(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    set_active(&caller, &state, &request, true).await
}

/// Deletes a message from the trash for good.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/messages/{uuid}",
    tag = "messages",
    params(
        ("user" = Uuid, Path, description = "The caller.", example = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11"),
        ("uuid" = Uuid, Path, description = "The message.", example = "018f6b0c-0000-7000-8000-000000000000"),
    ),
    responses((status = 204, description = "It is gone."), OfDeleting),
    security(("token" = [])),
)]
pub(super) async fn delete(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (user, uuid) = own_message(&request, &caller)?;
    match inbox::delete(&state.messages, user, uuid).await? {
        Deletion::Deleted => Ok(HttpResponse::NoContent().finish()),
        Deletion::InInbox => Err(ApiError::InInbox),
        Deletion::NotFound => Err(ApiError::NotFound("message")),
    }
}

async fn set_active(
    caller: &Caller,
    state: &AppState,
    request: &HttpRequest,
    active: bool,
) -> Result<HttpResponse, ApiError> {
    let (user, uuid) = own_message(request, caller)?;
    found(inbox::set_active(&state.messages, user, uuid, active, caller.subject()).await?)
}

fn found(message: Option<StoredMessage>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(MessageBody::from(message.ok_or(ApiError::NotFound("message"))?)))
}

fn folder(text: &str) -> Result<Folder, String> {
    match text {
        "inbox" => Ok(Folder::Inbox),
        "trash" => Ok(Folder::Trash),
        _ => Err("Must be inbox or trash.".to_owned()),
    }
}

fn name(folder: Folder) -> &'static str {
    match folder {
        Folder::Inbox => "inbox",
        Folder::Trash => "trash",
    }
}
