//! The sessions of the signed-in person.

use actix_web::{HttpResponse, web};
use portal_accounts::{Sessions, SessionsError};
use portal_authz::action::{EndSessions, ReadSessions};
use portal_http_kit::{Endpoint, Problem, ProblemBody, Routes, Session};
use portal_identity::{ProviderSession, ProviderSessionId};
use portal_kernel::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;

/// A login on one browser. What Clerk could not tell is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    /// Clerk's id.
    #[schema(example = "sess_2abc")]
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Macintosh")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Firefox 140.0")]
    browser: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "198.51.100.7")]
    ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_active_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl SessionView {
    fn new(session: ProviderSession, current: Option<&ProviderSessionId>) -> Self {
        let time = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let activity = session.activity;
        Self {
            current: Some(&session.id) == current,
            id: session.id.to_string(),
            device: activity.device,
            browser: activity.browser,
            ip_address: activity.address.map(|address| address.to_string()),
            city: activity.city,
            country: activity.country,
            created_at: time(session.created_at),
            last_active_at: time(session.last_active_at),
            expires_at: time(session.expires_at),
        }
    }
}

/// Sessions of a person.
#[derive(Serialize, ToSchema)]
struct SessionList {
    /// The last used first.
    data: Vec<SessionView>,
}

/// List one's sessions
///
/// Those that did not end yet, as Clerk knows them.
#[utoipa::path(get, path = "/v1/me/sessions", operation_id = "listMySessions", tag = "me",
    responses((status = 200, description = "The person's sessions", body = SessionList)))]
async fn list(who: Session<ReadSessions>, sessions: web::Data<Sessions>) -> Result<HttpResponse, ApiError> {
    let found = sessions.list(who.caller(), &who.signed_in().known.user).await?;
    let data = found.into_iter().map(|session| SessionView::new(session, who.id())).collect();
    Ok(HttpResponse::Ok().json(SessionList { data }))
}

/// What ended.
#[derive(Serialize, ToSchema)]
struct Ended {
    /// How many sessions.
    ended: usize,
}

/// End one of one's sessions
///
/// Here at once, whatever its tokens say, and at Clerk. Repeating it succeeds. 503 if Clerk does not answer: the session has ended here
/// all the same if it was known to be the caller's.
#[utoipa::path(post, path = "/v1/me/sessions/{session_id}/revoke", operation_id = "revokeMySession", tag = "me",
    params(("session_id" = String, Path, example = "sess_2abc")),
    responses(
        (status = 200, description = "It ended", body = Ended),
        (status = 404, description = "No such session", body = ProblemBody, content_type = "application/problem+json")))]
async fn revoke(
    who: Session<EndSessions>,
    sessions: web::Data<Sessions>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = ProviderSessionId::parse(&id).map_err(|_| Problem::not_found())?;
    sessions.revoke(who.caller(), &who.signed_in().known.user, &id).await?;
    Ok(HttpResponse::Ok().json(Ended { ended: 1 }))
}

/// How far to sign out.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SignOutQuery {
    /// Whether all sessions of the person end, and not only this one.
    everywhere: Option<bool>,
}

/// Sign out
///
/// Ends this session, or all of the person's: here at once, whatever their tokens say, and at Clerk. 503 if Clerk does not answer: this
/// session has ended here all the same.
#[utoipa::path(post, path = "/v1/auth/sign-out", operation_id = "signOut", tag = "auth", params(SignOutQuery),
    responses((status = 200, description = "Signed out", body = Ended)))]
async fn sign_out(
    who: Session<EndSessions>,
    sessions: web::Data<Sessions>,
    query: web::Query<SignOutQuery>,
) -> Result<HttpResponse, ApiError> {
    let user = &who.signed_in().known.user;
    let ended = match (query.everywhere, who.id()) {
        (Some(true), current) => sessions.sign_out_everywhere(who.caller(), user, current).await?,
        (_, Some(current)) => {
            sessions.sign_out(who.caller(), user, current).await?;
            1
        }
        (_, None) => 0,
    };
    Ok(HttpResponse::Ok().json(Ended { ended }))
}

impl From<SessionsError> for ApiError {
    fn from(error: SessionsError) -> Self {
        Self::from(match error {
            SessionsError::NotFound => Problem::not_found(),
            SessionsError::Denied(denied) => denied.into(),
            SessionsError::Provider(cause) => {
                Problem::unavailable("identity_unavailable", "The identity provider cannot be asked right now")
                    .cause(cause)
            }
            SessionsError::Store(error) => error.into(),
        })
    }
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_list, _, _, _>(list).asks_provider())
        .with(Endpoint::new::<__path_revoke, _, _, _>(revoke))
        .with(Endpoint::new::<__path_sign_out, _, _, _>(sign_out))
}
