//! One row of the audit trail.

use portal_authz::{Principal, ServicePrincipal};
use portal_kernel::{AccountId, ApiKeyId, AuditEventId, Clock, IdGen, ServiceTokenId, Timestamp, UserId};

use crate::{Caller, Effect, EffectResult, Provenance};

macro_rules! audit_actions {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)+) => {
        /// What was done, in the past tense.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditAction {$(
            #[doc = $doc]
            $name,
        )+}

        impl AuditAction {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stored and shown text; never changes once it was written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Reads the text.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|action| action.as_str() == text)
            }
        }
    };
}

audit_actions! {
    /// A person signed in for the first time; user, personal account and ownership were made.
    UserProvisioned = "user.provisioned";
    /// A person changed what they chose here.
    ProfileUpdated = "profile.updated";
    /// A session signed in for the first time.
    SignInSucceeded = "sign_in.succeeded";
    /// Sessions were presented that did not count; the reason tells why, and how many it were.
    SignInFailed = "sign_in.failed";
    /// An organization appeared with its first member.
    AccountCreated = "account.created";
    /// An account got another name.
    AccountUpdated = "account.updated";
    /// An account was given to another member.
    OwnershipTransferred = "account.ownership_transferred";
    /// A person became a member.
    MembershipCreated = "membership.created";
    /// The role of a member became another one.
    MembershipChanged = "membership.changed";
    /// A person is no member any more.
    MembershipRemoved = "membership.removed";
    /// Somebody was invited into an account.
    InvitationCreated = "invitation.created";
    /// An invitation was taken back.
    InvitationRevoked = "invitation.revoked";
    /// The identity provider banned a person; their personal account was paused.
    UserPaused = "user.paused";
    /// A ban ended.
    UserResumed = "user.resumed";
    /// The identity provider deleted a person; the profile was erased.
    UserDeleted = "user.deleted";
    /// An organization was deleted; its account was closed.
    AccountDeleted = "account.deleted";
    /// A person ended a session: it counts nowhere here any more.
    SessionEnded = "session.ended";
    /// The identity provider was asked to make no further token for a session.
    SessionRevoked = "session.revoked";
    /// All session tokens made until then ended, a person's or everybody's.
    SessionsEnded = "sessions.ended";
    /// An API key was made.
    ApiKeyCreated = "api_key.created";
    /// An API key got another name, other restrictions or another end.
    ApiKeyUpdated = "api_key.updated";
    /// An API key was stopped for a while.
    ApiKeyDisabled = "api_key.disabled";
    /// A stopped API key can be used again.
    ApiKeyEnabled = "api_key.enabled";
    /// An API key got a new secret.
    ApiKeyRotated = "api_key.rotated";
    /// An API key was ended for good.
    ApiKeyRevoked = "api_key.revoked";
    /// A service token was made.
    ServiceTokenCreated = "service_token.created";
    /// A service token got a new secret.
    ServiceTokenRotated = "service_token.rotated";
    /// A service token was ended for good.
    ServiceTokenRevoked = "service_token.revoked";
    /// An operator had a message of the identity provider read again that had been put aside.
    WebhookReplayed = "webhook.replayed";
    /// An operator had everything compared with the identity provider, and mended.
    DirectoryReconciled = "directory.reconciled";
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// An account.
    Account(AccountId),
    /// An API key.
    ApiKey(ApiKeyId),
    /// A service token.
    ServiceToken(ServiceTokenId),
    /// A session; the identity provider's id.
    Session(String),
    /// An invitation; the identity provider's id.
    Invitation(String),
    /// A message of the identity provider; its id.
    Webhook(String),
    /// The program as a whole.
    Platform,
}

impl std::fmt::Display for Subject {
    /// The id; its prefix tells the kind. `platform` for the whole.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::ApiKey(id) => id.fmt(f),
            Self::ServiceToken(id) => id.fmt(f),
            Self::Session(id) | Self::Invitation(id) | Self::Webhook(id) => id.fmt(f),
            Self::Platform => f.write_str("platform"),
        }
    }
}

/// Who did it, as text that stays readable when the principal is long gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `user`, `impersonator`, `agent`, `service`, `api_key` or `system`.
    pub kind: &'static str,
    /// The id of the user, token or key, or the job's name.
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
            Principal::Service(service) => ("service", named(service), None),
            Principal::ApiKey(holder) => ("api_key", holder.key.to_string(), None),
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
    /// Ours, or elsewhere.
    pub effect: Effect,
    /// Through which request, from where, why.
    pub provenance: Provenance,
}

