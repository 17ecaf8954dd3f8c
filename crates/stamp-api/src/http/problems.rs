//! Problems as the description of the routes has them: which statuses a route may answer, and what stands in such an answer.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::Header;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use super::error::PROBLEM_JSON;

/// A request that was not served (RFC 9457). For input that is wrong there is a member beside these for each field, a list
/// of sentences.
#[derive(ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "The request has invalid fields.",
    "object_cid": ["This field is required."],
}))]
#[allow(dead_code, reason = "the shape alone is of interest")]
pub struct ProblemBody {
    /// Always `about:blank`: a problem needs no explanation beyond its status.
    r#type: String,
    /// What the status is called.
    title: String,
    /// The status once more.
    status: u16,
    /// What happened, in a sentence.
    detail: String,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($status:literal $($header:ident)?),+;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let problems = [$(($status, [$($header)?].as_slice())),+];
                problems.into_iter().map(|(status, headers)| (status.to_string(), problem(status, headers).into())).collect()
            }
        }
    )+};
}

const CHALLENGE: &str = "WWW-Authenticate";
const LOCATION: &str = "Location";
const RETRY: &str = "Retry-After";

problems! {
    /// Of taking in a stamp.
    OfNewStamp: 400, 401 CHALLENGE, 403 CHALLENGE, 408, 409 LOCATION, 413, 415, 503 RETRY;
    /// Of taking in many stamps.
    OfNewStamps: 400, 401 CHALLENGE, 403 CHALLENGE, 408, 413, 415, 503 RETRY;
    /// Of a list.
    OfList: 400, 401 CHALLENGE, 403 CHALLENGE, 503 RETRY;
    /// Of one thing.
    OfOne: 401 CHALLENGE, 403 CHALLENGE, 404, 503 RETRY;
    /// Of a list that belongs to one thing.
    OfListOfOne: 400, 401 CHALLENGE, 403 CHALLENGE, 404, 503 RETRY;
    /// Of sending a message.
    OfSending: 400, 401 CHALLENGE, 403 CHALLENGE, 404, 408, 413, 415, 429 RETRY, 503 RETRY;
    /// Of deleting a message.
    OfDeleting: 401 CHALLENGE, 403 CHALLENGE, 404, 409, 503 RETRY;
}

fn problem(status: u16, headers: &[&str]) -> Response {
    let description = match status {
        400 => "Input that is wrong: each field or parameter is a member with a list of sentences.",
        401 => "A token is needed and there is none that can be trusted.",
        403 => "The token does not reach this far, or a form of another site asks.",
        404 => "There is no such thing.",
        408 => "The body took longer than 10 seconds.",
        409 => "It is there already, or not where it would have to be for this.",
        413 => "The body is too long.",
        415 => "The body is in a form that is not read.",
        429 => "Too many new topics were made for this sender.",
        _ => "Something that is needed is away, or lacks something.",
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content);
    headers.iter().fold(response, |response, name| response.header(*name, Header::default())).build()
}
