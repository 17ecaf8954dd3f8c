//! Batches that were processed: all of them, and one with its stamps.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use domain::delivery::Sink;
use domain::stamp::format_date;
use serde::Serialize;
use store::deliveries::queries::{self as deliveries, Delivery, DeliveryState};
use store::stamps::batches::{self, BatchRow};
use store::stamps::lists::{self, Place, StampList};
use utoipa::openapi::schema::Schema;
use utoipa::{OpenApi, ToSchema};

use super::bodies::{StampBody, trigger, word};
use crate::http::caller::StampReader;
use crate::http::cursor;
use crate::http::error::ApiError;
use crate::http::problems::{OfList, OfListOfOne};
use crate::http::query::{ListBody, Query};
use crate::http::resource::{READ, read, resource};
use crate::http::state::AppState;

/// How many of a batch's stamps an answer has unless the client says otherwise, and how many at most: a batch may have
/// millions.
const STAMPS: i64 = 200;
const MAX_STAMPS: i64 = 1_000;
/// The name of the list of batches in its cursors.
const BATCHES: &str = "batches";

/// The routes of this file.
#[derive(OpenApi)]
#[openapi(paths(list, show))]
pub struct BatchRoutes;

/// Adds `/v1/batches` and `/v1/batches/{id}`.
pub fn configure(config: &mut web::ServiceConfig) {
    let collection = ["/v1/batches", "/v1/batches/"];
    let item = ["/v1/batches/{id}", "/v1/batches/{id}/"];
    config
        .service(resource("/v1/batches", collection, READ).route(web::route().guard(read()).to(list)))
        .service(resource("/v1/batches/{id}", item, READ).route(web::route().guard(read()).to(show)));
}

/// A batch.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": 1, "trigger": "min_batch_size", "size": 2, "listener": "host-4711",
    "processed_at": "2026-01-01T12:00:03.431907Z", "delivery": null,
}))]
struct BatchBody {
    id: i64,
    #[schema(schema_with = trigger)]
    trigger: String,
    size: i32,
    /// The instance that made the batch.
    listener: String,
    #[schema(format = "date-time")]
    processed_at: String,
    /// Null where the batch was made while no sink was set.
    delivery: Option<DeliveryBody>,
}

/// A batch with some of its stamps.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": 1, "trigger": "min_batch_size", "size": 2, "listener": "host-4711",
    "processed_at": "2026-01-01T12:00:03.431907Z",
    "delivery": {
        "sink": "webhook", "state": "delivered", "attempts": 1, "next_attempt_at": null,
        "delivered_at": "2026-01-01T12:00:03.459120Z", "last_error": null,
    },
    "stamps": [
        {
            "object_cid": "1", "time_tolerance": 10, "created_date": "2026-01-01T12:00:00.000000Z",
            "process_after": "2026-01-01T12:10:00.000000Z",
            "kafka": {"topic": "topic_data_created", "partition": 3, "offset": 0},
        },
        {
            "object_cid": "2", "time_tolerance": 10, "created_date": "2026-01-01T12:00:03.418250Z",
            "process_after": "2026-01-01T12:10:03.418250Z",
            "kafka": {"topic": "topic_data_created", "partition": 7, "offset": 0},
        },
    ],
    "next": null,
}))]
struct BatchWithStamps {
    #[serde(flatten)]
    batch: BatchBody,
    stamps: Vec<StampBody>,
    /// A cursor, if the batch has more stamps.
    next: Option<String>,
}

/// What has become of telling a batch to the outside.
#[derive(Serialize, ToSchema)]
struct DeliveryBody {
    #[schema(schema_with = sink)]
    sink: String,
    #[schema(schema_with = delivery_state)]
    state: &'static str,
    attempts: i32,
    #[schema(format = "date-time")]
    next_attempt_at: Option<String>,
    #[schema(format = "date-time")]
    delivered_at: Option<String>,
    last_error: Option<String>,
}

fn sink() -> Schema {
    word(Sink::ALL.map(Sink::as_str), "What the batch is told to.")
}

