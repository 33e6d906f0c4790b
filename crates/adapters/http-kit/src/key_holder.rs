//! Whoever holds an API key as a requirement.

use std::marker::PhantomData;
use std::net::IpAddr;

use actix_web::HttpRequest;
use portal_api_keys::VerifyError;
use portal_audit::Caller;
use portal_authz::{Action, Kind};

use crate::context::{Kit, provenance};
use crate::guard::{Refusal, Requirement, RequirementKind};
use crate::problem::Problem;
use crate::service::bearer;

/// The holder of a key who wants to do `A` with it. Whether they may is decided by the use case, at the key.
pub struct KeyHolder<A> {
    caller: Caller,
    address: Option<IpAddr>,
    action: PhantomData<fn() -> A>,
}

impl<A> KeyHolder<A> {
    /// Who is acting, and through which request.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where the request came from.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl<A: Action> Requirement for KeyHolder<A> {
    const KIND: RequirementKind = RequirementKind::ApiKey;
    const ACTION: Option<Kind> = Some(A::KIND);

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        let kit = Kit::of(req)?;
        if bearer(req).is_none() {
            return Err(Problem::unauthenticated("api_key_required", "An API key is needed", None)
                .detail("Send Authorization: Bearer with the whole key.")
                .into());
        }
        let caller = holder(req, kit).await?.ok_or_else(|| {
            Problem::unauthenticated("invalid_api_key", "The API key is not valid", Some("invalid_token"))
        })?;
        Ok(Self { caller, address: kit.trusted_proxies.client(req), action: PhantomData })
    }
}

/// Whoever may hold a key. Who does not gets the same answer, so that it tells nobody whether a key is one.
pub struct MaybeKeyHolder(Option<Caller>);

impl MaybeKeyHolder {
    /// Who is acting, and through which request; none if no key that counts was presented.
    pub fn caller(&self) -> Option<&Caller> {
        self.0.as_ref()
    }
}

impl Requirement for MaybeKeyHolder {
    const KIND: RequirementKind = RequirementKind::Public;
    const ACTION: Option<Kind> = None;

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        Ok(Self(holder(req, Kit::of(req)?).await?))
    }
}

async fn holder(req: &HttpRequest, kit: &Kit) -> Result<Option<Caller>, Problem> {
    let Some(presented) = bearer(req) else { return Ok(None) };
    let principal = kit.verifier.authenticate_key(presented).await.map_err(|error| match error {
        VerifyError::Denied(denied) => denied.into(),
        VerifyError::Store(error) => error.into(),
        VerifyError::TooMany => Problem::internal(),
    })?;
    Ok(principal.map(|principal| Caller { principal, provenance: provenance(req, kit) }))
}
