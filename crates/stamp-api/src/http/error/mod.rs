//! The one map from errors to HTTP: `application/problem+json` (RFC 9457).

pub mod item;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use domain::message::IS_ACTIVE;
use domain::stamp::{FieldErrors, MalformedJson, OBJECT_CID, RepeatedField};
use serde::Serialize;
use store::{DatabaseError, ErrorClass};

use crate::auth::token::TokenError;
use crate::messages::check::CheckError;
use crate::messages::sender::SendError;
use crate::stamps::intake::IntakeError;

/// The type of a problem that needs no explanation beyond its status (RFC 9457, section 4.2.1).
const ABOUT_BLANK: &str = "about:blank";
/// The media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// When a client may try again: long enough for a failover to have moved on, short enough for nobody to notice.
const RETRY_AFTER_SECS: &str = "1";

/// The challenge of RFC 6750, section 3. A realm, because a scheme has at least one parameter there.
const CHALLENGE: &str = r#"Bearer realm="stamp-api""#;

/// What a client is told of trouble that lasts.
const OPERATOR_NEEDED: &str = "Trying again won't help before the service's operator acts.";

/// A request that was not served. The text of each is for the client; its source is for the log alone.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Fields with wrong values.
    #[error("The request has invalid fields.")]
    InvalidFields(#[from] FieldErrors),
    /// A body that is not what its content type says.
    #[error("{0}")]
    MalformedBody(String),
    /// No token that can be trusted.
    #[error(transparent)]
    Unauthorized(#[from] TokenError),
    /// A token that does not reach this far.
    #[error("This needs a token with the scope {scope}.")]
    InsufficientScope {
        /// The scope that is missing.
        scope: &'static str,
    },
    /// A path to what is another user's.
    #[error("This belongs to another user.")]
    Forbidden,
    /// A token where the service has no key to check it with.
    #[error("The service has no key to check tokens with. {OPERATOR_NEEDED}")]
    NoKey,
    /// A form that a page of another site has sent, on a route that asks for no token.
    #[error("Pages of other sites can't send this without a token.")]
    CrossSite,
    /// A path that leads nowhere.
    #[error("No route has this path.")]
    NoRoute,
    /// A path that leads to something that does not exist.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// A path that exists, with a method that it does not have.
    #[error("This resource takes {allow}.")]
    MethodNotAllowed {
        /// The methods that the path has.
        allow: &'static str,
    },
    /// A stamp that is there already.
    #[error("A stamp with this object_cid exists.")]
    Duplicate {
        /// The path of the stamp that is there.
        location: String,
    },
    /// A message that is to be deleted and was not put into the trash.
    #[error("This message lies in the inbox, and only what lies in the trash is deleted.")]
    InInbox,
    /// A body that did not arrive in time.
    #[error("The body took longer than {seconds} seconds.")]
    BodyTimeout {
        /// How long the body was waited for.
        seconds: u64,
    },
    /// A body that is too long.
    #[error("The body is longer than {max_bytes} bytes.")]
    BodyTooLarge {
        /// The longest body that is taken, in bytes.
        max_bytes: usize,
    },
    /// A body with more items than are taken at once.
    #[error("The body has more than {max} items.")]
    TooManyItems {
        /// The most items that are taken.
        max: usize,
    },
    /// A body for which the bodies of other requests leave no memory.
    #[error("The service has too much to read at the moment; try again.")]
    Crowded,
    /// Too many new topics by one sender.
    #[error("You have had too many new topics made; users who have one already can be written to.")]
    TooManyTopics {
        /// The time after which another one may be made, in seconds.
        retry_after: u64,
    },
    /// A message that its topic does not take.
    #[error("The message is larger than its topic takes.")]
    MessageTooLarge,
    /// A body in a form that is not read.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// What is needed is away. Whether something was stored is not known.
    #[error("The service can't do this at the moment; try again.")]
    Unavailable(#[source] anyhow::Error),
    /// Something is missing that no further try brings: a key, or a table, a column or a right of the database.
    #[error("{detail} {OPERATOR_NEEDED}")]
    OperatorNeeded {
        /// What is missing, in one sentence for the client.
        detail: &'static str,
        /// What exactly is missing, for the log.
        source: anyhow::Error,
    },
    /// A mistake of ours.
    #[error("The service failed.")]
    Internal(#[source] anyhow::Error),
}

/// The document that a client gets.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    /// One list of sentences for each wrong field, as members beside the document's own.
    #[serde(flatten)]
    fields: &'a FieldErrors,
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::InvalidFields(_) | Self::MalformedBody(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope { .. } | Self::Forbidden | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NoRoute | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Duplicate { .. } | Self::InInbox => StatusCode::CONFLICT,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } | Self::TooManyItems { .. } | Self::MessageTooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyTopics { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::Crowded | Self::OperatorNeeded { .. } | Self::NoKey => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Unauthorized(error) => {
                let code = if error.is_of_a_token() { r#", error="invalid_token""# } else { "" };
                response.insert_header((header::WWW_AUTHENTICATE, format!("{CHALLENGE}{code}")));
            }
            Self::InsufficientScope { scope } => {
                let challenge = format!(r#"{CHALLENGE}, error="insufficient_scope", scope="{scope}""#);
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Self::Duplicate { location } => {
                response.insert_header((header::LOCATION, location.as_str()));
            }
            Self::TooManyTopics { retry_after } => {
                response.insert_header((header::RETRY_AFTER, *retry_after));
            }
            Self::Unavailable(_) => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECS));
            }
            // What is left of the body would be read as the next request.
            Self::BodyTimeout { .. } | Self::BodyTooLarge { .. } => {
                response.force_close();
            }
            Self::Crowded => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECS)).force_close();
            }
            _ => {}
        }
        response.content_type(PROBLEM_JSON).json(Problem {
            r#type: ABOUT_BLANK,
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            fields: &self.fields(),
        })
    }
}

