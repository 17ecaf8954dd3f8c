//! Making tokens, for operators and for trying things out. In production an identity provider does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use platform::settings::InvalidSetting;
use serde::Serialize;
use uuid::Uuid;

use super::crypto;
use super::key::{JWT_PUBLIC_KEY, JWT_SECRET, Key};
use super::settings::AuthSettings;

/// The longest that a token may be valid: nobody can take one back, and who wants one for longer wants an identity
/// provider.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3_600);

/// What a token is to say.
#[derive(Debug, Clone, clap::Args)]
pub struct Grant {
    /// Uuid of the user.
    #[arg(long, value_name = "UUID")]
    pub user: Uuid,
    /// A scope, or several separated by spaces, such as `messages:send`; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// How long the token is valid, such as 30s, 15m, 1h or 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    pub ttl: Duration,
}

/// The claims of a token (RFC 7519, section 4.1); times are whole seconds since 1970.
#[derive(Serialize)]
struct IssuedClaims<'a> {
    sub: Uuid,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs a token with `JWT_SECRET` (HS256), for the configured audience and from the configured issuer.
///
/// # Errors
/// If there is no secret.
pub fn token(settings: &AuthSettings, grant: &Grant, now: DateTime<Utc>) -> anyhow::Result<String> {
    let secret = match &settings.key {
        Some(Key::Secret(secret)) => secret,
        Some(Key::Public(_)) => {
            return Err(missing(format!(
                "{JWT_PUBLIC_KEY} is, and its tokens are signed by whoever has the private key"
            )));
        }
        None => {
            return Err(missing(format!(
                "the secret of the service that the token is for, or {JWT_SECRET}_FILE with a file that holds \
                 it; `make token` knows that of the running stack"
            )));
        }
    };
    crypto::install();
    let claims = IssuedClaims {
        sub: grant.user,
        iat: now.timestamp(),
        exp: (now + grant.ttl).timestamp(),
        scope: &grant.scopes.join(" "),
        aud: settings.audience.as_deref(),
        iss: settings.issuer.as_deref(),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

fn missing(accepted: String) -> anyhow::Error {
    InvalidSetting::Missing { name: JWT_SECRET.to_owned(), accepted }.into()
}

/// Reads scopes as RFC 6749, section 3.3, has them: printable ASCII without `"` and `\`.
fn scope(text: &str) -> Result<String, &'static str> {
    let legal = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let scopes: Vec<&str> = text.split_ascii_whitespace().collect();
    if !scopes.is_empty() && scopes.iter().all(|scope| scope.bytes().all(legal)) {
        Ok(scopes.join(" "))
    } else {
        Err("give a name such as messages:send")
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| format!("{error}; give 30s, 15m, 1h or 7d"))?;
    if (Duration::from_secs(1)..=MAX_TTL).contains(&ttl) {
        Ok(ttl)
    } else {
        Err("give a time from 1s to 366d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_unit_and_bounds() {
        for (text, seconds) in
            [("1s", 1), ("30s", 30), ("15m", 900), ("1h", 3_600), ("7d", 604_800), ("1h 30m", 5_400)]
        {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "999ms", "-1h", "3600", "1 fortnight", "367d", "99999999999999999999y"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_scope_is_one_name_or_several() {
        assert_eq!(scope("messages:send"), Ok("messages:send".to_owned()));
        assert_eq!(scope(" stamps:read  stamps:write "), Ok("stamps:read stamps:write".to_owned()));
        for text in ["", " ", "a\"b", "a\\b", "\u{e9}", "a\0"] {
            assert!(scope(text).is_err(), "{text:?}");
        }
    }
}
