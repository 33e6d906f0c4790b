//! What a request carries through the program besides itself.

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest, web};
use portal_accounts::{FailedSignIns, SignIn};
use portal_api_keys::{Services, Verifier};
use portal_audit::Provenance;
use portal_identity::{AuthStatus, RequestAuthenticator, RequestState, StateHeaders};
use portal_kernel::{IdGen, RequestId};

use crate::address::{TrustedProxies, prefix};
use crate::problem::Problem;
use crate::rate_limits::RateLimits;
use crate::service::ServiceLog;

/// What guards need. Built once, outside the worker factory, and shared by all workers as `web::Data`.
pub struct Kit {
    /// Judges session tokens.
    pub authenticator: Arc<dyn RequestAuthenticator>,
    /// Turns sessions into principals.
    pub sign_in: Arc<SignIn>,
    /// Counts sessions that do not count.
    pub failed_sign_ins: Arc<FailedSignIns>,
    /// Turns service tokens into principals.
    pub services: Arc<Services>,
    /// Turns API keys into principals.
    pub verifier: Arc<Verifier>,
    /// What the log was told of service tokens.
    pub service_log: ServiceLog,
    /// Request ids.
    pub ids: Arc<dyn IdGen>,
    /// `scheme://host[:port]` of this program, as browsers see it. Comes from configuration: no header can change it.
    pub public_origin: String,
    /// Whose forwarded addresses count.
    pub trusted_proxies: TrustedProxies,
    /// How many requests a person or an address may make.
    pub rate_limits: Arc<RateLimits>,
}

impl Kit {
    pub(crate) fn of(req: &HttpRequest) -> Result<&web::Data<Self>, Problem> {
        req.app_data::<web::Data<Self>>().ok_or_else(Problem::internal)
    }
}

/// What is known of a request beside itself: made when the first of it is, since most requests need none before they are answered.
#[derive(Default)]
pub(crate) struct Observed {
    id: Option<RequestId>,
    /// Of the provider's verdict.
    headers: StateHeaders,
}

impl Observed {
    fn of<R>(req: &HttpRequest, change: impl FnOnce(&mut Self) -> R) -> R {
        let mut extensions = req.extensions_mut();
        if let Some(observed) = extensions.get_mut::<Self>() {
            return change(observed);
        }
        let mut observed = Self::default();
        let result = change(&mut observed);
        extensions.insert(observed);
        result
    }

    /// For the answer: the headers of the verdict, and the id if one was asked for.
    pub(crate) fn take(req: &HttpRequest) -> (Option<RequestId>, StateHeaders) {
        let mut extensions = req.extensions_mut();
        let observed =
            extensions.get_mut::<Self>().map(|observed| (observed.id, std::mem::take(&mut observed.headers)));
        observed.unwrap_or_default()
    }
}

/// The id of a request, the same whenever it is asked for; none outside of the program that [`crate::Observe`] wraps.
pub(crate) fn request_id(req: &HttpRequest) -> Option<RequestId> {
    let kit = Kit::of(req).ok()?;
    Some(Observed::of(req, |observed| *observed.id.get_or_insert_with(|| kit.ids.make())))
}

/// Keeps the headers of the provider's verdict, which go into the answer.
pub(crate) fn keep_headers(req: &HttpRequest, state: &RequestState) {
    if !state.headers().is_empty() {
        Observed::of(req, |observed| observed.headers.clone_from(state.headers()));
    }
}

/// Says why a session that verifies does not count, in Clerk's headers for whoever debugs.
pub(crate) fn keep_reason(req: &HttpRequest, reason: &str) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let status = AuthStatus::SignedOut.as_str();
    let headers = [header("x-clerk-auth-status", status), header("x-clerk-auth-reason", reason)];
    Observed::of(req, |observed| observed.headers.extend(headers));
}

/// Circumstances of a request, for the audit trail.
pub(crate) fn provenance(req: &HttpRequest, kit: &Kit) -> Provenance {
    Provenance {
        request_id: request_id(req),
        address_prefix: kit.trusted_proxies.client(req).map(prefix),
        credential: None,
        reason: None,
    }
}
