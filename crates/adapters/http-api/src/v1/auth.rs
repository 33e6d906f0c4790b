//! Who the provider says is calling.

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse, web};
use portal_http_kit::{Endpoint, Kit, Problem, Public, Routes, authenticate};
use portal_identity::{Auth, AuthReason, AuthStatus, ProviderSessionId, RequestState};
use serde::Serialize;
use utoipa::ToSchema;

/// The verdict on this request, in Clerk's words.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthState<'a> {
    /// `signed-in` or `signed-out`.
    #[schema(example = "signed-in")]
    status: &'static str,
    /// Why nobody is signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    /// Clerk's id of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "user_2abc")]
    user: Option<&'a str>,
    /// Clerk's id of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "sess_2abc")]
    session: Option<&'a str>,
}

impl<'a> AuthState<'a> {
    fn signed_out(reason: Cow<'a, str>) -> Self {
        Self { status: AuthStatus::SignedOut.as_str(), reason: Some(reason), user: None, session: None }
    }
}

impl<'a> From<&'a RequestState> for AuthState<'a> {
    fn from(state: &'a RequestState) -> Self {
        match state {
            RequestState::SignedIn { auth: Auth::Session(auth), .. } if auth.is_pending() => {
                Self::signed_out("session-pending".into())
            }
            RequestState::SignedIn { auth: Auth::Session(auth), .. } => Self {
                status: AuthStatus::SignedIn.as_str(),
                reason: None,
                user: Some(auth.user_id.as_str()),
                session: auth.session_id.as_ref().map(ProviderSessionId::as_str),
            },
            state => Self::signed_out(state.reason().unwrap_or(&AuthReason::TokenTypeMismatch).as_str()),
        }
    }
}

/// Whether somebody is signed in
///
/// Answers 200 also when nobody is. Reads the token only: no database, and no network for a token that was seen before. So it does not
/// know whether a person is paused here. What keeps the token from being judged is 503: an outage of Clerk's keys, or of the database while the server does not know yet which sessions ended.
#[utoipa::path(get, path = "/v1/auth/status", operation_id = "getAuthStatus", tag = "auth",
    responses((status = 200, description = "The verdict", body = AuthState)))]
async fn status(_: Public, kit: web::Data<Kit>, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let state = authenticate(&req).await?;
    if let Some(auth) = state.session()
        && kit.sign_in.is_over(auth).await?
    {
        return Ok(HttpResponse::Ok().json(AuthState::signed_out("session-ended".into())));
    }
    Ok(HttpResponse::Ok().json(AuthState::from(&state)))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_status, _, _, _>(status))
}