fn delivery_state() -> Schema {
    word(DeliveryState::ALL.map(DeliveryState::as_str), "What has become of it.")
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            state: delivery.state.as_str(),
            sink: delivery.sink,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at.map(format_date),
            delivered_at: delivery.delivered_at.map(format_date),
            last_error: delivery.last_error,
        }
    }
}

impl BatchBody {
    fn new(batch: BatchRow, delivery: Option<Delivery>) -> Self {
        Self {
            id: batch.id,
            trigger: batch.trigger,
            size: batch.size,
            listener: batch.listener,
            processed_at: format_date(batch.processed_at),
            delivery: delivery.map(DeliveryBody::from),
        }
    }
}

/// Lists batches, those first that were made last.
#[utoipa::path(
    get,
    path = "/v1/batches",
    tag = "batches",
    params(
        ("limit" = Option<i64>, Query, description = "How many, 50 by default.", minimum = 1, maximum = 200,
         example = 50),
        ("after" = Option<String>, Query, description = "`next` of the page before.", example = "YmF0Y2hlczo1Mjs"),
    ),
    responses((status = 200, description = "A page.", body = ListBody<BatchBody>), OfList),
    security((), ("token" = ["stamps:read"])),
)]
async fn list(
    _: StampReader,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::of(&request)?;
    let limit = query.limit();
    let after = query.after::<1>(BATCHES);
    query.finish()?;
    let (rows, are_more) = batches::list(&state.stamps, after.map(|[id]| id), limit).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let deliveries = deliveries::of(&state.stamps, &ids).await?;
    let mut deliveries: HashMap<i64, Delivery> = deliveries.into_iter().map(|one| (one.batch, one)).collect();
    let next = ids.last().filter(|_| are_more).map(|id| cursor::encode(BATCHES, [*id]));
    let items = rows.into_iter().map(|row| {
        let delivery = deliveries.remove(&row.id);
        BatchBody::new(row, delivery)
    });
    Ok(HttpResponse::Ok().json(ListBody { items: items.collect(), next }))
}

/// Shows a batch with some of its stamps.
#[utoipa::path(
    get,
    path = "/v1/batches/{id}",
    tag = "batches",
    params(
        ("id" = i64, Path, description = "The batch's number.", example = 1),
        ("limit" = Option<i64>, Query, description = "How many stamps, 200 by default.", minimum = 1, maximum = 1000,
         example = 200),
        ("after" = Option<String>, Query, description = "`next` of the page before.", example = "YmF0Y2gtMToyMDI7"),
    ),
    responses((status = 200, description = "The batch.", body = BatchWithStamps), OfListOfOne),
    security((), ("token" = ["stamps:read"])),
)]
async fn show(
    _: StampReader,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = batch_id(request.match_info().query("id")).ok_or(ApiError::NotFound("batch"))?;
    let of_batch = format!("batch-{id}");
    let mut query = Query::of(&request)?;
    let limit = query.limit_up_to(STAMPS, MAX_STAMPS);
    let after = query.after::<1>(&of_batch);
    query.finish()?;
    let batch = batches::find(&state.stamps, id).await?.ok_or(ApiError::NotFound("batch"))?;
    let after = after.map(|[stamp]| Place { batch: 0, stamp });
    let page = lists::page(&state.stamps, StampList::OfBatch(id), after, limit).await?;
    let delivery = deliveries::of(&state.stamps, &[id]).await?.pop();
    Ok(HttpResponse::Ok().json(BatchWithStamps {
        batch: BatchBody::new(batch, delivery),
        stamps: page.stamps.into_iter().map(StampBody::from).collect(),
        next: page.next.map(|place| cursor::encode(&of_batch, [place.stamp])),
    }))
}

/// Reads plain digits: no sign, nothing that a `bigint` can't hold.
fn batch_id(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_or_leads_nowhere() {
        assert_eq!(batch_id("42"), Some(42));
        assert_eq!(batch_id("9223372036854775807"), Some(i64::MAX));
        for text in ["", "-1", "+1", "1.0", "9223372036854775808", "1 OR 1=1", "\u{0661}"] {
            assert_eq!(batch_id(text), None, "{text:?}");
        }
    }
}
