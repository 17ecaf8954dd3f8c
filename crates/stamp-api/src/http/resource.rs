//! What a resource is: its paths, and the methods that it has.

use actix_web::guard::{self, Guard};
use actix_web::{HttpResponse, Resource, web};

use super::error::ApiError;

/// The methods that a resource allows which is only read.
pub(super) const READ: &str = "GET, HEAD";

/// Returns a resource that answers methods it does not have with 405.
///
/// * `route`: the name under which logs and metrics know it.
/// * `patterns`: the paths that lead to it.
/// * `allow`: the methods it has.
pub(super) fn resource<const N: usize>(
    route: &str,
    patterns: [&'static str; N],
    allow: &'static str,
) -> Resource {
    #[cfg(test)]
    MADE.lock().expect("no panic").insert((route.to_owned(), allow));
    web::resource(Vec::from(patterns)).name(route).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(ApiError::MethodNotAllowed { allow })
    }))
}

/// The resources that were made in tests: their routes, and the methods they have.
#[cfg(test)]
pub(super) static MADE: std::sync::Mutex<std::collections::BTreeSet<(String, &'static str)>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

/// Returns the guard of `GET`, and of `HEAD`, for which the server leaves the body out.
pub(super) fn read() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}
