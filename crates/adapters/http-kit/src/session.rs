//! A signed-in person as a requirement.

use std::marker::PhantomData;
use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use portal_accounts::SignedIn;
use portal_audit::Caller;
use portal_authz::{Action, Kind, Principal};
use portal_identity::{AuthReason, RequestParts, RequestState};

use crate::context::{Kit, keep_headers, provenance};
use crate::guard::{Requirement, RequirementKind};
use crate::problem::Problem;

/// A person who is signed in and wants to do `A`. Whether they may is decided by the use case, at the resource.
pub struct Session<A> {
    signed_in: SignedIn,
    caller: Caller,
    action: PhantomData<fn() -> A>,
}

impl<A> Session<A> {
    /// Who is acting.
    pub fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    /// Who is acting, and through which request.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The person and the active account.
    pub fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }
}

impl<A: Action> Requirement for Session<A> {
    const KIND: RequirementKind = RequirementKind::Session;
    const ACTION: Option<Kind> = Some(A::KIND);

    async fn resolve(req: &HttpRequest) -> Result<Self, Problem> {
        let kit = Kit::of(req)?;
        let auth = match authenticate(req).await? {
            RequestState::SignedIn { auth, .. } if auth.is_pending() => {
                return Err(not_signed_in("session_pending", "The session has an unfinished task", "session-pending"));
            }
            RequestState::SignedIn { auth, .. } => auth,
            RequestState::SignedOut(out) => {
                return Err(not_signed_in("unauthenticated", "Not signed in", &out.reason.as_str()));
            }
        };
        let provenance = provenance(req, kit);
        let signed_in = kit.sign_in.sign_in(&auth, &provenance).await?;
        let caller = Caller { principal: signed_in.principal.clone(), provenance };
        Ok(Self { signed_in, caller, action: PhantomData })
    }
}

fn not_signed_in(code: &'static str, title: &'static str, reason: &str) -> Problem {
    let given = reason != AuthReason::SessionTokenAndUatMissing.as_str();
    Problem::unauthenticated(code, title, given.then_some("invalid_token")).member("reason", reason)
}

/// The provider's verdict on a request, also kept with the request so that its headers reach the response. An outage that keeps the
/// token from being judged is a problem of its own, never a "signed out".
pub async fn authenticate(req: &HttpRequest) -> Result<RequestState, Problem> {
    let kit = Kit::of(req)?;
    let state = kit.authenticator.authenticate(&parts(req, kit)).await;
    keep_headers(req, &state);
    match state.reason() {
        Some(reason) if reason.is_infrastructure() => {
            Err(Problem::unavailable("identity_unavailable", "Sign-ins cannot be checked right now")
                .member("reason", reason.as_str())
                .cause(format!("the session token could not be judged: {reason}")))
        }
        _ => Ok(state),
    }
}

/// The headers that can change a verdict, as this framework names them.
static RELEVANT: LazyLock<[HeaderName; RequestParts::RELEVANT_HEADERS.len()]> =
    LazyLock::new(|| RequestParts::RELEVANT_HEADERS.map(HeaderName::from_static));

fn parts<'r>(req: &'r HttpRequest, kit: &Kit) -> RequestParts<'r> {
    let target = req.uri().path_and_query().map_or("/", |target| target.as_str());
    let parts = RequestParts::new(req.method().as_str(), [kit.public_origin.as_str(), target].concat());
    let lines = RELEVANT.iter().flat_map(|name| req.headers().get_all(name).map(move |value| (name, value)));
    lines.fold(parts, |parts, (name, value)| match std::str::from_utf8(value.as_bytes()) {
        Ok(value) => parts.header(name.as_str(), value),
        // Bytes that are no text make a value that no credential equals.
        Err(_) => parts.header(name.as_str(), String::from_utf8_lossy(value.as_bytes())),
    })
}
