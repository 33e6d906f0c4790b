//! Who the provider says is calling.

use actix_web::{HttpRequest, HttpResponse};
use portal_http_kit::{Endpoint, Problem, Public, Routes, authenticate};
use portal_identity::{AuthStatus, RequestState};
use serde::Serialize;
use utoipa::ToSchema;

/// The verdict on this request, in Clerk's words.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthState {
    /// `signed-in` or `signed-out`.
    #[schema(example = "signed-in")]
    status: &'static str,
    /// Why nobody is signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Clerk's id of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "user_2abc")]
    user: Option<String>,
    /// Clerk's id of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "sess_2abc")]
    session: Option<String>,
}

impl From<&RequestState> for AuthState {
    fn from(state: &RequestState) -> Self {
        let signed_out = |reason: String| Self {
            status: AuthStatus::SignedOut.as_str(),
            reason: Some(reason),
            user: None,
            session: None,
        };
        match state {
            RequestState::SignedIn { auth, .. } if auth.is_pending() => signed_out("session-pending".to_owned()),
            RequestState::SignedIn { auth, .. } => Self {
                status: AuthStatus::SignedIn.as_str(),
                reason: None,
                user: Some(auth.user_id.to_string()),
                session: auth.session_id.as_ref().map(ToString::to_string),
            },
            RequestState::SignedOut(out) => signed_out(out.reason.to_string()),
        }
    }
}

/// Whether somebody is signed in
///
/// Answers 200 also when nobody is. Reads the token only: no database, and no network for a token that was seen before. An outage that
/// keeps the token from being judged is 503.
#[utoipa::path(get, path = "/v1/auth/status", operation_id = "getAuthStatus", tag = "auth",
    responses((status = 200, description = "The verdict", body = AuthState)))]
async fn status(_: Public, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let state = authenticate(&req).await?;
    Ok(HttpResponse::Ok().json(AuthState::from(&state)))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_status, _, _, _>(status))
}
