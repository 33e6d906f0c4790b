//! The verdict on a request: signed in, signed out, or to be sent through a handshake.

use std::sync::Arc;

use crate::{AuthReason, MachineAuth, SessionAuth};

/// Headers that belong to a verdict and must reach the final response, in order; a name may repeat. A character of a value stands
/// for one byte, as in browsers: beyond ASCII, which only compatibility `exact` uses, that is Latin-1 and not UTF-8.
pub type StateHeaders = Vec<(String, String)>;

/// Clerk's word for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStatus {
    /// `signed-in`
    SignedIn,
    /// `signed-out`
    SignedOut,
    /// `handshake`
    Handshake,
}

impl AuthStatus {
    /// Clerk's text for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed-in",
            Self::SignedOut => "signed-out",
            Self::Handshake => "handshake",
        }
    }
}

/// The class of a credential (`clerk.md` §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// A session of a person.
    SessionToken,
    /// A machine that calls another.
    M2mToken,
    /// A program to which a person gave access.
    OauthToken,
    /// A key that Clerk keeps; not the portal's own.
    ApiKey,
}

impl TokenType {
    /// Clerk's text for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionToken => "session_token",
            Self::M2mToken => "m2m_token",
            Self::OauthToken => "oauth_token",
            Self::ApiKey => "api_key",
        }
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A person's session. Ask [`SessionAuth::is_pending`] before treating anybody as signed in.
    Session(Arc<SessionAuth>),
    /// A machine, an OAuth client or a Clerk API key.
    Machine(Arc<MachineAuth>),
}

/// Nobody is signed in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOut {
    /// Clerk's reason.
    pub reason: AuthReason,
    /// Explanation for a person; may name configured authorized parties, never a token.
    pub message: String,
    /// The class that the verdict speaks about; none if the route accepts several and the token is of another one.
    pub token_type: Option<TokenType>,
    /// To merge into the response. With a `location`, the answer is a redirect there.
    pub headers: StateHeaders,
    /// The provider did not answer: the guard says 503, not "sign in".
    pub outage: bool,
}

/// The browser must ask the provider who is signed in, and come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Clerk's reason.
    pub reason: AuthReason,
    /// Explanation for a person.
    pub message: String,
    /// To merge into the response, `location` among them.
    pub headers: StateHeaders,
}

/// The verdict on one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// The token verified.
    SignedIn {
        /// What the token says.
        auth: Auth,
        /// To merge into the response.
        headers: StateHeaders,
    },
    /// No token, or one that does not count.
    SignedOut(SignedOut),
    /// To be answered 307.
    Handshake(Handshake),
}

impl RequestState {
    /// Clerk's status.
    pub fn status(&self) -> AuthStatus {
        match self {
            Self::SignedIn { .. } => AuthStatus::SignedIn,
            Self::SignedOut(_) => AuthStatus::SignedOut,
            Self::Handshake(_) => AuthStatus::Handshake,
        }
    }

    /// The session of the person who is signed in: none while it is pending, and none for a machine. With none, and without a
    /// [reason](Self::reason) too, a session task is outstanding or a machine called.
    pub fn session(&self) -> Option<&Arc<SessionAuth>> {
        match self {
            Self::SignedIn { auth: Auth::Session(auth), .. } if !auth.is_pending() => Some(auth),
            Self::SignedIn { .. } | Self::SignedOut(_) | Self::Handshake(_) => None,
        }
    }

    /// Clerk's reason; none when signed in.
    pub fn reason(&self) -> Option<&AuthReason> {
        match self {
            Self::SignedIn { .. } => None,
            Self::SignedOut(out) => Some(&out.reason),
            Self::Handshake(handshake) => Some(&handshake.reason),
        }
    }

    /// What must be merged into the final response, errors included.
    pub fn headers(&self) -> &StateHeaders {
        match self {
            Self::SignedIn { headers, .. } => headers,
            Self::SignedOut(out) => &out.headers,
            Self::Handshake(handshake) => &handshake.headers,
        }
    }

    /// Where the browser must go: a document route answers 307 with all headers, whatever the status.
    pub fn location(&self) -> Option<&str> {
        self.headers().iter().find(|(name, _)| name == "location").map(|(_, value)| value.as_str())
    }

    /// The token could not be judged because something of ours or the provider's is down.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::SignedOut(out) => out.outage || out.reason.is_infrastructure(),
            Self::SignedIn { .. } | Self::Handshake(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{pending_session, session, signed_in, signed_out};
    use crate::{AuthReason, TokenVerificationErrorReason};

    #[test]
    fn nobody_is_signed_in_with_a_pending_session() {
        assert_eq!(signed_in(session("user_1")).session().map(|auth| auth.user_id.as_str()), Some("user_1"));
        assert_eq!(signed_in(pending_session("user_1")).session(), None);
        assert_eq!(signed_out(AuthReason::SessionTokenMissing).session(), None);
    }

    #[test]
    fn a_key_source_that_is_down_is_an_outage_and_a_missing_token_is_none() {
        let down = AuthReason::Token(TokenVerificationErrorReason::RemoteJwkFailedToLoad);
        assert!(signed_out(down).is_outage());
        assert!(!signed_out(AuthReason::SessionTokenMissing).is_outage());
        assert!(!signed_in(session("user_1")).is_outage());
    }
}
