//! The routes beside their description.

use std::collections::BTreeSet;

use super::Service;

// Break: leave `list` out of the paths of `BatchRoutes` in routes/batches.rs.
#[actix_web::test]
async fn every_route_is_described_with_the_methods_that_it_has() {
    let service = Service::start();
    service.ask("GET", "/livez").await;
    let made = crate::http::resource::MADE.lock().expect("no panic").clone();
    let methods = |(route, allow): &(String, &'static str)| {
        // `HEAD` goes where `GET` does; `GET /v1/stamps/bulk` reads the stamp of that name.
        let own =
            |method: &&str| *method != "HEAD" && (route.as_str(), *method) != ("/v1/stamps/bulk", "GET");
        allow.split(", ").filter(own).map(|method| (route.clone(), method.to_lowercase())).collect::<Vec<_>>()
    };
    let made: BTreeSet<(String, String)> = made.iter().flat_map(methods).collect();
    let document = serde_json::to_value(crate::http::routes::openapi::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(described, made);
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(summary.ends_with('.'), "{method} {path} says what it does: {operation}");
        }
    }
    service.stop().await;
}
