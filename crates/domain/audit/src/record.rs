//! One row of the audit trail.

use portal_authz::Principal;
use portal_kernel::{AccountId, ApiKeyId, AuditEventId, Clock, IdGen, ServiceTokenId, Timestamp, UserId};

use crate::{Caller, Provenance};

macro_rules! audit_actions {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)+) => {
        /// What was done, in the past tense.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditAction {$(
            #[doc = $doc]
            $name,
        )+}

        impl AuditAction {
            /// The stored and shown text; never changes once it was written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

audit_actions! {
    /// A person signed in for the first time; user, personal account and ownership were made.
    UserProvisioned = "user.provisioned";
    /// An organization appeared with its first member.
    AccountCreated = "account.created";
    /// A person became a member.
    MembershipCreated = "membership.created";
    /// The role of a member became another one.
    MembershipChanged = "membership.changed";
    /// A person is no member any more.
    MembershipRemoved = "membership.removed";
    /// The identity provider deleted a person; the profile was erased.
    UserDeleted = "user.deleted";
    /// The identity provider deleted an organization; its account was closed.
    AccountDeleted = "account.deleted";
    /// An API key was made.
    ApiKeyCreated = "api_key.created";
    /// An API key was ended for good.
    ApiKeyRevoked = "api_key.revoked";
    /// A service token was made.
    ServiceTokenCreated = "service_token.created";
    /// A service token was ended for good.
    ServiceTokenRevoked = "service_token.revoked";
}

/// What it was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// An account.
    Account(AccountId),
    /// An API key.
    ApiKey(ApiKeyId),
    /// A service token.
    ServiceToken(ServiceTokenId),
}

impl std::fmt::Display for Subject {
    /// The id; its prefix tells the kind.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::ApiKey(id) => id.fmt(f),
            Self::ServiceToken(id) => id.fmt(f),
        }
    }
}

/// Who did it, as text that stays readable when the principal is long gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `user`, `impersonator`, `agent`, `service` or `system`.
    pub kind: &'static str,
    /// The id of the user or token, or the job's name.
    pub id: String,
    /// Who really acted, where somebody acted as the user.
    pub behind: Option<String>,
}

impl Actor {
    fn of(principal: &Principal) -> Self {
        let (kind, id, behind) = match principal {
            Principal::User(user) => ("user", user.user.to_string(), None),
            Principal::Impersonator(by) => ("impersonator", by.user.user.to_string(), Some(by.actor.clone())),
            Principal::Agent(by) => ("agent", by.user.user.to_string(), Some(by.actor.clone())),
            Principal::Service(service) => ("service", service.token.to_string(), None),
            Principal::System(job) => ("system", job.as_str().to_owned(), None),
        };
        Self { kind, id, behind }
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its id.
    pub id: AuditEventId,
    /// When.
    pub at: Timestamp,
    /// Whose trail it belongs to; none for the platform's.
    pub account: Option<AccountId>,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: AuditAction,
    /// On what.
    pub subject: Subject,
    /// Through which request, from where, why.
    pub provenance: Provenance,
}

impl AuditRecord {
    /// A record of something that happens now.
    pub fn now(
        (ids, clock): (&dyn IdGen, &dyn Clock),
        caller: &Caller,
        account: Option<AccountId>,
        action: AuditAction,
        subject: Subject,
    ) -> Self {
        Self {
            id: ids.make(),
            at: clock.now(),
            account,
            actor: Actor::of(&caller.principal),
            action,
            subject,
            provenance: caller.provenance.clone(),
        }
    }
}
