//! What the provider tells becomes users, accounts and memberships: the one road behind first requests, webhooks and the reconciler.

mod people;
#[cfg(test)]
mod schedules;

use std::collections::BTreeSet;
use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::Role;
use portal_identity::{
    ProviderEvent, ProviderMembership, ProviderMembershipId, ProviderOrganization, ProviderOrganizationId,
    ProviderUser, ProviderUserId,
};
use portal_kernel::{AccountId, Change, Clock, IdGen, StoreError};

pub(crate) use self::people::Found;
use crate::ports::{AccountsTx, Merging};
use crate::{
    Account, Membership, MembershipRecord, OrganizationAccount, OrganizationRecord, RoleMap, Source, Stays, UserState,
    Versioned,
};

/// Applies facts inside a transaction.
pub struct Facts {
    /// Maps the provider's role keys.
    pub role_map: RoleMap,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What somebody told, and on whose behalf it is written.
pub(crate) struct Fact<'e, 'c> {
    pub(crate) event: &'e ProviderEvent,
    pub(crate) caller: &'c Caller,
}

impl<'e> Fact<'e, '_> {
    fn user(&self) -> Option<&'e ProviderUser> {
        if let ProviderEvent::User(user) = self.event { Some(user) } else { None }
    }
}

/// One transaction with all that writing in it takes.
pub(crate) struct Merge<'a> {
    pub(crate) tx: &'a mut dyn AccountsTx,
    pub(crate) cleared: &'a Merging,
    pub(crate) caller: &'a Caller,
    /// What changed, as the other replicas are told.
    pub(crate) changes: Vec<Change>,
    /// What whoever merges records by themselves, and about whom or what.
    pub(crate) recorded: Option<(AuditAction, Subject)>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(tx: &'a mut dyn AccountsTx, cleared: &'a Merging, caller: &'a Caller) -> Self {
        Self { tx, cleared, caller, changes: Vec::new(), recorded: None }
    }

    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.changes.push(change.clone());
        self.tx.changes().changed(change).await
    }
}

impl Facts {
    /// Applies facts in their order, in one transaction. Facts that were applied before, or that newer ones overtook, change nothing.
    pub(crate) async fn apply(
        &self,
        merge: &mut Merge<'_>,
        events: Vec<ProviderEvent>,
        source: Source,
    ) -> Result<(), StoreError> {
        let caller = merge.caller;
        let facts: Vec<_> = events.iter().map(|event| Fact { event, caller }).collect();
        self.apply_each(merge, &facts, source).await.map(drop)
    }

