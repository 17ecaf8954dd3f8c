//! The operators' address: `/livez`, `/readyz`, `/metrics`.

use std::net::SocketAddr;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;

use crate::health::{Readiness, SharedHealth};
use crate::telemetry;

/// Binds the address and returns the server, which serves once it is awaited, with a handle to stop it.
///
/// # Errors
/// If the address can't be bound.
pub fn server(
    address: SocketAddr,
    health: SharedHealth,
    registry: Registry,
) -> std::io::Result<(Server, ServerHandle, SocketAddr)> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(health.clone()))
            .app_data(web::Data::new(registry.clone()))
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    .disable_signals()
    .bind(address)
    .map_err(|error| {
        std::io::Error::new(error.kind(), format!("ADMIN_ADDR={address} can't be bound: {error}"))
    })?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    telemetry::announce("livez, readyz and metrics", bound);
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle, bound))
}

/// Answers 200 as long as the process is alive.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// Answers 200 when the process can work, degraded or not; 503 and the reasons otherwise.
pub async fn readyz(health: web::Data<SharedHealth>) -> HttpResponse {
    match health.check() {
        Readiness::Ready => HttpResponse::Ok().json(json!({"status": "ready"})),
        Readiness::Degraded(reasons) => {
            HttpResponse::Ok().json(json!({"status": "degraded", "reasons": reasons}))
        }
        Readiness::NotReady(reasons) => HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE)
            .insert_header(("Retry-After", "1"))
            .content_type("application/problem+json")
            .json(json!({
                "type": "about:blank",
                "title": "Not ready",
                "status": 503,
                "detail": reasons.join("; "),
                "reasons": reasons,
            })),
    }
}

async fn metrics(registry: web::Data<Registry>) -> HttpResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().insert_header(ContentType::plaintext()).body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
