//! The routes beside their description.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Service;

// Break: leave `list` out of the paths of `BatchRoutes` in routes/batches.rs, or don't call `with_own_id` in
// routes/openapi.rs.
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
    let mut ids = BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(summary.ends_with('.'), "{method} {path} says what it does: {operation}");
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} stands for one operation");
        }
    }
    for response in described_responses(&document) {
        for link in response["links"].as_object().into_iter().flatten() {
            let leads_to = link.1["operationId"].as_str().expect("an id");
            assert!(ids.contains(leads_to), "a link leads to {leads_to}");
        }
    }
    service.stop().await;
}

fn described_responses(document: &Value) -> impl Iterator<Item = &Value> {
    let operations =
        document["paths"].as_object().into_iter().flatten().filter_map(|(_, item)| item.as_object());
    operations
        .flatten()
        .filter_map(|(_, operation)| operation["responses"].as_object())
        .flatten()
        .map(|it| it.1)
}
