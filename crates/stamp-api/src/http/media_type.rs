//! The forms in which a body comes, and which of them a route takes.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::error::ApiError;

const UNENCODED: &str = "Send the body without a Content-Encoding.";

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    JsonLines,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// The forms that a route takes.
#[derive(Debug, Clone, Copy)]
pub struct MediaTypes {
    all: &'static [MediaType],
    /// What a client is told that sends another one.
    advice: &'static str,
}

impl MediaTypes {
    /// JSON alone.
    pub const JSON: Self = Self {
        all: &[MediaType::Json],
        advice: "Send the body as application/json, in UTF-8 if a charset is named.",
    };
    /// JSON and forms.
    pub const JSON_OR_FORM: Self = Self {
        all: &[MediaType::Json, MediaType::Form],
        advice: "Send the body as application/json or application/x-www-form-urlencoded, in UTF-8 if a charset is named.",
    };
    /// JSON, and lines of it.
    pub const JSON_OR_LINES: Self = Self {
        all: &[MediaType::Json, MediaType::JsonLines],
        advice: "Send the body as application/json or application/x-ndjson, in UTF-8 if a charset is named.",
    };

    /// Returns the form that a request's body has.
    ///
    /// # Errors
    /// 415 if it is none of these.
    pub fn of(self, headers: &HeaderMap) -> Result<MediaType, ApiError> {
        let plain = |encoding: &[u8]| encoding.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(CONTENT_ENCODING).all(|encoding| plain(encoding.as_bytes())) {
            return Err(ApiError::UnsupportedMediaType(UNENCODED));
        }
        let mut types = headers.get_all(CONTENT_TYPE);
        match (types.next().and_then(|one| one.to_str().ok()), types.next()) {
            (Some(content_type), None) => parse(content_type),
            _ => None,
        }
        .filter(|media_type| self.all.contains(media_type))
        .ok_or(ApiError::UnsupportedMediaType(self.advice))
    }
}

/// Reads `type/subtype; charset=utf-8`: a parameter that is not understood could change what the bytes mean.
fn parse(content_type: &str) -> Option<MediaType> {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" => MediaType::Json,
        "application/x-ndjson" => MediaType::JsonLines,
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

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn json_lines_of_it_and_forms_are_read_in_utf_8_only() {
        for (content_type, expected) in [
            ("application/json", Some(MediaType::Json)),
            ("Application/JSON; Charset=UTF-8", Some(MediaType::Json)),
            ("application/x-www-form-urlencoded;charset=\"utf-8\"", Some(MediaType::Form)),
            ("application/x-ndjson; charset=utf-8", Some(MediaType::JsonLines)),
            ("application/json;", Some(MediaType::Json)),
            ("application/json; charset=utf8", Some(MediaType::Json)),
            ("application/json; charset=utf-7", None),
            ("application/x-ndjson; charset=utf-16", None),
            ("application/json; profile=x", None),
            ("application/jsonp", None),
            ("application/xml", None),
            ("text/plain", None),
            ("multipart/form-data; boundary=x", None),
            ("", None),
        ] {
            assert_eq!(parse(content_type), expected, "{content_type:?}");
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
            assert_eq!(MediaTypes::JSON_OR_FORM.of(&headers(pairs)).is_ok(), fine, "{pairs:?}");
        }
    }

    #[test]
    fn each_route_takes_its_own_forms() {
        for (content_type, form, lines) in [
            ("application/json", true, true),
            ("application/x-www-form-urlencoded", true, false),
            ("application/x-ndjson", false, true),
        ] {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
            for (types, fine) in [
                (MediaTypes::JSON, content_type == "application/json"),
                (MediaTypes::JSON_OR_FORM, form),
                (MediaTypes::JSON_OR_LINES, lines),
            ] {
                let outcome = types.of(&headers);
                assert_eq!(outcome.is_ok(), fine, "{content_type}: {outcome:?}");
            }
        }
    }
}
