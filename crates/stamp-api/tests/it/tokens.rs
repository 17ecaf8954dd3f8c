//! Tokens, of the issuer that the service trusts or of another.

use std::time::Duration;

use chrono::{DateTime, Utc};
use platform::settings::Environment;
use stamp_api::auth::issue::{self, Grant};
use stamp_api::auth::settings::AuthSettings;
use store::clock::host_time;
use uuid::Uuid;

/// A secret that is long enough, and found in no log by chance.
pub(crate) const SECRET: &str = "canary-0123456789-0123456789-0123";

/// Returns a token that is valid for ten minutes.
pub(crate) fn token(secret: &str, user: Uuid, scopes: &[&str], issued: DateTime<Utc>) -> String {
    let variables = [("JWT_SECRET".to_owned(), secret.to_owned())];
    let environment = Environment::from_variables(variables).expect("no files are named");
    let settings = AuthSettings::from_environment(&environment).expect("a secret");
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let grant = Grant { user, scopes, ttl: Duration::from_mins(10) };
    issue::token(&settings, &grant, issued).expect("a token")
}

/// Returns the header line of a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Returns the header line of a user with these scopes.
pub(crate) fn authorization(user: Uuid, scopes: &[&str]) -> String {
    bearer(&token(SECRET, user, scopes, host_time()))
}
