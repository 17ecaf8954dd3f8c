//! The settings of authentication.

use platform::settings::{Environment, InvalidSetting, flag};
use serde::Deserialize;

use super::key::{JWT_PUBLIC_KEY, JWT_SECRET, Key, PublicKey};

const STAMPS_REQUIRE_AUTH: &str = "STAMPS_REQUIRE_AUTH";

/// How tokens are checked, and where they are needed.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The key, if there is one.
    pub key: Option<Key>,
    /// Who tokens have to be meant for (`aud`); not looked at where no audience is set.
    pub audience: Option<String>,
    /// Who tokens have to come from (`iss`); not looked at where no issuer is set.
    pub issuer: Option<String>,
    /// Whether the stamp routes need a token.
    pub stamps_require_auth: bool,
}

impl AuthSettings {
    /// Reads `JWT_SECRET`, `JWT_PUBLIC_KEY`, `JWT_AUDIENCE`, `JWT_ISSUER` and `STAMPS_REQUIRE_AUTH`.
    ///
    /// # Errors
    /// If a variable can't be used, if both keys are set, or if tokens are asked for that nothing can check.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            jwt_secret: Option<String>,
            jwt_public_key: Option<String>,
            jwt_audience: Option<String>,
            jwt_issuer: Option<String>,
            stamps_require_auth: Option<String>,
        }
        let raw: Raw = environment.section()?;
        let key = match (raw.jwt_secret, raw.jwt_public_key) {
            (Some(_), Some(_)) => {
                return Err(InvalidSetting::secret(
                    JWT_PUBLIC_KEY,
                    format!("{JWT_SECRET} is set too; set one of them"),
                ));
            }
            (Some(secret), None) => Some(Key::from_secret(secret)?),
            (None, Some(pem)) => Some(Key::Public(PublicKey::from_pem(&pem)?)),
            (None, None) => None,
        };
        let stamps_require_auth = flag(STAMPS_REQUIRE_AUTH, raw.stamps_require_auth, false)?;
        // Whoever asks for protected routes must get neither open ones nor ones that nobody can use.
        if stamps_require_auth && key.is_none() {
            let accepted =
                format!("it needs a key to check tokens with; set {JWT_SECRET} or {JWT_PUBLIC_KEY}");
            return Err(InvalidSetting::new(STAMPS_REQUIRE_AUTH, "true", accepted));
        }
        Ok(Self { key, audience: raw.jwt_audience, issuer: raw.jwt_issuer, stamps_require_auth })
    }
}
