//! What users do with their messages.

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use store::messages::inbox::{self, Deletion, Folder, Page};
use store::messages::rows::StoredMessage;

use super::{MessageBody, own, own_message};
use crate::auth::caller::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::http::state::AppState;

/// A part of a folder.
#[derive(Debug, Serialize)]
struct PageBody {
    items: Vec<MessageBody>,
    next: Option<String>,
}

/// How many messages a user has.
#[derive(Serialize)]
struct CountsBody {
    inbox: i64,
    trash: i64,
}

/// Where a page ends, and the next one begins. A cursor carries no user: of another's it leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    folder: Folder,
    id: i64,
}

pub(super) async fn list(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let user = own(&request, &caller)?;
    let mut query = Query::of(&request)?;
    let folder = query.parse("folder", folder).unwrap_or(Folder::Inbox);
    let limit = query.limit();
    let after = query.parse("after", |text| Cursor::decode(text, folder));
    query.finish()?;
    let page = inbox::list(&state.messages, user, folder, after.map(|cursor| cursor.id), limit).await?;
    Ok(HttpResponse::Ok().json(PageBody::new(page, folder)))
}

pub(super) async fn counts(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let counts = inbox::counts(&state.messages, own(&request, &caller)?).await?;
    Ok(HttpResponse::Ok().json(CountsBody { inbox: counts.inbox, trash: counts.trash }))
}

pub(super) async fn show(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (user, uuid) = own_message(&request, &caller)?;
    found(inbox::find(&state.messages, user, uuid).await?)
}

pub(super) async fn trash(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    set_active(&caller, &state, &request, false).await
}

pub(super) async fn restore(
    caller: Caller,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    set_active(&caller, &state, &request, true).await
}

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

impl PageBody {
    fn new(page: Page, folder: Folder) -> Self {
        let last = page.messages.last().filter(|_| page.is_more).map(|row| Cursor { folder, id: row.id });
        let items = page.messages.into_iter().map(MessageBody::from).collect();
        Self { next: last.map(Cursor::encode), items }
    }
}

impl Cursor {
    fn encode(self) -> String {
        let folder = match self.folder {
            Folder::Inbox => "inbox",
            Folder::Trash => "trash",
        };
        URL_SAFE_NO_PAD.encode(format!("{folder}:{}", self.id))
    }

    /// Reads what [`encode`](Self::encode) has written, and nothing else.
    fn decode(text: &str, expected: Folder) -> Result<Self, String> {
        let read = || {
            let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let (name, id) = plain.split_once(':')?;
            let cursor = Self { folder: folder(name).ok()?, id: id.parse().ok()? };
            (cursor.id > 0 && cursor.encode() == text).then_some(cursor)
        };
        match read() {
            Some(cursor) if cursor.folder == expected => Ok(cursor),
            Some(_) => Err("This cursor is one of the other folder.".to_owned()),
            None => Err("This is no cursor; take the one that the page before has as next.".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_where_its_page_ended() {
        for folder in [Folder::Inbox, Folder::Trash] {
            for id in [1, 42, i64::MAX] {
                let cursor = Cursor { folder, id };
                assert_eq!(Cursor::decode(&cursor.encode(), folder), Ok(cursor));
            }
        }
    }

    #[test]
    fn what_is_no_cursor_of_this_folder_is_refused() {
        let encode = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        for (text, why) in [
            (String::new(), "nothing"),
            ("x".to_owned(), "no base64"),
            ("inbox:1".to_owned(), "not encoded"),
            (encode("trash:1"), "the other folder"),
            (encode("inbox"), "no id"),
            (encode("inbox:"), "an empty id"),
            (encode("inbox:x"), "no number"),
            (encode("inbox:0"), "not an id"),
            (encode("inbox:-1"), "negative"),
            (encode("inbox:+1"), "a sign"),
            (encode("inbox:01"), "a zero in front"),
            (encode("inbox: 1"), "a space"),
            (encode("inbox:1\n"), "a line break"),
            (encode("inbox:1 OR 1=1"), "SQL"),
            (encode("inbox:9223372036854775808"), "over what a bigint holds"),
            (encode("Inbox:1"), "another spelling"),
            (encode("inbox:1") + "=", "padding"),
            ("aW5ib3g6MR".to_owned(), "bits that say nothing"),
            (URL_SAFE_NO_PAD.encode(b"\xff\xfe"), "no text"),
            ("A".repeat(60_000), "60 KB"),
        ] {
            assert!(Cursor::decode(&text, Folder::Inbox).is_err(), "{why}");
        }
    }
}
