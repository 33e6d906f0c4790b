//! The states that a verdict can have, with the headers that belong to them.

use std::sync::Arc;

use portal_identity::{
    Auth, AuthReason, AuthStatus, Handshake, RequestState, SessionAuth, SignedOut, StateHeaders, TokenType,
};

use crate::ClerkSettings;
use crate::context::Context;
use crate::handshake::{count_redirect, redirect};

pub(crate) fn signed_in(auth: Arc<SessionAuth>, headers: StateHeaders) -> RequestState {
    RequestState::SignedIn { auth: Auth::Session(auth), headers }
}

/// Signed out of a route for sessions, without further headers.
pub(crate) fn signed_out(settings: &ClerkSettings, reason: AuthReason, message: String) -> RequestState {
    RequestState::SignedOut(out(settings, reason, message, Vec::new()))
}

pub(crate) fn out(
    settings: &ClerkSettings,
    reason: AuthReason,
    message: String,
    mut headers: StateHeaders,
) -> SignedOut {
    explain(settings, AuthStatus::SignedOut, &reason, &message, &mut headers);
    SignedOut { reason, message, token_type: Some(TokenType::SessionToken), headers, outage: false }
}

/// No server hands such a URL over; a caller of this library might.
pub(crate) fn unreadable_url(settings: &ClerkSettings) -> RequestState {
    signed_out(settings, AuthReason::UnexpectedError, "The URL of the request cannot be read.".to_owned())
}

/// Through the Frontend API, if the browser can be sent there and was not sent there too often already; otherwise signed out for the
/// same reason.
pub(crate) fn handshake(
    context: &Context<'_>,
    reason: AuthReason,
    message: String,
    header_token: Option<&str>,
) -> RequestState {
    let headers = context.can_handshake().then(|| redirect(context, &reason, header_token)).flatten();
    handshake_with(context, reason, message, headers)
}

/// As [`handshake`], to another place; without headers there is none.
pub(crate) fn handshake_with(
    context: &Context<'_>,
    reason: AuthReason,
    message: String,
    headers: Option<StateHeaders>,
) -> RequestState {
    let settings = context.settings;
    let Some(mut headers) = headers.filter(|_| context.can_handshake()) else {
        return signed_out(settings, reason, message);
    };
    if context.redirects.exhausted {
        tracing::warn!(
            auth.reason = &*reason.as_str(),
            "a browser went through handshakes in a row and is still not signed in: compare the publishable and the secret key"
        );
        return signed_out(settings, reason, message);
    }
    count_redirect(context, &mut headers);
    explain(settings, AuthStatus::Handshake, &reason, &message, &mut headers);
    RequestState::Handshake(Handshake { reason, message, headers })
}

/// Clerk's headers for whoever debugs (`clerk.md` §3.10).
fn explain(
    settings: &ClerkSettings,
    status: AuthStatus,
    reason: &AuthReason,
    message: &str,
    headers: &mut StateHeaders,
) {
    headers.push(("x-clerk-auth-status".to_owned(), status.as_str().to_owned()));
    let is_sendable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let reason = reason.as_str();
    if is_sendable(&reason) {
        headers.push(("x-clerk-auth-reason".to_owned(), reason.into_owned()));
    }
    if !message.is_empty() && is_sendable(message) && !settings.choices().omit_message_header {
        headers.push(("x-clerk-auth-message".to_owned(), message.to_owned()));
    }
}
