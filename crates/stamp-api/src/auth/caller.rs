//! A user whose token was trusted, and what it lets them do.

use uuid::Uuid;

/// The scope to store stamps.
pub const STAMPS_WRITE: &str = "stamps:write";
/// The scope to read stamps and batches.
pub const STAMPS_READ: &str = "stamps:read";
/// The scope to send messages to any user.
pub const MESSAGES_SEND: &str = "messages:send";

/// The user whose token came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    subject: Uuid,
    /// Scopes as the token has them, separated by spaces (RFC 8693, section 4.2).
    scope: String,
}

impl Caller {
    pub(super) fn new(subject: Uuid, scope: String) -> Self {
        Self { subject, scope }
    }

    /// Returns the user's id.
    pub fn subject(&self) -> Uuid {
        self.subject
    }

    /// Tells whether the token grants this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }
}
