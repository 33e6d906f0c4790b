//! Reading an account's trail: all of it, or what one did oneself.

use std::sync::Arc;

use portal_authz::action::ReadAuditTrail;
use portal_authz::{Denied, Owned, Principal, Target, Unchecked};
use portal_kernel::{AccountId, AuditEventId, Clock, Page, PageRequest, StoreError, Timestamp, UserId};

use crate::{AuditAction, AuditEntry, AuditReader, Outcome};

/// The trail of an account, or the part of it that one person made in person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailOf {
    /// Whose.
    pub account: AccountId,
    /// Only what this person did.
    pub by: Option<UserId>,
}

impl Owned for TrailOf {
    fn target(&self) -> Target {
        Target::Account { account: self.account, made_by: self.by }
    }
}

/// Which events somebody wants to see; all that are given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// What was done.
    pub action: Option<AuditAction>,
    /// Id of the user or token that did it, or the job's name.
    pub actor: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// A record as the store finds it, with what closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// What was recorded.
    pub entry: AuditEntry,
    /// The effect of the record that closes it.
    pub closed: Option<String>,
}

/// A record and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What was recorded.
    pub entry: AuditEntry,
    /// What came of it.
    pub outcome: Outcome,
}

/// Why a trail was not shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadTrailError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the audit trail could not be read")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct AuditTrail {
    /// Where the records are.
    pub reader: Arc<dyn AuditReader>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl AuditTrail {
    /// What was recorded in an account, newest first. Whoever may not read all of it reads what they did themselves, in person.
    pub async fn list(
        &self,
        who: &Principal,
        account: AccountId,
        filter: AuditFilter,
        request: PageRequest<AuditEventId>,
    ) -> Result<Page<AuditEvent, AuditEventId>, ReadTrailError> {
        let everything = Unchecked::new(TrailOf { account, by: None }).authorize::<ReadAuditTrail>(who);
        let cleared = match (everything, who) {
            (Err(Denied::Forbidden), Principal::User(user)) => {
                Unchecked::new(TrailOf { account, by: Some(user.user) }).authorize(who)?
            }
            (decided, _) => decided?,
        };
        let page = self.reader.page(&cleared, filter, request).await?;
        let now = self.clock.now();
        let told = |FoundEvent { entry, closed }| {
            let outcome = Outcome::read(&entry.effect, closed.as_deref(), entry.at, now);
            AuditEvent { entry, outcome }
        };
        Ok(Page { items: page.items.into_iter().map(told).collect(), next: page.next })
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Delegate, Role, Roles, UserPrincipal};
    use portal_testkit::FixedClock;

    use super::*;
    use crate::MockAuditReader;

    fn account() -> AccountId {
        "acc_00000000000000000000000001".parse().unwrap()
    }

    fn member(role: Role) -> UserPrincipal {
        let user = "usr_00000000000000000000000001".parse().unwrap();
        UserPrincipal::new(user, Roles::from_iter([(account(), role)]))
    }

    fn trail(reader: MockAuditReader) -> AuditTrail {
        AuditTrail { reader: Arc::new(reader), clock: Arc::new(FixedClock::default()) }
    }

    async fn list(trail: &AuditTrail, who: &Principal, account: AccountId) -> Result<(), ReadTrailError> {
        trail.list(who, account, AuditFilter::default(), PageRequest::default()).await.map(drop)
    }

    #[tokio::test]
    async fn admins_read_everything_and_others_what_they_did() {
        for (role, own) in [(Role::Owner, false), (Role::Admin, false), (Role::Editor, true), (Role::Viewer, true)] {
            let mut reader = MockAuditReader::new();
            let by = own.then_some(member(role).user);
            let expected = TrailOf { account: account(), by };
            let empty = |_: &_, _, _| Ok(Page { items: Vec::new(), next: None });
            reader.expect_page().withf(move |of, _, _| **of == expected).once().returning(empty);
            list(&trail(reader), &Principal::User(member(role)), account()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn strangers_and_whoever_acts_for_an_owner_read_nothing() {
        let reading = trail(MockAuditReader::new());
        let delegate = Delegate { user: member(Role::Owner), actor: "user_support".to_owned() };
        for who in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
            let outcome = list(&reading, &who, account()).await;
            assert!(matches!(outcome, Err(ReadTrailError::Denied(Denied::Forbidden))), "{outcome:?}");
        }
        let elsewhere = "acc_00000000000000000000000009".parse().unwrap();
        let outcome = list(&reading, &Principal::User(member(Role::Owner)), elsewhere).await;
        assert!(matches!(outcome, Err(ReadTrailError::Denied(Denied::Hidden))), "{outcome:?}");
    }
}
