//! What is wrong with one of many items in a body.

use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use domain::stamp::FieldErrors;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, duplicate};

/// An item that was refused, with the status and the errors that it would have got by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemProblem {
    status: u16,
    /// What is wrong where no field is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Vec<String>>)]
    fields: FieldErrors,
}

impl ItemProblem {
    /// Returns what is wrong with a stamp that is there already.
    pub fn duplicate() -> Self {
        Self { status: StatusCode::CONFLICT.as_u16(), detail: None, fields: duplicate() }
    }
}

impl From<ApiError> for ItemProblem {
    fn from(error: ApiError) -> Self {
        let fields = error.fields();
        let detail = fields.is_empty().then(|| error.to_string());
        Self { status: error.status_code().as_u16(), detail, fields }
    }
}

#[cfg(test)]
mod tests {
    use domain::stamp::{MalformedJson, StampFields};
    use serde_json::{Value, json};

    use super::*;

    fn shown(problem: &ItemProblem) -> Value {
        serde_json::to_value(problem).expect("JSON")
    }

    #[test]
    fn an_item_has_the_errors_of_its_fields_or_a_sentence_where_none_is_to_blame() {
        let malformed = |text: &str| {
            let error: MalformedJson = StampFields::from_json(text.as_bytes()).expect_err("malformed");
            ItemProblem::from(ApiError::from(error))
        };
        for (problem, expected) in [
            (
                ItemProblem::duplicate(),
                json!({"status": 409, "object_cid": ["stamp with this object_cid already exists."]}),
            ),
            (
                ItemProblem::from(ApiError::from(FieldErrors::of("time_tolerance", "No."))),
                json!({"status": 400, "time_tolerance": ["No."]}),
            ),
            (malformed("7"), json!({"status": 400, "detail": "A JSON object is required."})),
            (
                malformed(r#"{"object_cid":1,"object_cid":1}"#),
                json!({"status": 400, "object_cid": ["This field may be given only once."]}),
            ),
        ] {
            assert_eq!(shown(&problem), expected);
        }
    }
}
