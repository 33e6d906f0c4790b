//! A signed-in person as a requirement.

use std::borrow::Cow;
use std::marker::PhantomData;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use portal_accounts::{SignInFailure, SignedIn};
use portal_audit::{Caller, Provenance};
use portal_authz::{Action, Kind, Principal};
use portal_identity::{Auth, AuthReason, ProviderSessionId, RequestState, SessionAuth};
use portal_kernel::UserId;

use crate::context::{Kit, provenance};
use crate::guard::{Refusal, Requirement, RequirementKind};
use crate::problem::Problem;
use crate::verdict::{authenticate, has_ignored_session};

/// A person who is signed in and wants to do `A`. Whether they may is decided by the use case, at the resource.
pub struct Session<A> {
    signed_in: SignedIn,
    caller: Caller,
    id: Option<ProviderSessionId>,
    action: PhantomData<fn() -> A>,
}

impl<A> Session<A> {
    /// The provider's session; none if the token names none.
    pub fn id(&self) -> Option<&ProviderSessionId> {
        self.id.as_ref()
    }

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

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        match authenticate(req).await? {
            RequestState::SignedIn { auth: Auth::Session(auth), .. } if auth.is_pending() => {
                Err(not_signed_in(req, "session_pending", "The session has an unfinished task", SESSION_PENDING).into())
            }
            RequestState::SignedIn { auth: Auth::Session(auth), .. } => Ok(Self::of(req, &auth).await?),
            state if has_ignored_session(req) => {
                let reason = reason(&state);
                let title = "Send the session token in the header";
                Err(not_signed_in(req, "bearer_required", title, &reason)
                    .detail("Cookies count for GET from the same site. Send Authorization: Bearer.")
                    .into())
            }
            state => {
                count_failure(req, &state)?;
                Err(not_signed_in(req, "unauthenticated", "Not signed in", &reason(&state)).into())
            }
        }
    }

    fn user(&self) -> Option<UserId> {
        Some(self.signed_in.known.user.id)
    }
}

impl<A> Session<A> {
    /// The person behind a verified session.
    pub(crate) async fn of(req: &HttpRequest, auth: &SessionAuth) -> Result<Self, Problem> {
        let kit = Kit::of(req)?;
        let credential = auth.session_id.as_ref().map(ToString::to_string);
        let provenance = Provenance { credential, ..provenance(req, kit) };
        let signed_in = match kit.sign_in.sign_in(auth, &provenance).await {
            Ok(signed_in) => signed_in,
            Err(error) => {
                if let Some(failure) = SignInFailure::of_error(&error) {
                    kit.failed_sign_ins.count(failure, || provenance);
                }
                return Err(error.into());
            }
        };
        let caller = Caller { principal: signed_in.principal.clone(), provenance };
        Ok(Self { signed_in, caller, id: auth.session_id.clone(), action: PhantomData })
    }
}

/// Takes note of a session that was presented and does not count.
pub(crate) fn count_failure(req: &HttpRequest, state: &RequestState) -> Result<(), Problem> {
    let kit = Kit::of(req)?;
    if let RequestState::SignedOut(out) = state
        && let Some(failure) = SignInFailure::of_verdict(&out.reason)
    {
        kit.failed_sign_ins.count(failure, || provenance(req, kit));
    }
    Ok(())
}

/// Why nobody is signed in although the token verifies.
pub(crate) const SESSION_PENDING: &str = "session-pending";

fn reason(state: &RequestState) -> Cow<'static, str> {
    state.reason().unwrap_or(&AuthReason::TokenTypeMismatch).as_str()
}

fn not_signed_in(req: &HttpRequest, code: &'static str, title: &'static str, reason: &str) -> Problem {
    let presented = req.headers().contains_key(AUTHORIZATION);
    Problem::unauthenticated(code, title, presented.then_some("invalid_token")).member("reason", reason)
}
