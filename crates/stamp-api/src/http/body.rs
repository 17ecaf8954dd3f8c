//! Reading the body of a request: how much, how long, and in which form.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::web::{self, Bytes, BytesMut, Payload};
use anyhow::anyhow;
use domain::message::MessageFields;
use domain::stamp::{MalformedJson, StampFields};
use futures_util::StreamExt as _;
use percent_encoding::percent_decode;

use crate::http::budget::{BodyBudget, BodyShare, LARGEST_BODY};
use crate::http::error::ApiError;
use crate::http::media_type::{MediaType, MediaTypes};

/// What is taken for a body: in which forms, how much, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The forms that are read.
    pub media_types: MediaTypes,
    /// The longest body.
    pub bytes: usize,
    /// The longest time from the head of the request to the end of its body.
    pub time: Duration,
    /// When the body takes its memory.
    pub charged: Charged,
}

/// When a body takes its memory out of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// For each piece as it comes, whatever the head announces: a body that is not sent takes nothing.
    AsItComes,
    /// All that the head announces before anything is read, or the longest body where it announces nothing: large
    /// bodies that took theirs piece by piece would wait for each other, each half read.
    AtOnce,
}

impl BodyLimits {
    /// The limits of one stamp: what it needs, many times over.
    pub const ONE_STAMP: Self = Self {
        media_types: MediaTypes::JSON_OR_FORM,
        bytes: 64 * 1024,
        time: Duration::from_secs(10),
        charged: Charged::AsItComes,
    };
    /// The limits of one message, those of a stamp; a message has no form but JSON.
    pub const ONE_MESSAGE: Self = Self { media_types: MediaTypes::JSON, ..Self::ONE_STAMP };
    /// The limits of many stamps in one request.
    pub const MANY_STAMPS: Self = Self {
        media_types: MediaTypes::JSON_OR_LINES,
        bytes: LARGEST_BODY,
        charged: Charged::AtOnce,
        ..Self::ONE_STAMP
    };
}

/// A body, whole.
#[derive(Debug)]
pub struct Body {
    media_type: MediaType,
    bytes: Bytes,
    share: BodyShare,
}

impl Body {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 415 and, where `Content-Length` says so, 413 before anything is read; then 413, 408, 400 if the body breaks
    /// off, or 503 if all bodies together leave no memory for it.
    pub async fn read(request: &HttpRequest, payload: Payload, limits: BodyLimits) -> Result<Self, ApiError> {
        let media_type = limits.media_types.of(request.headers())?;
        let announced = announced_length(request.headers(), limits.bytes);
        if announced > limits.bytes {
            return Err(ApiError::BodyTooLarge { max_bytes: limits.bytes });
        }
        let budget = budget(request)?;
        let collected = async {
            let share = match limits.charged {
                Charged::AsItComes => BodyShare::default(),
                Charged::AtOnce => budget.reserve(announced).await.ok_or(ApiError::Crowded)?,
            };
            collect(payload, limits.bytes, budget, share).await
        };
        let (bytes, share) = tokio::time::timeout(limits.time, collected)
            .await
            .map_err(|_| ApiError::BodyTimeout { seconds: limits.time.as_secs() })??;
        Ok(Self { media_type, bytes, share })
    }

    /// Finds the members of one stamp in the body.
    ///
    /// # Errors
    /// 400 if the body is not what its content type says, or repeats a member.
    pub fn stamp_fields(&self) -> Result<StampFields<'_>, ApiError> {
        match self.media_type {
            MediaType::Json | MediaType::JsonLines => Ok(StampFields::from_json(&self.bytes)?),
            MediaType::Form => Ok(StampFields::from_text_pairs(form_pairs(&self.bytes)?.into_iter())?),
        }
    }

    /// Finds the members of at most `max` stamps in the body, which is a JSON array or lines of JSON:
    /// [`BodyLimits::MANY_STAMPS`]. What is wrong with one of them stands in its place.
    ///
    /// # Errors
    /// 400 if the body can't be read to its end, 413 if there are more than `max`.
    pub fn all_stamp_fields(
        &self,
        max: usize,
    ) -> Result<Vec<Result<StampFields<'_>, MalformedJson>>, ApiError> {
        Ok(match self.media_type {
            MediaType::Json | MediaType::Form => StampFields::from_json_array(&self.bytes, max)?,
            MediaType::JsonLines => StampFields::from_json_lines(&self.bytes, max)?,
        })
    }

    /// Makes something of a large body on a thread of its own, and lets the body go. Returns it with what the body holds
    /// of the budget. Megabytes take so long to understand that others whom a worker serves would notice.
    ///
    /// # Errors
    /// What `understand` says.
    pub async fn understand<T: Send + 'static>(
        self,
        request: &HttpRequest,
        understand: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, BodyShare), ApiError> {
        let turn = budget(request)?.turn().await;
        let understood = web::block(move || {
            let understood = understand(&self);
            drop((self.bytes, turn));
            Ok((understood?, self.share))
        });
        understood.await.map_err(|ended| ApiError::Internal(ended.into()))?
    }

    /// Finds the members of one message in the body, which is JSON: [`BodyLimits::ONE_MESSAGE`].
    ///
    /// # Errors
    /// 400 if the body is no JSON object, or repeats a member.
    pub fn message_fields(&self) -> Result<MessageFields<'_>, ApiError> {
        Ok(MessageFields::from_json(&self.bytes)?)
    }
}

