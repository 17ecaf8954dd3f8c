//! Who calls, and what they may do: bearer tokens (RFC 6750) that are JWTs (RFC 7519).
//!
//! A route that needs a user takes a [`Caller`], one of the stamp routes a [`StampReader`] or a [`StampWriter`].
//! They are made of the head of the request, so whoever may not pass is told so before a body is read.
//!
//! * [`settings`]: `JWT_…` and `STAMPS_REQUIRE_AUTH`.
//! * [`key`]: the key and, fixed by it, the one algorithm.
//! * [`token`]: what a token has to be; [`issue`] makes one.

mod crypto;
pub mod issue;
pub mod key;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod token;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use anyhow::anyhow;
use uuid::Uuid;

use self::settings::AuthSettings;
use self::token::{TokenError, Verifier};
use crate::http::error::ApiError;
use crate::http::state::AppState;

/// The scope to store stamps.
pub const STAMPS_WRITE: &str = "stamps:write";
/// The scope to read stamps and batches.
pub const STAMPS_READ: &str = "stamps:read";
/// The scope to send messages to any user.
pub const MESSAGES_SEND: &str = "messages:send";
/// The longest token that is looked at: many times what a user and some scopes take.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How the service tells who calls.
#[derive(Debug)]
pub struct Auth {
    /// None where no key is configured: then nobody can be told from anybody.
    verifier: Option<Verifier>,
    stamps_are_protected: bool,
}

impl Auth {
    /// Takes the settings; warns where they leave the service without a key.
    pub fn new(settings: AuthSettings) -> Self {
        let stamps_are_protected = settings.stamps_require_auth;
        let verifier = Verifier::new(settings);
        if verifier.is_none() {
            tracing::warn!(
                "no key for tokens is set, and routes that need a user answer 503: \
                 set JWT_SECRET or JWT_PUBLIC_KEY, or one of them as …_FILE"
            );
        }
        Self { verifier, stamps_are_protected }
    }
}

/// The user whose token came with a request.
///
/// As an argument of a handler it fails with 401 where there is no token that can be trusted, and with 503 where
/// no key is configured or the database has not been there yet, whose clock decides what has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    subject: Uuid,
    /// As the token has them, separated by spaces (RFC 8693, section 4.2).
    scope: String,
}

impl Caller {
    /// The user's id.
    pub fn subject(&self) -> Uuid {
        self.subject
    }

    /// Goes on only with this scope.
    ///
    /// # Errors
    /// 403 without it.
    pub fn require_scope(&self, scope: &'static str) -> Result<(), ApiError> {
        let has_it = self.scope.split(' ').any(|granted| granted == scope);
        has_it.then_some(()).ok_or(ApiError::InsufficientScope { scope })
    }

    /// Goes on only where the caller is this user.
    ///
    /// # Errors
    /// 403 for another one.
    pub fn require_self(&self, user: Uuid) -> Result<(), ApiError> {
        if self.subject == user { Ok(()) } else { Err(ApiError::Forbidden) }
    }

    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let state = state(request)?;
        let verifier = state.auth.verifier.as_ref();
        let verifier = verifier.ok_or_else(|| ApiError::Unavailable(anyhow!("no JWT key is configured")))?;
        let token = bearer_token(request.headers())?;
        Ok(verifier.verify(token, state.intake()?.clock.now())?)
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// Leave to read stamps and batches: anybody's, or with `STAMPS_REQUIRE_AUTH` that of a [`Caller`] with
/// [`STAMPS_READ`].
#[derive(Debug)]
pub struct StampReader(());

impl FromRequest for StampReader {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(stamp_scope(request, STAMPS_READ).map(Self))
    }
}

/// Leave to store stamps: anybody's, or with `STAMPS_REQUIRE_AUTH` that of a [`Caller`] with [`STAMPS_WRITE`].
#[derive(Debug)]
pub struct StampWriter(());

impl FromRequest for StampWriter {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(stamp_scope(request, STAMPS_WRITE).map(Self))
    }
}

fn stamp_scope(request: &HttpRequest, scope: &'static str) -> Result<(), ApiError> {
    if state(request)?.auth.stamps_are_protected { Caller::of(request)?.require_scope(scope) } else { Ok(()) }
}

fn state(request: &HttpRequest) -> Result<&AppState, ApiError> {
    let state = request.app_data::<web::Data<AppState>>();
    state.map(web::Data::get_ref).ok_or_else(|| ApiError::Internal(anyhow!("the application has no state")))
}

/// Finds the token: `Authorization: Bearer <token>`, once, the scheme in any case (RFC 9110, section 11.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut all = headers.get_all(AUTHORIZATION);
    let header = all.next().ok_or(TokenError::Missing)?;
    if all.next().is_some() {
        return Err(TokenError::Ambiguous);
    }
    let (scheme, token) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenError::Missing)?;
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(TokenError::Missing);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    Ok(token)
}
