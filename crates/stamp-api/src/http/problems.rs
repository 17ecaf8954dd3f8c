//! Problems as the description of the routes has them: which statuses a route may answer, and what stands in such an answer.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
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
    ($($(#[$doc:meta])* $name:ident: $($status:literal),+;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),+].into_iter().map(|status| (status.to_string(), problem(status).into())).collect()
            }
        }
    )+};
}

problems! {
    /// Of taking in a stamp.
    OfNewStamp: 400, 401, 403, 408, 409, 413, 415, 503;
    /// Of taking in many stamps.
    OfNewStamps: 400, 401, 403, 408, 413, 415, 503;
    /// Of a list.
    OfList: 400, 401, 403, 503;
    /// Of one thing.
    OfOne: 401, 403, 404, 503;
    /// Of a list that belongs to one thing.
    OfListOfOne: 400, 401, 403, 404, 503;
    /// Of sending a message.
    OfSending: 400, 401, 403, 404, 408, 413, 415, 429, 503;
    /// Of deleting a message.
    OfDeleting: 401, 403, 404, 409, 503;
}

fn problem(status: u16) -> Response {
    let (description, header) = match status {
        400 => ("Input that is wrong: each field or parameter is a member with a list of sentences.", None),
        401 => (
            "A token is needed and there is none that can be trusted.",
            Some(("WWW-Authenticate", "The challenge of RFC 6750.", json!("Bearer realm=\"stamp-api\""))),
        ),
        403 => ("The token does not reach this far.", None),
        404 => ("There is no such thing.", None),
        408 => ("The body took longer than 10 seconds.", None),
        409 => ("It is there already, or not where it would have to be for this.", None),
        413 => ("The body is too long.", None),
        415 => ("The body is in a form that is not read.", None),
        429 => (
            "Too many new topics were made for this sender.",
            Some(("Retry-After", "Seconds until another one may be made.", json!(6))),
        ),
        _ => (
            "Something that is needed is away, or lacks something; where trying again helps there is a Retry-After.",
            Some(("Retry-After", "Seconds after which to try again.", json!(1))),
        ),
    };
    let mut response = ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build());
    if let Some((name, description, example)) = header {
        let kind = if example.is_number() { Type::Integer } else { Type::String };
        let schema = ObjectBuilder::new().schema_type(kind).examples([example]);
        let header = HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build();
        response = response.header(name, header);
    }
    response.build()
}