impl ApiError {
    /// Returns what a client is told when the database refuses what the service may expect of it.
    fn refused_by_database(source: anyhow::Error) -> Self {
        Self::OperatorNeeded { detail: "The service's database lacks something that this needs.", source }
    }

    fn of_database(class: ErrorClass, source: anyhow::Error) -> Self {
        match class {
            ErrorClass::Transient => Self::Unavailable(source),
            ErrorClass::Fatal => Self::refused_by_database(source),
            ErrorClass::Data => Self::Internal(source),
        }
    }

    /// Returns what a client is told when Kafka refuses what the service may expect of it.
    fn refused_by_kafka(source: anyhow::Error) -> Self {
        Self::OperatorNeeded { detail: "Kafka refuses the service what this needs.", source }
    }

    /// Returns the word by which it is counted that a caller may not do what was asked; `None` for every other error.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(error) => Some(error.reason()),
            Self::InsufficientScope { .. } => Some("scope"),
            Self::Forbidden => Some("other_user"),
            Self::CrossSite => Some("cross_site"),
            Self::NoKey => Some("no_key"),
            _ => None,
        }
    }

    fn fields(&self) -> FieldErrors {
        match self {
            Self::InvalidFields(errors) => errors.clone(),
            Self::Duplicate { .. } => duplicate(),
            Self::InInbox => FieldErrors::of(IS_ACTIVE, "Put the message into the trash first."),
            _ => FieldErrors::default(),
        }
    }
}

/// Returns what is wrong with a stamp that is there already.
fn duplicate() -> FieldErrors {
    FieldErrors::of(OBJECT_CID, "stamp with this object_cid already exists.")
}

impl From<RepeatedField> for ApiError {
    fn from(repeated: RepeatedField) -> Self {
        Self::InvalidFields(repeated.into())
    }
}

impl From<MalformedJson> for ApiError {
    fn from(error: MalformedJson) -> Self {
        match error {
            MalformedJson::Repeated(repeated) => repeated.into(),
            MalformedJson::TooManyItems { max } => Self::TooManyItems { max },
            malformed => Self::MalformedBody(malformed.to_string()),
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Unavailable => Self::Unavailable(error.into()),
            IntakeError::Refused => Self::refused_by_database(error.into()),
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        Self::of_database(error.class(), error.into())
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        if let SendError::TooManyTopics { retry_after } = error {
            // Whole seconds, and not before the time.
            Self::TooManyTopics { retry_after: retry_after.as_secs() + 1 }
        } else if error.is_too_large() {
            Self::MessageTooLarge
        } else if error.takes_an_operator() {
            Self::refused_by_kafka(error.into())
        } else {
            Self::Unavailable(error.into())
        }
    }
}

impl From<Arc<CheckError>> for ApiError {
    fn from(error: Arc<CheckError>) -> Self {
        match &*error {
            CheckError::Database(database) => Self::of_database(database.class(), error.into()),
            CheckError::Lost => Self::Internal(error.into()),
            check if check.takes_an_operator() => Self::refused_by_kafka(error.into()),
            _ => Self::Unavailable(error.into()),
        }
    }
}

/// Returns why a request failed, in one line for the log, if there is more to say than the client was told.
pub fn cause(error: &ApiError) -> Option<String> {
    match error {
        ApiError::NoKey => Some("set JWT_SECRET or JWT_PUBLIC_KEY".to_owned()),
        ApiError::Unavailable(source)
        | ApiError::OperatorNeeded { source, .. }
        | ApiError::Internal(source) => Some(format!("{source:#}")),
        _ => None,
    }
}
