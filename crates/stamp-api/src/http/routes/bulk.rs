//! Many stamps in one request.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use domain::stamp::{IntakeLimits, ObjectCid};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::body::{Body, BodyLimits};
use crate::http::caller::StampWriter;
use crate::http::error::ApiError;
use crate::http::error::item::ItemProblem;
use crate::http::holding::hold_until_sent;
use crate::http::problems::OfNewStamps;
use crate::http::routes::bodies::NewStamp;
use crate::http::state::AppState;
use crate::http::trace;
use crate::stamps::gate::OpenIntake;

/// The most stamps in one request: what is stored in some hundred milliseconds.
const MAX_ITEMS: usize = 10_000;

/// Stores those stamps of a request that can be stored, and tells of each what became of it.
#[utoipa::path(
    post,
    path = "/v1/stamps/bulk",
    operation_id = "create_many",
    tag = "stamps",
    request_body(
        content((Vec<NewStamp> = "application/json"), (String = "application/x-ndjson")),
        description = "Up to 10,000 stamps, an array or one object a line, in up to 8 MiB. A line is \
                       `{\"object_cid\": \"1\", \"time_tolerance\": 10}`.",
    ),
    responses(
        (status = 200, description = "A result for each stamp, in order.", body = BulkAnswer),
        OfNewStamps,
    ),
    security((), ("token" = ["stamps:write"])),
)]
pub(super) async fn create(
    _: StampWriter,
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = Body::read(&request, payload, BodyLimits::MANY_STAMPS).await?;
    let (opened, max_tolerance, trace) = (state.intake(), state.max_time_tolerance, trace::of(&request));
    let items = move |body: &Body| {
        let items = body.all_stamp_fields(MAX_ITEMS)?;
        let OpenIntake { clock, intake } = opened?;
        let limits = IntakeLimits { max_tolerance, now: clock.now() };
        let (mut stamps, mut problems) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            let accepted =
                item.map_err(ApiError::from).and_then(|fields| limits.accept(fields).map_err(ApiError::from));
            problems.push(
                accepted.map(|stamp| stamps.push(stamp.with_trace(trace))).err().map(ItemProblem::from),
            );
        }
        Ok((intake, stamps, problems))
    };
    let ((intake, stamps, problems), share) = body.understand(&request, items).await?;
    let stored = intake.submit_all(stamps).await?;
    let answer = HttpResponse::Ok().json(BulkAnswer::new(problems, stored));
    // The answer may be as long as the body was.
    Ok(answer.map_body(|_, answer| hold_until_sent(answer, share)))
}

/// The answer to a request with many stamps.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"created": 1, "results": [{"status": 201, "object_cid": "3"}]}))]
struct BulkAnswer {
    created: usize,
    results: Vec<ItemResult>,
}

/// What became of one of many stamps.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ItemResult {
    Created {
        status: u16,
        #[schema(value_type = String)]
        object_cid: ObjectCid,
    },
    Refused(ItemProblem),
}

impl BulkAnswer {
    /// Returns the answer to items in the order of the request.
    ///
    /// * `problems`: of each item what is wrong with it; nothing with those that were submitted.
    /// * `stored`: of each item that was submitted its id, or nothing if there was a stamp of this id.
    fn new(problems: Vec<Option<ItemProblem>>, stored: Vec<Option<ObjectCid>>) -> Self {
        let created = stored.iter().flatten().count();
        let mut stored = stored.into_iter();
        let result = |problem| match problem {
            Some(problem) => ItemResult::Refused(problem),
            None => stored.next().flatten().map_or_else(
                || ItemResult::Refused(ItemProblem::duplicate()),
                |object_cid| ItemResult::Created { status: StatusCode::CREATED.as_u16(), object_cid },
            ),
        };
        Self { created, results: problems.into_iter().map(result).collect() }
    }
}
