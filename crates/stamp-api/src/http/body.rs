//! Reading the body of a request: how much, how long, and in which form.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use anyhow::anyhow;
use domain::message::MessageFields;
use domain::stamp::StampFields;
use futures_util::StreamExt as _;
use percent_encoding::percent_decode;

use crate::http::budget::{BodyBudget, BodyShare};
use crate::http::error::ApiError;

const SUPPORTED: &str =
    "Send the body as application/json or application/x-www-form-urlencoded, in UTF-8 if a charset is named.";
const JSON: &str = "Send the body as application/json, in UTF-8 if a charset is named.";
const UNENCODED: &str = "Send the body without a Content-Encoding.";

/// What is taken for a body: in which forms, how much, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The forms that are read.
    pub media_types: &'static [MediaType],
    /// The longest body.
    pub bytes: usize,
    /// The longest time from the head of the request to the end of its body.
    pub time: Duration,
}

impl BodyLimits {
    /// The limits of one stamp: what it needs, many times over.
    pub const ONE_STAMP: Self = Self {
        media_types: &[MediaType::Json, MediaType::Form],
        bytes: 64 * 1024,
        time: Duration::from_secs(10),
    };
    /// The limits of one message, those of a stamp; a message has no form but JSON.
    pub const ONE_MESSAGE: Self = Self { media_types: &[MediaType::Json], ..Self::ONE_STAMP };
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// A body, whole.
#[derive(Debug)]
pub struct Body {
    media_type: MediaType,
    bytes: Bytes,
    _share: BodyShare,
}

impl Body {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 415 and, where `Content-Length` says so, 413 before anything is read; then 413, 408, 400 if the body breaks
    /// off, or 503 if all bodies together leave no memory for it.
    pub async fn read(request: &HttpRequest, payload: Payload, limits: BodyLimits) -> Result<Self, ApiError> {
        let media_type = media_type(request.headers(), limits.media_types)?;
        if announced_length(request.headers()) > limits.bytes as u64 {
            return Err(ApiError::BodyTooLarge { max_bytes: limits.bytes });
        }
        let budget = request.app_data::<BodyBudget>();
        let budget = budget.ok_or_else(|| ApiError::Internal(anyhow!("the application has no budget")))?;
        let collected = collect(payload, limits.bytes, budget);
        let (bytes, share) = tokio::time::timeout(limits.time, collected)
            .await
            .map_err(|_| ApiError::BodyTimeout { seconds: limits.time.as_secs() })??;
        Ok(Self { media_type, bytes, _share: share })
    }

    /// Finds the members of one stamp in the body.
    ///
    /// # Errors
    /// 400 if the body is not what its content type says, or repeats a member.
    pub fn stamp_fields(&self) -> Result<StampFields<'_>, ApiError> {
        match self.media_type {
            MediaType::Json => Ok(StampFields::from_json(&self.bytes)?),
            MediaType::Form => Ok(StampFields::from_text_pairs(form_pairs(&self.bytes)?.into_iter())?),
        }
    }

    /// Finds the members of one message in the body, which is JSON: [`BodyLimits::ONE_MESSAGE`].
    ///
    /// # Errors
    /// 400 if the body is no JSON object, or repeats a member.
    pub fn message_fields(&self) -> Result<MessageFields<'_>, ApiError> {
        Ok(MessageFields::from_json(&self.bytes)?)
    }
}

/// Collects a body. What of it has come counts in the budget, not what its head announces.
async fn collect(
    mut payload: Payload,
    max_bytes: usize,
    budget: &BodyBudget,
) -> Result<(Bytes, BodyShare), ApiError> {
    let (mut body, mut share) = (BytesMut::new(), BodyShare::default());
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

/// Returns what `Content-Length` says; the server has made sure that it is a number.
fn announced_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn media_type(headers: &HeaderMap, accepted: &[MediaType]) -> Result<MediaType, ApiError> {
    let plain = |encoding: &[u8]| encoding.trim_ascii().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).all(|encoding| plain(encoding.as_bytes())) {
        return Err(ApiError::UnsupportedMediaType(UNENCODED));
    }
    let mut types = headers.get_all(CONTENT_TYPE);
    match (types.next().and_then(|one| one.to_str().ok()), types.next()) {
        (Some(content_type), None) => parse_media_type(content_type),
        _ => None,
    }
    .filter(|media_type| accepted.contains(media_type))
    .ok_or(ApiError::UnsupportedMediaType(if accepted.contains(&MediaType::Form) {
        SUPPORTED
    } else {
        JSON
    }))
}

/// Reads `type/subtype; charset=utf-8`: a parameter that is not understood could change what the bytes mean.
fn parse_media_type(content_type: &str) -> Option<MediaType> {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" => MediaType::Json,
        "application/x-www-form-urlencoded" => MediaType::Form,
        _ => return None,
    };
    let is_utf_8 = |parameter: &str| {
        let parameter = parameter.to_ascii_lowercase().replace('"', "");
        // The second is what many programs write, and the Encoding Standard has as a label of UTF-8.
        parameter.is_empty() || matches!(parameter.as_str(), "charset=utf-8" | "charset=utf8")
    };
    parts.all(is_utf_8).then_some(media_type)
}

type Pair = (Cow<'static, str>, Cow<'static, str>);

/// Decodes the pairs of a form as the URL standard has it, except that what is not UTF-8 is refused: a
/// replacement character would be an id that nobody sent.
fn form_pairs(body: &[u8]) -> Result<Vec<Pair>, ApiError> {
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
    use actix_web::http::header::{HeaderName, HeaderValue};
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
    fn json_and_forms_are_read_in_utf_8_only() {
        for (content_type, expected) in [
            ("application/json", Some(MediaType::Json)),
            ("Application/JSON; Charset=UTF-8", Some(MediaType::Json)),
            ("application/x-www-form-urlencoded;charset=\"utf-8\"", Some(MediaType::Form)),
            ("application/json;", Some(MediaType::Json)),
            ("application/json; charset=utf8", Some(MediaType::Json)),
            ("application/json; charset=utf-7", None),
            ("application/json; profile=x", None),
            ("application/jsonp", None),
            ("application/xml", None),
            ("text/plain", None),
            ("multipart/form-data; boundary=x", None),
            ("", None),
        ] {
            assert_eq!(parse_media_type(content_type), expected, "{content_type:?}");
        }
    }

    #[test]
    fn an_encoded_body_or_two_types_are_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        let json = ("content-type", "application/json");
        for (pairs, fine) in [
            (&[json][..], true),
            (&[json, ("content-encoding", "Identity")], true),
            (&[json, ("content-encoding", "gzip")], false),
            (&[json, ("content-encoding", "identity"), ("content-encoding", "br")], false),
            (&[json, ("content-type", "application/x-www-form-urlencoded")], false),
            (&[], false),
        ] {
            assert_eq!(
                media_type(&headers(pairs), BodyLimits::ONE_STAMP.media_types).is_ok(),
                fine,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_message_comes_as_json_alone() {
        for (content_type, fine) in [("application/json", true), ("application/x-www-form-urlencoded", false)]
        {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
            let outcome = media_type(&headers, BodyLimits::ONE_MESSAGE.media_types);
            assert_eq!(outcome.is_ok(), fine, "{content_type}: {outcome:?}");
        }
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
                Body { media_type, bytes: Bytes::from_static(text.as_bytes()), _share: BodyShare::default() };
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
