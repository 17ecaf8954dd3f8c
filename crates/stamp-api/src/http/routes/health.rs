//! The state of the process, as on the operators' address.

use actix_web::{HttpResponse, web};
use platform::admin;
use platform::health::SharedHealth;
use utoipa::OpenApi;

use crate::http::resource::{READ, read, resource};

/// The routes of this file.
#[derive(OpenApi)]
#[openapi(paths(livez, readyz))]
pub struct HealthRoutes;

/// Adds `/livez` and `/readyz`.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/livez", ["/livez"], READ).route(web::route().guard(read()).to(livez)))
        .service(resource("/readyz", ["/readyz"], READ).route(web::route().guard(read()).to(readyz)));
}

/// Tells that the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "service",
    responses((status = 200, description = "The process lives.", body = Value, example = json!({"status": "alive"}))),
)]
async fn livez() -> HttpResponse {
    admin::livez().await
}

/// Tells whether the service can do its work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, description = "The work goes on; `degraded` says that something needs attention.", body = Value,
         example = json!({"status": "degraded", "reasons": ["Kafka does not answer"]})),
        (status = 503, description = "The service can't do its work, for these reasons.", body = Value,
         content_type = "application/problem+json", headers(("Retry-After")),
         example = json!({"type": "about:blank", "title": "Not ready", "status": 503,
                          "detail": "PostgreSQL does not answer", "reasons": ["PostgreSQL does not answer"]})),
    ),
)]
async fn readyz(health: web::Data<SharedHealth>) -> HttpResponse {
    admin::readyz(health).await
}
