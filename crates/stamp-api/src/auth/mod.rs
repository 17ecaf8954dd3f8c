//! Who calls, and what they may do: bearer tokens (RFC 6750) that are JWTs (RFC 7519). Nothing in here knows HTTP.
//!
//! * [`settings`]: `JWT_…` and `STAMPS_REQUIRE_AUTH`.
//! * [`key`]: the key and, fixed by it, the one algorithm.
//! * [`token`]: what a token has to be; [`issue`] makes one.
//! * [`caller`]: the user of a token that was trusted.

pub mod caller;
mod crypto;
pub mod issue;
pub mod key;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod token;

use self::settings::AuthSettings;
use self::token::Verifier;

/// How the service tells who calls.
#[derive(Debug)]
pub struct Auth {
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

    /// Returns what checks tokens, `None` where no key is configured: then nobody can be told from anybody.
    pub fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_ref()
    }

    /// Tells whether the stamp routes need a token.
    pub fn stamps_are_protected(&self) -> bool {
        self.stamps_are_protected
    }
}
