//! The verdict on a request: signed in, signed out, or to be sent through a handshake.

use std::sync::Arc;

use crate::{AuthReason, SessionAuth};

/// Headers that belong to a verdict and must reach the final response, in order; a name may repeat.
pub type StateHeaders = Vec<(String, String)>;

/// Clerk's word for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStatus {
    /// `signed-in`
    SignedIn,
    /// `signed-out`
    SignedOut,
}

impl AuthStatus {
    /// Clerk's text for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed-in",
            Self::SignedOut => "signed-out",
        }
    }
}

/// The class of credential that a verdict speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// A session of a person.
    SessionToken,
}

/// Nobody is signed in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOut {
    /// Clerk's reason.
    pub reason: AuthReason,
    /// Explanation for a person; may name configured authorized parties, never a token.
    pub message: String,
    /// To merge into the response.
    pub headers: StateHeaders,
}

/// The verdict on one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// The token verified. Ask [`SessionAuth::is_pending`] before treating anybody as signed in.
    SignedIn {
        /// What the token says.
        auth: Arc<SessionAuth>,
        /// To merge into the response.
        headers: StateHeaders,
    },
    /// No token, or one that does not count.
    SignedOut(SignedOut),
}

impl RequestState {
    /// Clerk's status.
    pub fn status(&self) -> AuthStatus {
        match self {
            Self::SignedIn { .. } => AuthStatus::SignedIn,
            Self::SignedOut(_) => AuthStatus::SignedOut,
        }
    }

    /// Clerk's reason; none when signed in.
    pub fn reason(&self) -> Option<AuthReason> {
        match self {
            Self::SignedIn { .. } => None,
            Self::SignedOut(out) => Some(out.reason),
        }
    }

    /// What must be merged into the final response, errors included.
    pub fn headers(&self) -> &StateHeaders {
        match self {
            Self::SignedIn { headers, .. } => headers,
            Self::SignedOut(out) => &out.headers,
        }
    }
}
