//! Verdicts to play through a [`MockRequestAuthenticator`](crate::MockRequestAuthenticator) in the tests of a service.

use std::sync::Arc;
use std::time::Duration;

use portal_kernel::Timestamp;

use crate::{
    Auth, AuthReason, MockRequestAuthenticator, ProviderSessionId, ProviderUserId, RequestState, SessionAuth,
    SessionStatus, SignedOut, TokenType,
};

/// Judges every request so.
pub fn always(state: RequestState) -> Arc<MockRequestAuthenticator> {
    let mut authenticator = MockRequestAuthenticator::new();
    authenticator.expect_authenticate_request().return_const(state);
    Arc::new(authenticator)
}

/// A usable session of this person, without an organization; lasts a minute from 1970.
///
/// # Panics
///
/// If the text is no user id.
#[expect(clippy::expect_used, reason = "a mistake in a test ends the test")]
pub fn session(user_id: &str) -> SessionAuth {
    let issued_at = Timestamp::from_unix_seconds(0).expect("1970 can be represented");
    SessionAuth {
        user_id: ProviderUserId::parse(user_id).expect("a user id"),
        session_id: Some(ProviderSessionId::parse("sess_1").expect("a session id")),
        session_status: Some(SessionStatus::Active),
        actor: None,
        organization: None,
        factor_verification_age: None,
        features: Vec::new(),
        plans: Vec::new(),
        issued_at: Some(issued_at),
        expires_at: issued_at.plus(Duration::from_mins(1)),
        lenient_questions: false,
    }
}

/// As [`session`], with a session task outstanding.
///
/// # Panics
///
/// If the text is no user id.
pub fn pending_session(user_id: &str) -> SessionAuth {
    SessionAuth { session_status: Some(SessionStatus::Pending), ..session(user_id) }
}

/// The verdict on a request with this session.
pub fn signed_in(session: SessionAuth) -> RequestState {
    RequestState::SignedIn { auth: Auth::Session(Arc::new(session)), headers: Vec::new() }
}

/// The verdict on a request that is not signed in; an outage if the reason is one.
pub fn signed_out(reason: AuthReason) -> RequestState {
    RequestState::SignedOut(SignedOut {
        outage: reason.is_infrastructure(),
        reason,
        message: String::new(),
        token_type: Some(TokenType::SessionToken),
        headers: Vec::new(),
    })
}
