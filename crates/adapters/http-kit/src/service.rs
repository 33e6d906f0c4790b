//! A trusted service as a requirement.

use std::marker::PhantomData;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use portal_authz::{Action, Kind, Platform, Principal, Unchecked};

use crate::context::Kit;
use crate::guard::{Refusal, Requirement, RequirementKind};
use crate::problem::Problem;

/// A service whose token allows `A`.
pub struct Service<A> {
    principal: Principal,
    action: PhantomData<fn() -> A>,
}

impl<A> Service<A> {
    /// Who is acting.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl<A: Action> Requirement for Service<A> {
    const KIND: RequirementKind = RequirementKind::Service;
    const ACTION: Option<Kind> = Some(A::KIND);

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        let presented = bearer(req).ok_or_else(|| {
            Problem::unauthenticated("service_token_required", "A service token is needed", None)
                .detail("Send Authorization: Bearer portal_svc_…")
        })?;
        // A service token in a browser has leaked.
        if let Some(header) = sent_by_browser(req) {
            let refusal =
                Problem::new(StatusCode::FORBIDDEN, "browser_not_allowed", "Service tokens are not for browsers");
            return Err(refusal.detail(format_args!("The request has the header {header}.")).into());
        }
        let principal = Kit::of(req)?.verifier.authenticate_service(presented).await.map_err(Problem::from)?;
        match Unchecked::new(Platform).authorize::<A>(&principal) {
            Ok(_) => Ok(Self { principal, action: PhantomData }),
            Err(_) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "scope_missing", "The service token does not allow this")
                    .into())
            }
        }
    }
}

pub(crate) fn bearer(req: &HttpRequest) -> Option<&str> {
    let (scheme, token) = req.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn sent_by_browser(req: &HttpRequest) -> Option<&str> {
    let telling = |name: &str| name == ORIGIN || name == COOKIE || name.starts_with("sec-fetch-");
    req.headers().keys().map(actix_web::http::header::HeaderName::as_str).find(|name| telling(name))
}
