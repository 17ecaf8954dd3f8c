//! Counts and times every answer.

use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, web};

use crate::http::error::ApiError;
use crate::metrics::ApiMetrics;

/// The route of a path that leads nowhere.
const UNMATCHED: &str = "unmatched";

/// Counts and times every answer.
///
/// # Errors
/// Only what `next` fails with.
pub async fn measure(
    metrics: web::Data<ApiMetrics>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let start = Instant::now();
    let response = next.call(request).await?;
    let request = response.request();
    metrics.answered(
        route(&response),
        method_label(request.method()),
        response.status().as_str(),
        start.elapsed(),
    );
    if let Some(reason) = error(&response).and_then(ApiError::refusal) {
        metrics.refused(reason);
    }
    Ok(response)
}

/// Returns the pattern that the request's path matched, by which requests are grouped. Never the path itself: it holds
/// ids, and there is no end of them.
pub fn route(response: &ServiceResponse) -> &str {
    response.request().match_name().unwrap_or(UNMATCHED)
}

/// Returns why a request was not served, where the service says so.
pub fn error(response: &ServiceResponse) -> Option<&ApiError> {
    response.response().error()?.as_error()
}

/// Returns the label for a method: a client may invent methods, a label may not.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_method_is_not_a_label_of_its_own() {
        let invented = Method::from_bytes(b"BREW").expect("a token");
        assert_eq!(method_label(&invented), "OTHER");
        assert_eq!(method_label(&Method::POST), "POST");
    }
}
