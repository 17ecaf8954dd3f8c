//! Who calls, as an argument of a handler.
//!
//! A route that needs a user takes a [`Caller`], one of the stamp routes a [`StampReader`] or a [`StampWriter`]. They are
//! made of the head of the request, so whoever may not pass is told so before a body is read.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use anyhow::anyhow;
use uuid::Uuid;

use super::error::ApiError;
use super::state::AppState;
use crate::auth::caller::{Caller, STAMPS_READ, STAMPS_WRITE};
use crate::auth::token::TokenError;

/// The longest token that is looked at: many times what a user and some scopes take.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Goes on only where the caller's token has this scope.
///
/// # Errors
/// 403 without the scope.
pub fn require_scope(caller: &Caller, scope: &'static str) -> Result<(), ApiError> {
    caller.has_scope(scope).then_some(()).ok_or(ApiError::InsufficientScope { scope })
}

/// Goes on only where the caller is this user.
///
/// # Errors
/// 403 for another user.
pub fn require_self(caller: &Caller, user: Uuid) -> Result<(), ApiError> {
    if caller.subject() == user { Ok(()) } else { Err(ApiError::Forbidden) }
}

/// Fails with 401 where there is no token that can be trusted, and with 503 where no key is configured or the database
/// has not been there yet, whose clock decides what has expired.
impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request))
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

/// Leave to store stamps: anybody's but pages' of other sites (Fetch Metadata, `Sec-Fetch-Site`), or with
/// `STAMPS_REQUIRE_AUTH` that of a [`Caller`] with [`STAMPS_WRITE`].
#[derive(Debug)]
pub struct StampWriter(());

impl FromRequest for StampWriter {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(writer(request).map(Self))
    }
}

fn caller(request: &HttpRequest) -> Result<Caller, ApiError> {
    let state = state(request)?;
    let verifier = state.auth.verifier().ok_or(ApiError::NoKey)?;
    let token = bearer_token(request.headers())?;
    Ok(verifier.verify(token, state.intake()?.clock.now())?)
}

fn writer(request: &HttpRequest) -> Result<(), ApiError> {
    // A browser sends a form for any page; a token it would not send with it.
    let is_cross_site = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_cross_site && !state(request)?.auth.stamps_are_protected() {
        return Err(ApiError::CrossSite);
    }
    stamp_scope(request, STAMPS_WRITE)
}

fn stamp_scope(request: &HttpRequest, scope: &'static str) -> Result<(), ApiError> {
    if state(request)?.auth.stamps_are_protected() { require_scope(&caller(request)?, scope) } else { Ok(()) }
}

fn state(request: &HttpRequest) -> Result<&AppState, ApiError> {
    let state = request.app_data::<web::Data<AppState>>();
    state.map(web::Data::get_ref).ok_or_else(|| ApiError::Internal(anyhow!("the application has no state")))
}

/// Finds the token of a request: `Authorization: Bearer <token>`, once, the scheme in any case (RFC 9110, 11.1).
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

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use actix_web::test::TestRequest;
    use chrono::DateTime;
    use domain::stamp::TimeTolerance;
    use platform::settings::{Environment, Secret};
    use store::Database;
    use store::settings::DatabaseSettings;

    use super::*;
    use crate::auth::Auth;
    use crate::auth::caller::MESSAGES_SEND;
    use crate::auth::issue::{self, Grant};
    use crate::auth::settings::AuthSettings;

    const KEY: [(&str, &str); 1] = [("JWT_SECRET", "canary-0123456789-0123456789-0123")];

    fn settings(variables: &[(&str, &str)]) -> AuthSettings {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::from_variables(owned).expect("no files are named");
        AuthSettings::from_environment(&environment).expect("good settings")
    }

    /// Returns a token of 2026-01-01 12:00 UTC, and what it is taken for.
    fn recognised(scopes: &[&str]) -> (String, Caller) {
        let now = DateTime::from_timestamp(1_767_268_800, 0).expect("a time");
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let grant = Grant { user: Uuid::from_u128(7), scopes, ttl: std::time::Duration::from_secs(60) };
        let token = issue::token(&settings(&KEY), &grant, now).expect("a token");
        let auth = Auth::new(settings(&KEY));
        let caller = auth.verifier().expect("a key").verify(&token, now).expect("a good token");
        (token, caller)
    }

    #[test]
    fn a_caller_passes_with_a_granted_scope_and_as_the_user_of_the_path() {
        let (_, caller) = recognised(&[MESSAGES_SEND, STAMPS_READ]);
        require_scope(&caller, MESSAGES_SEND).expect("granted");
        require_scope(&caller, STAMPS_READ).expect("granted");
        let refused = require_scope(&caller, STAMPS_WRITE);
        assert!(matches!(refused, Err(ApiError::InsufficientScope { scope: STAMPS_WRITE })));
        require_self(&caller, caller.subject()).expect("the user");
        assert!(matches!(require_self(&caller, Uuid::nil()), Err(ApiError::Forbidden)));
    }

    #[test]
    fn the_header_holds_one_bearer_token_of_at_most_8_kib() {
        let found = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
            }
            bearer_token(&headers).map(str::to_owned)
        };
        let longest = "x".repeat(MAX_TOKEN_BYTES);
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(found(&[&format!("{scheme} a.b.c")]).as_deref(), Ok("a.b.c"));
        }
        assert_eq!(found(&["Bearer   a.b.c "]).as_deref(), Ok("a.b.c"));
        assert_eq!(found(&[&format!("Bearer {longest}")]), Ok(longest.clone()));
        assert_eq!(found(&[&format!("Bearer {longest}x")]), Err(TokenError::TooLong));
        assert_eq!(found(&[&format!("Bearer {}", "x".repeat(100_000))]), Err(TokenError::TooLong));
        for headers in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["a.b.c"],
            &["Basic YTpi"],
            &["Bearera.b.c"],
            &["Bearer\ta"],
            &["Bearer \u{e9}"],
        ] {
            assert_eq!(found(headers), Err(TokenError::Missing), "{headers:?}");
        }
        assert_eq!(found(&["Bearer a.b.c", "Bearer a.b.c"]), Err(TokenError::Ambiguous));
    }

    /// Returns a request to a service with these variables whose database has never been there.
    fn request(variables: &[(&str, &str)], headers: &[(HeaderName, &str)]) -> HttpRequest {
        let url = Secret::new("postgres://u:p@127.0.0.1:1/d");
        let database = Database::new(&DatabaseSettings { url, pool_size: 2 }, "test").expect("a pool");
        let tolerance = TimeTolerance::from_minutes(1).expect("a tolerance");
        let state = AppState::new(database.clone(), database, tolerance, Auth::new(settings(variables)));
        let request = TestRequest::default().app_data(web::Data::new(state));
        headers
            .iter()
            .fold(request, |request, (name, value)| request.append_header((name, *value)))
            .to_http_request()
    }

    #[tokio::test]
    async fn without_a_key_or_a_clock_nobody_passes() {
        let token = format!("Bearer {}", recognised(&[]).0);
        let sent = [(AUTHORIZATION, token.as_str())];
        for (why, variables, headers, status) in [
            ("no key", &[][..], &sent[..], 503),
            ("no key and no token", &[], &[], 503),
            ("no token", &KEY, &[], 401),
            ("no clock yet", &KEY, &sent, 503),
        ] {
            let error = caller(&request(variables, headers)).expect_err(why);
            assert_eq!(actix_web::ResponseError::status_code(&error).as_u16(), status, "{why}");
        }
        stamp_scope(&request(&[], &[(AUTHORIZATION, "nonsense")]), STAMPS_READ).expect("open");
    }
}
