//! The state of the process, as on the operators' address.

use actix_web::web;
use platform::admin::{livez, readyz};

use crate::http::resource::{READ, read, resource};

/// Adds `/livez` and `/readyz`.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/livez", ["/livez"], READ).route(web::route().guard(read()).to(livez)))
        .service(resource("/readyz", ["/readyz"], READ).route(web::route().guard(read()).to(readyz)));
}