impl AuditRecord {
    /// A record of something that happens in the transaction that the record is written in.
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
            effect: Effect::Done,
            provenance: Provenance { credential: credential(caller), ..caller.provenance.clone() },
        }
    }

    /// A record of something that will be tried elsewhere. Commit it before the attempt, and write [`Self::closed`] with what follows
    /// from the attempt; a record that stays open reads `unknown` after an hour.
    pub fn opened(
        source: (&dyn IdGen, &dyn Clock),
        caller: &Caller,
        account: Option<AccountId>,
        action: AuditAction,
        subject: Subject,
    ) -> Self {
        Self { effect: Effect::Opened, ..Self::now(source, caller, account, action, subject) }
    }

    /// The end of an attempt. A second one for the same attempt is refused by the store.
    pub fn closed((ids, clock): (&dyn IdGen, &dyn Clock), opened: &Self, result: EffectResult) -> Self {
        let effect = Effect::Closed { opened: opened.id, result };
        Self { id: ids.make(), at: clock.now(), effect, ..opened.clone() }
    }
}

/// The id of the token, or the name of what has none.
fn named(service: &ServicePrincipal) -> String {
    service.token.map_or_else(|| service.name.clone(), |token| token.to_string())
}

/// A service is known by its token, a key by itself, and whoever else has a session by that.
fn credential(caller: &Caller) -> Option<String> {
    match &caller.principal {
        Principal::Service(service) => Some(named(service)),
        Principal::ApiKey(holder) => Some(holder.key.to_string()),
        Principal::User(_) | Principal::Impersonator(_) | Principal::Agent(_) | Principal::System(_) => {
            caller.provenance.credential.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Job, Scopes};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;

    #[test]
    fn the_end_of_an_attempt_tells_everything_that_its_beginning_told() {
        let (ids, clock) = (CountingIds::default(), FixedClock::default());
        let provenance = Provenance { reason: Some("because".to_owned()), ..Provenance::default() };
        let caller = Caller { principal: Principal::System(Job::Operator), provenance };
        let subject = Subject::User("usr_00000000000000000000000001".parse().unwrap());
        let opened = AuditRecord::opened((&ids, &clock), &caller, None, AuditAction::UserDeleted, subject);
        clock.advance(std::time::Duration::from_mins(1));
        let closed = AuditRecord::closed((&ids, &clock), &opened, EffectResult::Failed);
        assert_eq!((opened.effect.as_str(), closed.effect.as_str()), ("opened", "failed"));
        assert_eq!(closed.effect.closes(), Some(opened.id));
        assert_ne!(closed.id, opened.id);
        assert!(closed.at > opened.at);
        assert_eq!(AuditRecord { id: opened.id, at: opened.at, effect: opened.effect, ..closed }, opened);
    }

    #[test]
    fn a_service_acts_through_its_token_and_others_through_their_session() {
        let provenance = Provenance { credential: Some("sess_1".to_owned()), ..Provenance::default() };
        let token = "svc_00000000000000000000000001".parse().unwrap();
        let service = ServicePrincipal { token: Some(token), name: "edge".to_owned(), scopes: Scopes::default() };
        for (principal, expected) in
            [(Principal::Service(service), token.to_string()), (Principal::System(Job::SignIn), "sess_1".to_owned())]
        {
            let caller = Caller { principal, provenance: provenance.clone() };
            let source: (&dyn IdGen, &dyn Clock) = (&CountingIds::default(), &FixedClock::default());
            let subject = Subject::ServiceToken(token);
            let record = AuditRecord::now(source, &caller, None, AuditAction::ServiceTokenRevoked, subject);
            assert_eq!(record.provenance.credential, Some(expected));
        }
    }

    #[test]
    fn who_shows_the_legacy_token_acts_by_its_name() {
        let legacy = ServicePrincipal { token: None, name: "legacy_token".to_owned(), scopes: Scopes::default() };
        let caller = Caller { principal: Principal::Service(legacy), provenance: Provenance::default() };
        let source: (&dyn IdGen, &dyn Clock) = (&CountingIds::default(), &FixedClock::default());
        let record = AuditRecord::now(source, &caller, None, AuditAction::DirectoryReconciled, Subject::Platform);
        assert_eq!((record.actor.kind, record.actor.id.as_str()), ("service", "legacy_token"));
        assert_eq!(record.provenance.credential.as_deref(), Some("legacy_token"));
    }

    #[test]
    fn every_action_is_read_back_from_its_text() {
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::parse(action.as_str()), Some(*action));
        }
        assert_eq!(AuditAction::parse("user.imagined"), None);
    }
}
