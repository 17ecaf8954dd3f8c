//! The routes with everything that surrounds them.

use std::sync::Arc;

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use platform::health::SharedHealth;

use super::budget::BodyBudget;
use super::routes::{batches, health, messages, openapi, stamps};
use super::state::AppState;
use super::{connections, holding, measure};
use crate::http::error::ApiError;
use crate::http::request_id;
use crate::messages::check::Checker;
use crate::messages::sender::Sender;
use crate::metrics::ApiMetrics;

/// What every worker of the HTTP server gets a copy of.
#[derive(Clone)]
pub struct Shared {
    /// State of the service, for the routes.
    pub state: Arc<AppState>,
    /// Sends messages, for the route that does.
    pub sender: Arc<Sender>,
    /// Checks users' topics, for the route that stores messages.
    pub checker: Arc<Checker>,
    /// The memory of all bodies together.
    pub bodies: BodyBudget,
    /// Health of the process, for the routes that tell of it.
    pub health: SharedHealth,
    /// Counts, for what surrounds the routes.
    pub metrics: ApiMetrics,
}

/// Returns the routes with everything that surrounds them.
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
        .app_data(shared.bodies)
        .app_data(web::Data::from(shared.state))
        .app_data(web::Data::from(shared.sender))
        .app_data(web::Data::from(shared.checker))
        .app_data(web::Data::new(shared.health))
        .app_data(web::Data::new(shared.metrics))
        .configure(configure)
        .wrap(from_fn(holding::hold))
        .wrap(from_fn(measure::measure))
        .wrap(from_fn(request_id::carry))
        .wrap(from_fn(connections::watch))
}

/// Adds all resources. Every other path is 404, every other method of a resource 405, and nothing redirects: a
/// redirected `POST` loses its body.
fn configure(config: &mut web::ServiceConfig) {
    stamps::configure(config);
    batches::configure(config);
    messages::configure(config);
    health::configure(config);
    openapi::configure(config);
    config.default_service(web::to(async || Err::<HttpResponse, _>(ApiError::NoRoute)));
}
