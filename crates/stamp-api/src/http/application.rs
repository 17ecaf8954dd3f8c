//! The routes with everything that surrounds them.

use std::sync::Arc;

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{self, Guard};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, Resource, web};
use platform::health::SharedHealth;

use super::routes::{batches, health, messages, stamps};
use super::state::AppState;
use crate::http::body;
use crate::http::connections;
use crate::http::error::ApiError;
use crate::http::request_id;
use crate::messages::check::Checker;
use crate::messages::sender::Sender;
use crate::metrics::{self, Metrics};

/// What a resource that is only read allows.
pub(super) const READ: &str = "GET, HEAD";

/// What every worker of the HTTP server gets a copy of.
#[derive(Clone)]
pub struct Shared {
    /// For the routes.
    pub state: Arc<AppState>,
    /// For the route that sends messages.
    pub sender: Arc<Sender>,
    /// For the route that stores them.
    pub checker: Arc<Checker>,
    /// For the routes that tell of it.
    pub health: SharedHealth,
    /// For what surrounds the routes.
    pub metrics: Metrics,
}

/// The routes with everything that surrounds them.
pub fn application(
    shared: Shared,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::from(shared.state))
        .app_data(web::Data::from(shared.sender))
        .app_data(web::Data::from(shared.checker))
        .app_data(web::Data::new(shared.health))
        .app_data(web::Data::new(shared.metrics))
        .configure(configure)
        .wrap(from_fn(body::hold))
        .wrap(from_fn(metrics::measure))
        .wrap(from_fn(request_id::carry))
        .wrap(from_fn(connections::watch))
}

/// Adds all resources. Every other path is 404, every other method of theirs 405, and nothing redirects: a
/// redirected `POST` loses its body.
fn configure(config: &mut web::ServiceConfig) {
    stamps::configure(config);
    batches::configure(config);
    messages::configure(config);
    health::configure(config);
    config.default_service(web::to(async || Err::<HttpResponse, _>(ApiError::NotFound)));
}

/// A resource that answers methods it does not have with 405.
///
/// * `route`: the name under which logs and metrics know it.
/// * `patterns`: the paths that lead to it.
/// * `allow`: the methods it has.
pub(super) fn resource<const N: usize>(
    route: &str,
    patterns: [&'static str; N],
    allow: &'static str,
) -> Resource {
    web::resource(Vec::from(patterns)).name(route).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(ApiError::MethodNotAllowed { allow })
    }))
}

/// `GET`, and `HEAD`, for which the server leaves the body out.
pub(super) fn read() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}
