//! What a request carries through the program besides itself.

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest, web};
use portal_accounts::SignIn;
use portal_api_keys::Verifier;
use portal_audit::Provenance;
use portal_identity::{AuthStatus, RequestAuthenticator, RequestState, StateHeaders};
use portal_kernel::{IdGen, RequestId};

use crate::address::{TrustedProxies, prefix};
use crate::problem::Problem;

/// What guards need. Built once, outside the worker factory, and shared by all workers as `web::Data`.
pub struct Kit {
    /// Judges session tokens.
    pub authenticator: Arc<dyn RequestAuthenticator>,
    /// Turns sessions into principals.
    pub sign_in: Arc<SignIn>,
    /// Turns service tokens into principals.
    pub verifier: Arc<Verifier>,
    /// Request ids.
    pub ids: Arc<dyn IdGen>,
    /// `scheme://host[:port]` of this program, as browsers see it. Comes from configuration: no header can change it.
    pub public_origin: String,
    /// Whose forwarded addresses count.
    pub trusted_proxies: TrustedProxies,
}

impl Kit {
    pub(crate) fn of(req: &HttpRequest) -> Result<&web::Data<Self>, Problem> {
        req.app_data::<web::Data<Self>>().ok_or_else(Problem::internal)
    }
}

/// What [`crate::observe`] attaches to a request, and whoever answers it fills.
pub(crate) struct Observed {
    pub(crate) id: RequestId,
    /// Of the provider's verdict.
    pub(crate) headers: StateHeaders,
}

/// The id of a request; none for one that did not pass [`crate::observe`].
pub(crate) fn request_id(req: &HttpRequest) -> Option<RequestId> {
    req.extensions().get::<Observed>().map(|observed| observed.id)
}

/// Keeps the headers of the provider's verdict, which go into the answer.
pub(crate) fn keep_headers(req: &HttpRequest, state: &RequestState) {
    if state.headers().is_empty() {
        return;
    }
    if let Some(observed) = req.extensions_mut().get_mut::<Observed>() {
        observed.headers.clone_from(state.headers());
    }
}

/// Says why a session that verifies does not count, in Clerk's headers for whoever debugs.
pub(crate) fn keep_reason(req: &HttpRequest, reason: &str) {
    if let Some(observed) = req.extensions_mut().get_mut::<Observed>() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let status = AuthStatus::SignedOut.as_str();
        observed.headers.extend([header("x-clerk-auth-status", status), header("x-clerk-auth-reason", reason)]);
    }
}

/// Circumstances of a request, for the audit trail.
pub(crate) fn provenance(req: &HttpRequest, kit: &Kit) -> Provenance {
    Provenance {
        request_id: request_id(req),
        address_prefix: kit.trusted_proxies.client(req).map(prefix),
        reason: None,
    }
}
