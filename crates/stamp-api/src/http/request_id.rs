//! An id for every request: in its answer, and on every line that is logged for it.

use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tracing::Instrument;
use uuid::Uuid;

use crate::http::error::{ApiError, cause};
use crate::http::measure::{error, method_label, route};
use crate::http::sparing::SparingLog;
use crate::http::state::AppState;
use crate::http::trace::RequestTrace;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

/// Gives the request its id, logs its end, and sends the id with the answer.
///
/// # Errors
/// Only what `next` fails with.
pub async fn carry(
    state: web::Data<AppState>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let (id, header) = accepted(request.headers().get(X_REQUEST_ID)).unwrap_or_else(generated);
    let trace = RequestTrace::begin(&request);
    let span = tracing::info_span!("request", request.id = id, trace.id = trace.id());
    let answer = async {
        let start = Instant::now();
        let response = next.call(request).await?;
        log(&response, start, &state.refusals);
        Ok::<_, Error>(response)
    };
    let mut response = answer.instrument(span).await?;
    response.headers_mut().insert(X_REQUEST_ID, header);
    trace.end(&mut response);
    Ok(response)
}

/// Returns the client's own id if it can't be mistaken for anything else in a log: letters, digits, `.`, `_`
/// and `-`, at most 128 of them.
fn accepted(header: Option<&HeaderValue>) -> Option<(String, HeaderValue)> {
    let header = header?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let id = header.to_str().ok()?;
    let fits = (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(plain);
    fits.then(|| (id.to_owned(), header.clone()))
}

fn generated() -> (String, HeaderValue) {
    let id = Uuid::new_v4().to_string();
    // A UUID is printed in characters that every header takes.
    let header = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"));
    (id, header)
}

/// Logs the request once. The path stays out: it holds what the client chose to write.
fn log(response: &ServiceResponse, start: Instant, refusals: &SparingLog) {
    let (method, route) = (method_label(response.request().method()), route(response));
    let (status, duration_ms) = (response.status(), start.elapsed().as_secs_f64() * 1e3);
    let (code, error) = (status.as_u16(), error(response));
    let (reason, cause) = (error.and_then(ApiError::refusal), error.and_then(cause));
    // Anybody can send what is refused, as often as they like; the metrics count them all.
    let left_out = reason.and_then(|_| refusals.take(Instant::now()));
    if reason.is_some() && left_out.is_none() {
        return;
    }
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(
            http.method = method,
            http.route = route,
            http.status = code,
            http.duration_ms = duration_ms,
            error = cause,
            "request failed"
        );
    } else if status.is_server_error() {
        tracing::warn!(
            http.method = method,
            http.route = route,
            http.status = code,
            http.duration_ms = duration_ms,
            http.reason = reason,
            log.left_out = left_out,
            error = cause,
            "request refused"
        );
    } else if reason.is_some() {
        tracing::info!(
            http.method = method,
            http.route = route,
            http.status = code,
            http.reason = reason,
            log.left_out = left_out,
            "caller refused"
        );
    } else {
        tracing::debug!(
            http.method = method,
            http.route = route,
            http.status = code,
            http.duration_ms = duration_ms,
            "request answered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_of_the_client_is_kept() {
        let longest = "x".repeat(MAX_LENGTH);
        for id in ["a", "7f3c-01.B_2", &longest] {
            let header = HeaderValue::from_str(id).expect("a header");
            assert_eq!(accepted(Some(&header)).map(|(id, _)| id).as_deref(), Some(id));
        }
    }

    #[test]
    fn what_could_break_a_log_or_a_header_is_replaced() {
        let too_long = "x".repeat(MAX_LENGTH + 1);
        for id in ["", "a b", "a\"b", "a,b", "a;b", "a=b", "\u{e9}", "a\tb", &too_long] {
            let header = HeaderValue::from_bytes(id.as_bytes()).expect("a header");
            assert!(accepted(Some(&header)).is_none(), "{id:?}");
        }
        assert!(accepted(None).is_none());
        let (id, header) = generated();
        assert_eq!(accepted(Some(&header)).map(|(id, _)| id), Some(id));
    }
}
