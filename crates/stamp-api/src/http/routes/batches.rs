//! Batches that were processed.

use actix_web::{HttpRequest, HttpResponse, web};
use domain::stamp::format_date;
use serde::Serialize;
use store::deliveries::queries::{self as deliveries, Delivery};
use store::stamps::batches::{self, BatchRow};
use store::stamps::states::StampState;

use super::stamps::StampBody;
use crate::http::caller::StampReader;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::http::resource::{READ, read, resource};
use crate::http::state::AppState;

/// How many of a batch's stamps an answer has unless the client says otherwise, and how many at most: a batch may have
/// millions.
const STAMPS: i64 = 200;
const MAX_STAMPS: i64 = 1_000;

/// Adds `/v1/batches/{id}`.
pub fn configure(config: &mut web::ServiceConfig) {
    let patterns = ["/v1/batches/{id}", "/v1/batches/{id}/"];
    config.service(resource("/v1/batches/{id}", patterns, READ).route(web::route().guard(read()).to(show)));
}

/// A batch with its stamps.
#[derive(Serialize)]
struct BatchBody {
    id: i64,
    trigger: String,
    size: i32,
    listener: String,
    processed_at: String,
    stamps: Vec<StampBody>,
    /// Null where the batch was made while no sink was set.
    delivery: Option<DeliveryBody>,
}

/// What has become of telling a batch to the outside.
#[derive(Serialize)]
struct DeliveryBody {
    sink: String,
    state: &'static str,
    attempts: i32,
    next_attempt_at: Option<String>,
    delivered_at: Option<String>,
    last_error: Option<String>,
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
    fn new(batch: BatchRow, stamps: Vec<StampState>, delivery: Option<Delivery>) -> Self {
        Self {
            id: batch.id,
            trigger: batch.trigger,
            size: batch.size,
            listener: batch.listener,
            processed_at: format_date(batch.processed_at),
            stamps: stamps.into_iter().map(StampBody::from).collect(),
            delivery: delivery.map(DeliveryBody::from),
        }
    }
}

async fn show(
    _: StampReader,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = batch_id(request.match_info().query("id")).ok_or(ApiError::NotFound("batch"))?;
    let mut query = Query::of(&request)?;
    let limit = query.limit_up_to(STAMPS, MAX_STAMPS);
    query.finish()?;
    let (batch, stamps) =
        batches::find(&state.stamps, id, limit).await?.ok_or(ApiError::NotFound("batch"))?;
    let delivery = deliveries::find(&state.stamps, id).await?;
    Ok(HttpResponse::Ok().json(BatchBody::new(batch, stamps, delivery)))
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