    /// As [`Facts::apply`], for facts of several callers; tells what each fact changed.
    pub(crate) async fn apply_each<'c>(
        &self,
        merge: &mut Merge<'c>,
        facts: &[Fact<'_, 'c>],
        source: Source,
    ) -> Result<Vec<Vec<Change>>, StoreError> {
        let mut changes = Vec::with_capacity(facts.len());
        let ids = facts.iter().flat_map(|Fact { event, .. }| ids_of(event).chain(creator_of(event)));
        // Everybody takes them in one order, so that nobody waits in a circle.
        let ids: BTreeSet<String> = ids.collect();
        let mut buried = merge.tx.provider_ids().lock(merge.cleared, ids.into_iter().collect()).await?;
        for run in facts.chunk_by(|fact, next| fact.user().is_some() == next.user().is_some()) {
            if run.iter().any(|fact| fact.user().is_some()) {
                changes.extend(self.keep_users(merge, run, &buried, source).await?);
                continue;
            }
            for Fact { event, caller } in run {
                merge.caller = caller;
                self.apply_one(merge, event, &mut buried, source).await?;
                changes.push(std::mem::take(&mut merge.changes));
            }
        }
        Ok(changes)
    }

    async fn apply_one(
        &self,
        merge: &mut Merge<'_>,
        event: &ProviderEvent,
        buried: &mut Vec<String>,
        source: Source,
    ) -> Result<(), StoreError> {
        let Some(id) = deleted_id(event) else {
            let is_gone = ids_of(event).any(|id| buried.contains(&id));
            return if is_gone { Ok(()) } else { self.keep(merge, event.clone(), source).await };
        };
        if !buried.contains(&id) {
            merge.tx.provider_ids().bury(merge.cleared, id.clone(), self.clock.now()).await?;
            self.remove(merge, event.clone()).await?;
            buried.push(id);
        } else if matches!(event, ProviderEvent::SessionEnded(_)) {
            // It may have ended here before the provider knew.
            merge.tx.provider_ids().settle(merge.cleared, id, self.clock.now()).await?;
        }
        Ok(())
    }

    async fn keep(&self, merge: &mut Merge<'_>, event: ProviderEvent, source: Source) -> Result<(), StoreError> {
        match event {
            ProviderEvent::Organization(organization) => self.keep_organization(merge, organization, source).await,
            ProviderEvent::Membership(membership) => self.keep_membership(merge, membership, source).await,
            ProviderEvent::User(_)
            | ProviderEvent::UserDeleted(_)
            | ProviderEvent::OrganizationDeleted(_)
            | ProviderEvent::MembershipDeleted { .. }
            | ProviderEvent::SessionEnded(_) => Ok(()),
        }
    }

    async fn keep_organization(
        &self,
        merge: &mut Merge<'_>,
        organization: ProviderOrganization,
        source: Source,
    ) -> Result<(), StoreError> {
        let version = organization.updated_at;
        let stored = self.organization(merge, &organization).await?;
        let record = OrganizationRecord::from(organization);
        let account = stored.account;
        let Some(copy) = Versioned::merged(stored.copy, record, version, source) else { return Ok(()) };
        let now = OrganizationAccount { copy: Some(copy), ..stored };
        merge.tx.accounts().save_organization(merge.cleared, now).await?;
        merge.changed(Change::Account(account)).await
    }

    /// It became known who owns the organization: the role of that person, or of the one before, may be another one.
    pub(crate) async fn judge_again(
        &self,
        merge: &mut Merge<'_>,
        account: AccountId,
        person: &ProviderUserId,
        is_owner: bool,
    ) -> Result<(), StoreError> {
        let Some(user) = merge.tx.users().find(merge.cleared, person.clone()).await? else { return Ok(()) };
        if user.state == UserState::Deleted {
            return Ok(());
        }
        let found = merge.tx.accounts().find_membership(merge.cleared, account, user.id).await?;
        let Some(Membership { role: before, copy: Some(copy), rivals, .. }) = found else { return Ok(()) };
        let role = self.role_map.member(&copy.content.role, is_owner);
        let action = (role != before).then_some(AuditAction::MembershipChanged);
        let now = Membership { account, user: user.id, role, copy: Some(copy), rivals };
        self.save_membership(merge, now, action).await
    }

    async fn keep_membership(
        &self,
        merge: &mut Merge<'_>,
        membership: ProviderMembership,
        source: Source,
    ) -> Result<(), StoreError> {
        let ProviderMembership { id, organization, user, role: key, updated_at } = membership;
        let organization = self.organization(merge, &organization).await?;
        let (Found::Known(person) | Found::Made(person)) = self.person(merge, &user, None).await? else {
            return Ok(());
        };
        let (account, person) = (organization.account, person.id);
        let stored = merge.tx.accounts().find_membership(merge.cleared, account, person).await?;
        let (is_new, before) = (stored.is_none(), stored.as_ref().and_then(|stored| stored.role));
        let record = MembershipRecord { id, role: key };
        let stored = stored.as_ref().and_then(Membership::stays);
        let told = Stays::learnt(stored.clone(), record, updated_at, source);
        let is_told = told.is_some();
        let Some(Stays { copy, rivals }) = told.or(stored) else { return Ok(()) };
        let role = self.role_map.member(&copy.content.role, organization.owner() == Some(&user));
        // The map of roles may be another one than when the record was told.
        if !is_told && role == before {
            return Ok(());
        }
        if role.is_none() {
            tracing::warn!(account = %account, role = copy.content.role, "an unmapped role gives no access");
        }
        if before == Some(Role::Owner) && role != Some(Role::Owner) {
            warn_of_no_owner(account);
        }
        // The trail tells of a new member and of another role, and not of every version of the record.
        let changed = (role != before).then_some(AuditAction::MembershipChanged);
        let action = if is_new { Some(AuditAction::MembershipCreated) } else { changed };
        let now = Membership { account, user: person, role, copy: Some(copy), rivals };
        self.save_membership(merge, now, action).await
    }

    async fn save_membership(
        &self,
        merge: &mut Merge<'_>,
        membership: Membership,
        action: Option<AuditAction>,
    ) -> Result<(), StoreError> {
        let Membership { account, user, .. } = membership;
        merge.tx.accounts().save_membership(merge.cleared, membership, self.clock.now()).await?;
        merge.changed(Change::User(user)).await?;
        match action {
            Some(action) => self.record(merge, Some(account), action, Subject::User(user)).await,
            None => Ok(()),
        }
    }

    /// The account of an organization, made if there is none: then without a copy, which only a fact about the organization itself brings.
    async fn organization(
        &self,
        merge: &mut Merge<'_>,
        organization: &ProviderOrganization,
    ) -> Result<OrganizationAccount, StoreError> {
        if let Some(found) = merge.tx.accounts().find_organization(merge.cleared, organization.id.clone()).await? {
            return self.with_creator(merge, found, organization).await;
        }
        let record = OrganizationRecord::from(organization.clone());
        let account = Account {
            id: self.ids.make(),
            name: record.name,
            provider_organization: Some(organization.id.clone()),
            created_at: self.clock.now(),
        };
        let created_by = organization.created_by.clone();
        let made = OrganizationAccount { account: account.id, created_by, given_to: None, copy: None };
        merge.tx.accounts().insert(merge.cleared, account).await?;
        merge.tx.accounts().save_organization(merge.cleared, made.clone()).await?;
        let subject = Subject::Account(made.account);
        self.record(merge, Some(made.account), AuditAction::AccountCreated, subject).await?;
        Ok(made)
    }

    /// Who created an organization never changes, so any record that tells it is believed, whatever its version.
    async fn with_creator(
        &self,
        merge: &mut Merge<'_>,
        stored: OrganizationAccount,
        told: &ProviderOrganization,
    ) -> Result<OrganizationAccount, StoreError> {
        let (None, Some(creator)) = (&stored.created_by, &told.created_by) else { return Ok(stored) };
        let now = OrganizationAccount { created_by: Some(creator.clone()), ..stored };
        merge.tx.accounts().save_organization(merge.cleared, now.clone()).await?;
        if now.owner() == Some(creator) {
            self.judge_again(merge, now.account, creator, true).await?;
        }
        Ok(now)
    }

    async fn remove(&self, merge: &mut Merge<'_>, event: ProviderEvent) -> Result<(), StoreError> {
        match event {
            ProviderEvent::UserDeleted(id) => self.remove_user(merge, id).await,
            ProviderEvent::OrganizationDeleted(id) => self.remove_organization(merge, id).await,
            ProviderEvent::MembershipDeleted { id, organization, user } => {
                self.remove_membership(merge, &id, organization, user).await
            }
            ProviderEvent::SessionEnded(id) => merge.changed(Change::Session(id.to_string())).await,
            ProviderEvent::User(_) | ProviderEvent::Organization(_) | ProviderEvent::Membership(_) => Ok(()),
        }
    }

    async fn remove_organization(&self, merge: &mut Merge<'_>, id: ProviderOrganizationId) -> Result<(), StoreError> {
        let found = merge.tx.accounts().find_organization(merge.cleared, id).await?;
        let Some(OrganizationAccount { account, .. }) = found else { return Ok(()) };
        for member in merge.tx.accounts().delete_organization(merge.cleared, account).await? {
            self.record(merge, Some(account), AuditAction::MembershipRemoved, Subject::User(member)).await?;
        }
        self.record(merge, Some(account), AuditAction::AccountDeleted, Subject::Account(account)).await?;
        merge.changed(Change::Account(account)).await
    }

    /// Only the stay that is meant: whoever came back meanwhile has another one.
    async fn remove_membership(
        &self,
        merge: &mut Merge<'_>,
        id: &ProviderMembershipId,
        organization: ProviderOrganizationId,
        user: ProviderUserId,
    ) -> Result<(), StoreError> {
        let found = merge.tx.accounts().find_organization(merge.cleared, organization).await?;
        let Some(organization) = found else { return Ok(()) };
        let account = organization.account;
        let Some(user) = merge.tx.users().find(merge.cleared, user).await? else { return Ok(()) };
        let found = merge.tx.accounts().find_membership(merge.cleared, account, user.id).await?;
        let Some(found) = found else {
            // A token may have told of the stay before anybody else did.
            return merge.tx.unconfirmed().removed(merge.cleared, account, user.id, self.clock.now()).await;
        };
        let Some(stays) = found.stays().filter(|stays| stays.contains(id)) else { return Ok(()) };
        if let Some(Stays { copy, rivals }) = stays.without(id) {
            let is_owner = organization.owner() == Some(&user.provider_id);
            let role = self.role_map.member(&copy.content.role, is_owner);
            if found.role == Some(Role::Owner) && role != Some(Role::Owner) {
                warn_of_no_owner(account);
            }
            let action = (role != found.role).then_some(AuditAction::MembershipChanged);
            let now = Membership { account, user: user.id, role, copy: Some(copy), rivals };
            return self.save_membership(merge, now, action).await;
        }
        if found.role == Some(Role::Owner) {
            warn_of_no_owner(account);
        }
        merge.tx.unconfirmed().removed(merge.cleared, account, user.id, self.clock.now()).await?;
        merge.tx.accounts().remove_membership(merge.cleared, account, user.id).await?;
        self.record(merge, Some(account), AuditAction::MembershipRemoved, Subject::User(user.id)).await?;
        merge.changed(Change::User(user.id)).await
    }

    async fn record(
        &self,
        merge: &mut Merge<'_>,
        account: Option<AccountId>,
        action: AuditAction,
        subject: Subject,
    ) -> Result<(), StoreError> {
        if merge.recorded.as_ref().is_some_and(|(recorded, about)| *recorded == action && *about == subject) {
            return Ok(());
        }
        let record = AuditRecord::now((&*self.ids, &*self.clock), merge.caller, account, action, subject);
        merge.tx.audit().record(record).await
    }
}

