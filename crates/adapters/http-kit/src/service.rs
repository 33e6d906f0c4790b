//! A trusted service as a requirement.

use std::marker::PhantomData;
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use portal_api_keys::{AuthenticateError, Kid, LegacyToken, ServiceName, ServiceRefusal, ServiceRefused};
use portal_authz::{Action, Kind, Platform, Principal, Unchecked};

use crate::address::{network, prefix};
use crate::context::{Kit, request_id};
use crate::guard::{Refusal, Requirement, RequirementKind};
use crate::problem::Problem;
use crate::rate_limits::count_legacy_service;
use crate::sparingly::Sparingly;

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

impl<A: Action> Service<A> {
    /// For an answer that waited: fails where the token has ended meanwhile.
    pub async fn still_counts(req: &HttpRequest) -> Result<(), Problem> {
        Self::judged(req).await.map(drop)
    }

    async fn judged(req: &HttpRequest) -> Result<Self, Problem> {
        let presented = bearer(req).ok_or_else(|| {
            Problem::unauthenticated("service_token_required", "A service token is needed", None)
                .detail("Send Authorization: Bearer portal_svc_…")
        })?;
        // A service token in a browser has leaked.
        if let Some(header) = sent_by_browser(req) {
            let refusal =
                Problem::new(StatusCode::FORBIDDEN, "browser_not_allowed", "Service tokens are not for browsers");
            return Err(refusal.detail(format_args!("The request has the header {header}.")));
        }
        let kit = Kit::of(req)?;
        let address = kit.trusted_proxies.client(req);
        if kit.services.may_be_legacy(presented) {
            count_legacy_service(kit, address)?;
        }
        let outcome = kit.services.authenticate(presented, address).await;
        if let Err(AuthenticateError::Invalid(refused)) = &outcome {
            kit.service_log.refused(req, kit, refused);
        }
        let principal = outcome.map_err(Problem::from)?;
        if matches!(&principal, Principal::Service(service) if service.token.is_none()) {
            kit.service_log.used_legacy(kit, address);
        }
        match Unchecked::new(Platform).authorize::<A>(&principal) {
            Ok(_) => Ok(Self { principal, action: PhantomData }),
            Err(_) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "scope_missing", "The service token does not allow this"))
            }
        }
    }
}

impl<A: Action> Requirement for Service<A> {
    const KIND: RequirementKind = RequirementKind::Service;
    const ACTION: Option<Kind> = Some(A::KIND);

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        Ok(Self::judged(req).await?)
    }
}

/// Why service tokens were refused, and who uses the legacy one, for the log: what happens again is told once a minute.
#[derive(Default)]
pub struct ServiceLog {
    refused: Sparingly<(ServiceRefusal, Option<Kid>, Option<IpAddr>)>,
    legacy: Sparingly<Option<IpAddr>>,
}

impl ServiceLog {
    /// A partner found a token where anybody can read it.
    pub fn published(&self, service: &ServiceName) {
        tracing::error!(service = service.as_str(), "a service token was published: rotate it at once");
    }

    fn used_legacy(&self, kit: &Kit, address: Option<IpAddr>) {
        if let Some(times) = self.legacy.note(address.map(network), kit.services.clock.now()) {
            let (service, address) = (LegacyToken::NAME, address.map(prefix));
            tracing::warn!(service, address, times, "a service used the legacy token: give it one of its own");
        }
    }

    fn refused(&self, req: &HttpRequest, kit: &Kit, refused: &ServiceRefused) {
        let ServiceRefused { why, kid, name } = refused;
        let address = kit.trusted_proxies.client(req);
        // Whoever guesses makes up as many kids as they like.
        let known = kid.filter(|_| name.is_some());
        let Some(times) = self.refused.note((*why, known, address.map(network)), kit.services.clock.now()) else {
            return;
        };
        tracing::warn!(
            request.id = request_id(req).map(tracing::field::display),
            why = why.as_str(),
            service = name.as_ref().map(ServiceName::as_str),
            kid = kid.as_ref().map(Kid::as_str),
            address = address.map(prefix),
            times,
            "a service token was refused"
        );
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
