//! The headers of answers as the description of the routes has them.

use serde_json::json;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};

/// The headers that every answer may have.
pub const COMMON: [&str; 2] = ["x-request-id", "traceresponse"];

/// The headers that are described: name, meaning and an example.
const HEADERS: [(&str, &str, &str); 6] = [
    (
        "x-request-id",
        "What the log calls the request: a plain one of the client's is kept.",
        "018f6b0c-0000-7000-8000-000000000000",
    ),
    (
        "traceresponse",
        "Where the request stood in a trace, if it was in one (draft of W3C Trace Context, Level 3): a `traceparent` of \
         the client's goes on.",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("Location", "Where the stamp is read that was stored, or is there already.", "/v1/stamps/1"),
    (
        "WWW-Authenticate",
        "The challenge of RFC 6750; of 403 only where the token lacks a scope.",
        "Bearer realm=\"stamp-api\"",
    ),
    ("Retry-After", "Seconds after which to try again, where that helps.", "1"),
    (
        "Content-Security-Policy",
        "What the page may load: what comes with it.",
        "default-src 'none'; script-src 'self'",
    ),
];

/// Describes a header, if it has a description.
pub fn described(name: &str) -> Option<Header> {
    let (_, meaning, example) = HEADERS.into_iter().find(|(known, ..)| *known == name)?;
    let (kind, example) = match example.parse::<i32>() {
        Ok(number) => (Type::Integer, json!(number)),
        Err(_) => (Type::String, json!(example)),
    };
    let schema = ObjectBuilder::new().schema_type(kind).examples([example]);
    Some(HeaderBuilder::new().description(Some(meaning)).schema(Some(schema)).build())
}
