//! What clients get to see of errors.

use actix_web::body::to_bytes;
use anyhow::anyhow;
use serde_json::{Value, json};

use super::*;

async fn document(error: &ApiError) -> Value {
    let body = to_bytes(error.error_response().into_body()).await.expect("a body in memory");
    serde_json::from_slice(&body).expect("JSON")
}

#[actix_web::test]
async fn every_error_has_its_status_and_headers() {
    let errors = [
        (ApiError::InvalidFields(FieldErrors::of(OBJECT_CID, "No.")), 400, None),
        (ApiError::MalformedBody("The JSON is malformed.".to_owned()), 400, None),
        (
            ApiError::Unauthorized(TokenError::Missing),
            401,
            Some(("www-authenticate", r#"Bearer realm="stamp-api""#)),
        ),
        (
            ApiError::Unauthorized(TokenError::Expired),
            401,
            Some(("www-authenticate", r#"Bearer realm="stamp-api", error="invalid_token""#)),
        ),
        (
            ApiError::InsufficientScope { scope: "a:b" },
            403,
            Some((
                "www-authenticate",
                r#"Bearer realm="stamp-api", error="insufficient_scope", scope="a:b""#,
            )),
        ),
        (ApiError::Forbidden, 403, None),
        (ApiError::CrossSite, 403, None),
        (ApiError::NoRoute, 404, None),
        (ApiError::NotFound("stamp"), 404, None),
        (ApiError::MethodNotAllowed { allow: "GET, HEAD" }, 405, Some(("allow", "GET, HEAD"))),
        (
            ApiError::Duplicate { location: "/v1/stamps/a%2Fb".to_owned() },
            409,
            Some(("location", "/v1/stamps/a%2Fb")),
        ),
        (ApiError::InInbox, 409, None),
        (ApiError::BodyTimeout { seconds: 10 }, 408, None),
        (ApiError::BodyTooLarge { max_bytes: 65_536 }, 413, None),
        (ApiError::TooManyItems { max: 10_000 }, 413, None),
        (ApiError::MessageTooLarge, 413, None),
        (ApiError::TooManyTopics { retry_after: 6 }, 429, Some(("retry-after", "6"))),
        (ApiError::UnsupportedMediaType("Use JSON."), 415, None),
        (ApiError::Unavailable(anyhow!("canary")), 503, Some(("retry-after", "1"))),
        (ApiError::Crowded, 503, Some(("retry-after", "1"))),
        (ApiError::refused_by_database(anyhow!("canary")), 503, None),
        (ApiError::Internal(anyhow!("canary")), 500, None),
    ];
    for (error, status, expected) in errors {
        check(&error, status, expected).await;
    }
}

async fn check(error: &ApiError, status: u16, expected: Option<(&str, &str)>) {
    use ApiError::{BodyTimeout, BodyTooLarge, Crowded, TooManyTopics, Unavailable};
    let response = error.error_response();
    assert_eq!(response.status().as_u16(), status, "{error:?}");
    let closes = response.head().connection_type() == actix_web::http::ConnectionType::Close;
    let is_cut = matches!(error, BodyTimeout { .. } | BodyTooLarge { .. } | Crowded);
    assert_eq!(closes, is_cut, "{error:?}");
    let headers = response.headers();
    assert_eq!(headers.get("content-type").expect("a type"), PROBLEM_JSON);
    assert_eq!(
        headers.contains_key("retry-after"),
        matches!(error, Unavailable(_) | Crowded | TooManyTopics { .. })
    );
    if let Some((name, value)) = expected {
        assert_eq!(headers.get(name).expect(name), value);
    }
    let document = document(error).await;
    assert_eq!((&document["type"], &document["status"]), (&json!(ABOUT_BLANK), &json!(status)));
    assert!(document["title"].is_string() && document["detail"].is_string(), "{document}");
    assert!(!document.to_string().contains("canary"), "{document}");
}

#[actix_web::test]
async fn field_errors_stand_beside_the_members_of_a_problem() {
    let mut errors = FieldErrors::of(OBJECT_CID, "This field is required.");
    errors.push("time_tolerance", "A valid integer is required.");
    let document = document(&errors.into()).await;
    assert_eq!(
        document,
        json!({
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The request has invalid fields.",
            "object_cid": ["This field is required."],
            "time_tolerance": ["A valid integer is required."],
        })
    );
}

#[test]
fn the_log_is_told_what_the_client_is_not() {
    let unavailable = ApiError::Unavailable(anyhow!("refused").context("can't connect"));
    assert_eq!(cause(&unavailable).as_deref(), Some("can't connect: refused"));
    assert_eq!(cause(&ApiError::NoRoute), None);
}
