//! The description of all routes, and pages that show it.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{PathItem, RefOr};
use utoipa_swagger_ui::Config;

use super::{batches, health, messages, stamps};
use crate::http::error::ApiError;
use crate::http::headers;
use crate::http::problems::ProblemBody;
use crate::http::resource::{READ, read, resource};

/// What the pages may load: their own files and nothing else. Their library sets styles in place.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The description as it is sent.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
/// No address of the service goes to anybody who would check the description.
static PAGES: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none")));

/// Adds `/openapi.json` and `/docs/`.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/openapi.json", ["/openapi.json"], READ).route(web::route().guard(read()).to(describe)),
        )
        .service(
            resource("/docs/", ["/docs/{file}*", "/docs"], READ).route(web::route().guard(read()).to(page)),
        );
}

/// The routes of this file.
#[derive(OpenApi)]
#[openapi(paths(describe, page))]
struct PageRoutes;

/// What is said about all routes together.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stamp Service",
        description = "Takes stamps in, tells what became of them, and carries messages to users.\n\n\
                       A slash at the end of a path is optional, but for `/livez`, `/readyz` and `/openapi.json`. A path that is \
                       none of these is 404, and another method is 405 with `Allow`; these are problems (RFC 9457) too. \
                       HEAD is answered where GET is.",
    ),
    tags(
        (name = "stamps", description = "Documents that wait for their batch, each for as long as its sender allows."),
        (name = "batches", description = "Stamps that were processed together."),
        (name = "messages", description = "Messages to users: an inbox and a trash."),
        (name = "service", description = "The service itself."),
    ),
    components(schemas(ProblemBody)),
)]
struct Common;

/// Returns the description of all routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Common::openapi();
    for part in [
        stamps::StampRoutes::openapi(),
        batches::BatchRoutes::openapi(),
        messages::MessageRoutes::openapi(),
        health::HealthRoutes::openapi(),
        PageRoutes::openapi(),
    ] {
        document.merge(part);
    }
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        with_headers(operation);
        with_own_id(operation);
        with_links(operation);
        operation.parameters.iter_mut().flatten().for_each(without_null);
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, delete, .. } = item;
    [get, post, delete].into_iter().flatten()
}

/// Puts the resource before the name of the function, which others have as well: `stamps_list`.
fn with_own_id(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    operation.operation_id =
        tag.zip(operation.operation_id.take()).map(|(tag, name)| format!("{tag}_{name}"));
}

/// Says of an answer that holds messages what can be done with the first of them.
fn with_links(operation: &mut Operation) {
    let list = match operation.operation_id.as_deref() {
        Some("messages_list") => "items",
        Some("messages_check") => "messages",
        _ => return,
    };
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { return };
    for name in ["show", "trash", "restore", "delete"] {
        let link = LinkBuilder::new()
            .operation_id(format!("messages_{name}"))
            .parameter("user", "$request.path.user")
            .parameter("uuid", format!("$response.body#/{list}/0/uuid"));
        answer.links.insert(name.to_owned(), link.build().into());
    }
}

/// Takes null out of a parameter's type: one that is not given is left out, and a query has no word for null.
fn without_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(schema))), .. }) = parameter
        && let SchemaType::Array(types) = &mut schema.schema_type
    {
        types.retain(|kind| *kind != Type::Null);
        if let [only] = &types[..] {
            schema.schema_type = SchemaType::Type(only.clone());
        }
    }
}

/// Describes the headers of an operation's answers, those that every answer may have among them.
fn with_headers(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for name in headers::COMMON {
            response.headers.insert(name.to_owned(), Header::default().into());
        }
        for (name, header) in &mut response.headers {
            if let Some(described) = headers::described(name) {
                *header = described.into();
            }
        }
    }
}

/// Describes all routes in `OpenAPI` 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses(
        (status = 200, description = "This document.", content_type = "application/json", body = serde_json::Value,
         example = json!({"openapi": "3.1.0"})),
    ),
)]
async fn describe() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}

/// Shows this description as pages for a browser.
#[utoipa::path(
    get,
    path = "/docs/",
    tag = "service",
    responses(
        (status = 200, description = "A page.", content_type = "text/html", body = String,
         headers(("Content-Security-Policy"))),
    ),
)]
async fn page(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if request.path() == "/docs" {
        return Ok(HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish());
    }
    let file = request.path().strip_prefix("/docs/").ok_or(ApiError::NoRoute)?;
    let found = utoipa_swagger_ui::serve(file, Arc::clone(&PAGES));
    let file = found.ok().flatten().ok_or(ApiError::NoRoute)?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(file.bytes.into_owned()))
}
