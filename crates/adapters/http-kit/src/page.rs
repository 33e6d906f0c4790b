//! Pages: routes whose answer a person sees in a browser.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use portal_accounts::SignedIn;
use portal_authz::{Action, Kind, Principal};
use portal_identity::{Auth, RequestState};
use portal_kernel::UserId;
use url::form_urlencoded;

use crate::context::keep_reason;
use crate::guard::{Refusal, Requirement, RequirementKind};
use crate::problem::{Problem, SESSION_ENDED};
use crate::session::{SESSION_PENDING, Session, count_failure};
use crate::verdict::authenticate_page;

/// Where people are sent who are not signed in.
const SIGN_IN: &str = "/sign-in";

/// A person who is signed in and looks at a page to do `A`. Others are sent to the sign-in page and come back; a browser whose token
/// is merely too old is sent through the provider, without a visible step.
pub struct Page<A>(Session<A>);

impl<A> Page<A> {
    /// Who is acting.
    pub fn principal(&self) -> &Principal {
        self.0.principal()
    }

    /// The person and the active account.
    pub fn signed_in(&self) -> &SignedIn {
        self.0.signed_in()
    }
}

impl<A: Action> Requirement for Page<A> {
    const KIND: RequirementKind = RequirementKind::Page;
    const ACTION: Option<Kind> = Some(A::KIND);

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        let state = authenticate_page(req).await?;
        if state.location().is_some() {
            return Err(Refusal::Redirect { status: StatusCode::TEMPORARY_REDIRECT, location: None });
        }
        match state {
            RequestState::SignedIn { auth: Auth::Session(auth), .. } if !auth.is_pending() => {
                Session::of(req, &auth).await.map(Self).map_err(|problem| signed_out_or(req, problem))
            }
            RequestState::SignedIn { .. } => {
                keep_reason(req, SESSION_PENDING);
                Err(to_sign_in(req))
            }
            state => {
                count_failure(req, &state)?;
                Err(to_sign_in(req))
            }
        }
    }

    fn user(&self) -> Option<UserId> {
        self.0.user()
    }
}

/// Whoever was signed out signs in again, though their cookie still verifies.
fn signed_out_or(req: &HttpRequest, problem: Problem) -> Refusal {
    if problem.code() != SESSION_ENDED {
        return problem.into();
    }
    keep_reason(req, "session-ended");
    to_sign_in(req)
}

/// Only the path and the query of the page come back from there: the origin is always ours.
fn to_sign_in(req: &HttpRequest) -> Refusal {
    let target = req.uri().path_and_query().map_or("/", |target| target.as_str());
    let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    Refusal::Redirect { status: StatusCode::SEE_OTHER, location: Some(format!("{SIGN_IN}?redirect_url={target}")) }
}

/// The path to which a person returns after signing in: what the URL asks for if it is a path of this server, else the start page.
pub fn return_path(asked: Option<&str>) -> &str {
    let is_path = |path: &&str| {
        path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') && !path.chars().any(char::is_control)
    };
    asked.filter(is_path).unwrap_or("/portal")
}

#[cfg(test)]
mod tests {
    use super::return_path;

    #[test]
    fn nobody_is_sent_to_another_server() {
        for asked in ["/portal", "/portal/keys?tab=1#x", "/"] {
            assert_eq!(return_path(Some(asked)), asked);
        }
        for asked in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\evil",
            "/a\nb",
            "/\t/evil.example",
            "javascript:alert(1)",
            "portal",
        ] {
            assert_eq!(return_path(Some(asked)), "/portal", "{asked:?}");
        }
        assert_eq!(return_path(None), "/portal");
    }
}
