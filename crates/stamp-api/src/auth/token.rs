//! What a token has to be.

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::Deserialize;
use uuid::Uuid;

use super::caller::Caller;
use super::crypto;
use super::settings::AuthSettings;

/// How far the clocks of an issuer and of PostgreSQL may differ. Hosts with NTP are closer by far, and every
/// second of it is one in which a token lives too long.
const LEEWAY_SECS: f64 = 5.0;

/// Why there is no token, or one that is not trusted. The text of each is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No header, one of another scheme, or one with nothing in it.
    #[error("Send a token as Authorization: Bearer <token>.")]
    Missing,
    /// Several headers: which of them counts would depend on who reads.
    #[error("There is more than one Authorization header.")]
    Ambiguous,
    /// The token is longer than anybody needs.
    #[error("The token is too long.")]
    TooLong,
    /// No JWT, or one whose claims are not what RFC 7519 says.
    #[error("The token is malformed.")]
    Malformed,
    /// A token with another algorithm than the configured key's.
    #[error("The token is signed with an algorithm that is not accepted.")]
    Algorithm,
    /// Extensions that are critical to the token's meaning; none is understood (RFC 7515, section 4.1.11).
    #[error("The token has critical header parameters.")]
    Critical,
    /// A signature of another key, or over other words than the token's.
    #[error("The token's signature is wrong.")]
    Signature,
    /// `aud` is missing or names others.
    #[error("The token is meant for another audience.")]
    Audience,
    /// `iss` is missing or somebody else.
    #[error("The token comes from another issuer.")]
    Issuer,
    /// A token for ever.
    #[error("The token has no expiry.")]
    NoExpiry,
    /// The token's time is over.
    #[error("The token has expired.")]
    Expired,
    /// The token's time has not come.
    #[error("The token is not valid yet.")]
    NotYet,
    /// `sub` is missing or no uuid.
    #[error("The token's subject is not a uuid.")]
    Subject,
}

impl TokenError {
    /// Tells whether there was a token to be wrong: only then does a challenge say so (RFC 6750, section 3.1).
    pub fn is_of_a_token(self) -> bool {
        !matches!(self, Self::Missing | Self::Ambiguous)
    }

    /// Returns the word by which refusals are counted.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Subject => "subject",
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm => Self::Algorithm,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Self::Issuer,
            _ => Self::Malformed,
        }
    }
}

/// The claims that count here; `aud` and `iss` are compared by `jsonwebtoken`. Times are seconds since 1970 and
/// may have a fraction (RFC 7519, section 2).
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(default)]
    scope: Scope,
}

/// The scopes of a token: words in one text (RFC 8693, section 4.2), or a list of them, as many identity providers write
/// it; null is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scope {
    Text(String),
    List(Vec<String>),
    None(()),
}

impl Default for Scope {
    fn default() -> Self {
        Self::None(())
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Text(text) => text,
            Scope::List(list) => list.join(" "),
            Scope::None(()) => Self::new(),
        }
    }
}

/// Checks tokens against the settings.
#[derive(Debug)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    /// Returns what checks tokens, `None` without a key.
    pub fn new(settings: AuthSettings) -> Option<Self> {
        let key = settings.key?;
        crypto::install();
        let mut validation = Validation::new(key.algorithm());
        // `jsonwebtoken` would compare with the host's clock; `verify` compares with PostgreSQL's.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = settings.audience.is_some();
        if let Some(audience) = settings.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Some(Self { key: key.decoding_key(), validation })
    }

    /// Returns whose token this is, if the token is good at this time.
    ///
    /// # Errors
    /// The first thing that is wrong with the token; the signature comes before the claims.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, TokenError> {
        let token = decode::<Claims>(token, &self.key, &self.validation)?;
        if token.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let Claims { sub, exp, nbf, scope } = token.claims;
        let now = now.timestamp_millis() as f64 / 1e3;
        if exp.ok_or(TokenError::NoExpiry)? <= now - LEEWAY_SECS {
            return Err(TokenError::Expired);
        }
        if nbf.is_some_and(|start| start > now + LEEWAY_SECS) {
            return Err(TokenError::NotYet);
        }
        let subject = sub.and_then(|sub| Uuid::parse_str(&sub).ok()).ok_or(TokenError::Subject)?;
        Ok(Caller::new(subject, scope.into()))
    }
}