/// A fact is never refused: whoever operates the program has to name another owner.
fn warn_of_no_owner(account: AccountId) {
    tracing::error!(account = %account, "an account lost its owner; run: portal account set-owner");
}

/// The id that is gone, if the event says so.
fn deleted_id(event: &ProviderEvent) -> Option<String> {
    match event {
        ProviderEvent::UserDeleted(id) => Some(id.to_string()),
        ProviderEvent::OrganizationDeleted(id) => Some(id.to_string()),
        ProviderEvent::MembershipDeleted { id, .. } => Some(id.to_string()),
        ProviderEvent::SessionEnded(id) => Some(id.to_string()),
        ProviderEvent::User(_) | ProviderEvent::Organization(_) | ProviderEvent::Membership(_) => None,
    }
}

/// The person whose role depends on an event without being in it: they must not be deleted meanwhile.
fn creator_of(event: &ProviderEvent) -> Option<String> {
    let (ProviderEvent::Organization(organization)
    | ProviderEvent::Membership(ProviderMembership { organization, .. })) = event
    else {
        return None;
    };
    organization.created_by.as_ref().map(ToString::to_string)
}

/// All ids of an event: nobody else may merge them meanwhile, and nothing is kept about one that is buried.
fn ids_of(event: &ProviderEvent) -> impl Iterator<Item = String> {
    let ids = match event {
        ProviderEvent::User(ProviderUser { id, .. }) | ProviderEvent::UserDeleted(id) => {
            [Some(id.as_str()), None, None]
        }
        ProviderEvent::Organization(ProviderOrganization { id, .. }) | ProviderEvent::OrganizationDeleted(id) => {
            [Some(id.as_str()), None, None]
        }
        ProviderEvent::Membership(ProviderMembership { id, organization, user, .. }) => {
            [Some(id.as_str()), Some(organization.id.as_str()), Some(user.as_str())]
        }
        ProviderEvent::MembershipDeleted { id, organization, user } => {
            [Some(id.as_str()), Some(organization.as_str()), Some(user.as_str())]
        }
        ProviderEvent::SessionEnded(id) => [Some(id.as_str()), None, None],
    };
    ids.into_iter().flatten().map(ToOwned::to_owned)
}
