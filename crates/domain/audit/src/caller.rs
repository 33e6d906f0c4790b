//! A principal together with where the call came from.

use portal_authz::Principal;
use portal_kernel::RequestId;

/// Circumstances of a call, for the record only: they never decide anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The HTTP request.
    pub request_id: Option<RequestId>,
    /// Network of the caller's address: /24 for IPv4, /48 for IPv6.
    pub address_prefix: Option<String>,
    /// Id of the session that a person came with.
    pub credential: Option<String>,
    /// What the operator gave as the reason.
    pub reason: Option<String>,
}

/// Whoever calls a use case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Decides what is allowed.
    pub principal: Principal,
    /// Goes into the audit trail.
    pub provenance: Provenance,
}
