//! The description of all routes, and pages that show it.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::CONTENT_SECURITY_POLICY;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use utoipa::OpenApi;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{PathItem, RefOr};
use utoipa_swagger_ui::Config;

use super::{batches, health, messages, stamps};
use crate::http::error::ApiError;
use crate::http::problems::ProblemBody;
use crate::http::resource::{READ, read, resource};

/// What the pages may load: their own files and nothing else. Their library sets styles in place.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The description as it is sent.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
static PAGES: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));

/// Adds `/openapi.json` and `/docs/`.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/openapi.json", ["/openapi.json"], READ).route(web::route().guard(read()).to(describe)),
        )
        .service(resource("/docs/", ["/docs/{file}*"], READ).route(web::route().guard(read()).to(page)));
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
        description = "Takes stamps in, tells what became of them, and carries messages to users.",
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
        with_common_headers(operation);
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

/// The headers that every answer may have: name, meaning and an example.
const COMMON_HEADERS: [(&str, &str, &str); 2] = [
    (
        "x-request-id",
        "What the log calls the request: a plain one of the client's is kept.",
        "018f6b0c-0000-7000-8000-000000000000",
    ),
    (
        "traceresponse",
        "Where the request stood in a trace, if it was in one (W3C Trace Context): a `traceparent` of the client's goes on.",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
];

fn with_common_headers(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for (name, meaning, example) in COMMON_HEADERS {
            let schema = ObjectBuilder::new().schema_type(Type::String).examples([json!(example)]);
            let header = HeaderBuilder::new().description(Some(meaning)).schema(Some(schema)).build();
            response.headers.insert(name.to_owned(), header.into());
        }
    }
}

/// Describes all routes in `OpenAPI` 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, description = "This document.", content_type = "application/json", body = serde_json::Value)),
)]
async fn describe() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}

/// Shows this description as pages for a browser.
#[utoipa::path(
    get,
    path = "/docs/",
    tag = "service",
    responses((status = 200, description = "A page.", content_type = "text/html", body = String)),
)]
async fn page(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let file = request.path().strip_prefix("/docs/").ok_or(ApiError::NoRoute)?;
    let found = utoipa_swagger_ui::serve(file, Arc::clone(&PAGES));
    let file = found.ok().flatten().ok_or(ApiError::NoRoute)?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(file.bytes.into_owned()))
}
