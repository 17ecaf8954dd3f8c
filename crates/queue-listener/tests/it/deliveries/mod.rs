//! Batches that are told to the outside.

mod commands;
mod echo;
mod receiver;
mod topic;
mod webhook;

use serde_json::Value;

/// Returns the ids of the stamps that events tell, sorted.
fn stamps<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let of = |event: &Value| event["data"]["stamps"].as_array().cloned().unwrap_or_default();
    let id = |stamp: &Value| stamp["object_cid"].as_str().unwrap_or_default().to_owned();
    let mut ids: Vec<String> =
        events.into_iter().flat_map(|event| of(event).iter().map(id).collect::<Vec<_>>()).collect();
    ids.sort();
    ids
}
