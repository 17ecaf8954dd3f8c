//! Stamps: taking one in, and telling what became of it and of others.

use actix_web::http::header::LOCATION;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use domain::stamp::{IntakeLimits, ObjectCid, event};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use store::stamps::lists::{self, Place, StampList};
use store::stamps::states;
use utoipa::OpenApi;

use crate::http::body::{Body, BodyLimits};
use crate::http::caller::{StampReader, StampWriter};
use crate::http::cursor;
use crate::http::error::ApiError;
use crate::http::problems::{OfList, OfNewStamp, OfOne};
use crate::http::query::{ListBody, Query};
use crate::http::resource::{READ, read, resource};
use crate::http::routes::bodies::{CreatedStamp, NewStamp, NewStampForm, StampWithState};
use crate::http::routes::bulk;
use crate::http::state::AppState;
use crate::http::trace;
use crate::stamps::gate::OpenIntake;

/// The characters that are escaped in a path: all but the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The routes of this file, and that of many stamps.
#[derive(OpenApi)]
#[openapi(paths(create, create_as_the_demo_did, list, bulk::create, show))]
pub struct StampRoutes;

/// Adds `/datasender/create_stamp/`, `/v1/stamps`, `/v1/stamps/bulk` and `/v1/stamps/{object_cid}`.
pub fn configure(config: &mut web::ServiceConfig) {
    let demo = ["/datasender/create_stamp/", "/datasender/create_stamp"];
    let collection = ["/v1/stamps", "/v1/stamps/"];
    // It is an id as well, and looked at before the other ids are.
    let many = ["/v1/stamps/bulk", "/v1/stamps/bulk/"];
    // The tail takes slashes too; `show` decides which of them belong to an id.
    let item = ["/v1/stamps/{object_cid}*"];
    config
        .service(
            resource("/datasender/create_stamp/", demo, "POST").route(web::post().to(create_as_the_demo_did)),
        )
        .service(
            resource("/v1/stamps", collection, "GET, HEAD, POST")
                .route(web::post().to(create))
                .route(web::route().guard(read()).to(list)),
        )
        .service(
            resource("/v1/stamps/bulk", many, "GET, HEAD, POST")
                .route(web::post().to(bulk::create))
                .route(web::route().guard(read()).to(show)),
        )
        .service(resource("/v1/stamps/{object_cid}", item, READ).route(web::route().guard(read()).to(show)));
}

/// Takes a stamp in, as the Django demo did.
#[utoipa::path(
    post,
    path = "/datasender/create_stamp/",
    tag = "stamps",
    request_body(content((NewStampForm = "application/x-www-form-urlencoded"), (NewStamp = "application/json"))),
    responses(
        (status = 201, description = "The stamp is durable together with its event.", body = CreatedStamp,
         headers(("Location"))),
        OfNewStamp,
    ),
    security((), ("token" = ["stamps:write"])),
)]
async fn create_as_the_demo_did(
    writer: StampWriter,
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    create(writer, state, request, payload).await
}

/// Takes a stamp in.
#[utoipa::path(
    post,
    path = "/v1/stamps",
    tag = "stamps",
    request_body(content((NewStamp = "application/json"), (NewStampForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 201, description = "The stamp is durable together with its event.", body = CreatedStamp,
         headers(("Location"))),
        OfNewStamp,
    ),
    security((), ("token" = ["stamps:write"])),
)]
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
    let stamp = limits.accept(fields)?.with_trace(trace::of(&request));
    let (location, answer) = (location(stamp.object_cid()), event::encode(&stamp));
    if !intake.submit(stamp).await? {
        return Err(ApiError::Duplicate { location });
    }
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .content_type("application/json")
        .body(answer))
}

/// Lists stamps, those first that were stored last; of the processed ones those that were processed last.
#[utoipa::path(
    get,
    path = "/v1/stamps",
    tag = "stamps",
    params(
        ("state" = Option<String>, Query, description = "Only stamps that are `pending` or `processed`.",
         pattern = "^(pending|processed)$", example = "pending"),
        ("limit" = Option<i64>, Query, description = "How many, 50 by default.", minimum = 1, maximum = 200,
         example = 50),
        ("after" = Option<String>, Query, description = "`next` of the page before.", example = "cGVuZGluZzowOjEwMjs"),
    ),
    responses((status = 200, description = "A page.", body = ListBody<StampWithState>), OfList),
    security((), ("token" = ["stamps:read"])),
)]
async fn list(
    _: StampReader,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::of(&request)?;
    let (list, name) = query.parse("state", listed).unwrap_or((StampList::All, "stamps"));
    // Whose cursor it has to be, only a good state tells.
    let after = if query.is_good() { query.after(name) } else { None };
    let after = after.map(|[batch, stamp]| Place { batch, stamp });
    let limit = query.limit();
    query.finish()?;
    let page = lists::page(&state.stamps, list, after, limit).await?;
    let next = page.next.map(|Place { batch, stamp }| cursor::encode(name, [batch, stamp]));
    let items: Vec<StampWithState> = page.stamps.into_iter().map(StampWithState::from).collect();
    Ok(HttpResponse::Ok().json(ListBody { items, next }))
}

/// Returns the list of the stamps in a state, and its name in its cursors.
fn listed(state: &str) -> Result<(StampList, &'static str), String> {
    match state {
        "pending" => Ok((StampList::Pending, "pending")),
        "processed" => Ok((StampList::Processed, "processed")),
        _ => Err("Must be pending or processed.".to_owned()),
    }
}

/// Tells what became of a stamp.
#[utoipa::path(
    get,
    path = "/v1/stamps/{object_cid}",
    tag = "stamps",
    params(("object_cid" = String, Path, description = "The document's identifier, percent-encoded.", example = "1")),
    responses((status = 200, description = "The stamp.", body = StampWithState), OfOne),
    security((), ("token" = ["stamps:read"])),
)]
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

#[cfg(test)]
mod tests {
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
}