fn budget(request: &HttpRequest) -> Result<&BodyBudget, ApiError> {
    let budget = request.app_data::<BodyBudget>();
    budget.ok_or_else(|| ApiError::Internal(anyhow!("the application has no budget")))
}

/// Collects a body. `share`: what it holds of the budget already; what comes beyond is taken piece by piece.
async fn collect(
    mut payload: Payload,
    max_bytes: usize,
    budget: &BodyBudget,
    mut share: BodyShare,
) -> Result<(Bytes, BodyShare), ApiError> {
    // A body that grew would be copied, and lie there twice meanwhile.
    let mut body = BytesMut::with_capacity(share.bytes());
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| ApiError::MalformedBody(format!("The body breaks off: {error}.")))?;
        if body.len() + chunk.len() > max_bytes {
            return Err(ApiError::BodyTooLarge { max_bytes });
        }
        if !budget.cover(&mut share, body.len() + chunk.len()).await {
            return Err(ApiError::Crowded);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), share))
}

/// Returns what `Content-Length` says; the server has made sure that it is a number. `max`: what a chunked body may come
/// to.
fn announced_length(headers: &HeaderMap, max: usize) -> usize {
    if headers.contains_key(TRANSFER_ENCODING) {
        return max;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.map_or(0, |length| length.parse().unwrap_or(usize::MAX))
}

/// A name and a value of a form.
pub type Pair = (Cow<'static, str>, Cow<'static, str>);

/// Decodes the pairs of a form as the URL standard has it, except that what is not UTF-8 is refused: a
/// replacement character would be an id that nobody sent.
///
/// # Errors
/// 400 if a name or a value is not UTF-8.
pub fn form_pairs(body: &[u8]) -> Result<Vec<Pair>, ApiError> {
    let pair = |pair: &[u8]| {
        let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
        Ok((form_text(name)?.into(), form_text(value)?.into()))
    };
    body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn form_text(encoded: &[u8]) -> Result<String, ApiError> {
    let spaced: Vec<u8> = encoded.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect())
        .map_err(|error| ApiError::MalformedBody(format!("The form is not UTF-8: {}.", error.utf8_error())))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::CONTENT_TYPE;
    use actix_web::test::TestRequest;
    use actix_web::{FromRequest, dev};
    use futures_util::stream;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { bytes: 16, time: Duration::from_millis(20), ..BodyLimits::ONE_STAMP };

    fn form(body: &str) -> Result<Vec<(String, String)>, ApiError> {
        let owned = |(name, value): Pair| (name.into_owned(), value.into_owned());
        Ok(form_pairs(body.as_bytes())?.into_iter().map(owned).collect())
    }

    fn one(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    async fn read(request: TestRequest) -> Result<Body, ApiError> {
        let (request, mut payload) = request.app_data(BodyBudget::new(1 << 20)).to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.expect("any body");
        Body::read(&request, payload, LIMITS).await
    }

    #[test]
    fn a_form_is_decoded_once() {
        assert_eq!(form("object_cid=a%2520b+c%2B").expect("a form"), one("object_cid", "a%20b c+"));
        assert_eq!(form("a=%F0%9F%98%80=&&").expect("a form"), one("a", "\u{1f600}="));
        assert_eq!(form("a").expect("a form"), one("a", ""));
        assert_eq!(form("a=100%&").expect("a form"), one("a", "100%"));
    }

    #[test]
    fn a_form_that_is_not_utf_8_is_refused_not_repaired() {
        for body in ["a=%FF", "%C3=b", "a=%ED%A0%80"] {
            assert!(matches!(form(body), Err(ApiError::MalformedBody(_))), "{body}");
        }
    }

    #[test]
    fn a_repeated_field_is_that_field_s_error() {
        for (media_type, text) in [
            (MediaType::Form, "object_cid=a&object_cid=b"),
            (MediaType::Json, r#"{"object_cid":"a","object_cid":"b"}"#),
        ] {
            let body =
                Body { media_type, bytes: Bytes::from_static(text.as_bytes()), share: BodyShare::default() };
            match body.stamp_fields() {
                Err(ApiError::InvalidFields(errors)) => {
                    assert!(errors.to_string().starts_with("object_cid:"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[actix_web::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let json = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let request = json.app_data(BodyBudget::new(1 << 20)).to_http_request();
        let mut silence: dev::Payload = dev::Payload::Stream { payload: Box::pin(stream::pending()) };
        let payload = Payload::from_request(&request, &mut silence).await.expect("any body");
        let outcome = Body::read(&request, payload, LIMITS).await;
        assert!(matches!(outcome, Err(ApiError::BodyTimeout { .. })), "{outcome:?}");
    }

    #[actix_web::test]
    async fn a_body_may_fill_its_limit_and_no_more() {
        let json = || TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let full = read(json().set_payload("x".repeat(LIMITS.bytes))).await.expect("at the limit");
        assert_eq!(full.bytes.len(), LIMITS.bytes);
        let over = read(json().set_payload("x".repeat(LIMITS.bytes + 1))).await;
        assert!(matches!(over, Err(ApiError::BodyTooLarge { max_bytes: 16 })), "{over:?}");
        // The body itself never comes: what the head announces is enough.
        let announced = read(json().insert_header((CONTENT_LENGTH, "18446744073709551615"))).await;
        assert!(matches!(announced, Err(ApiError::BodyTooLarge { .. })), "{announced:?}");
    }
}
