//! Whose an account is: ours alone, and one person's at a time.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::{SetOwner, TransferOwnership};
use portal_authz::{Authorized, Platform, Role, Unchecked};
use portal_identity::{ProviderEvent, ProviderUserId};
use portal_kernel::{AccountId, Change, StoreError, UserId, finish};

use super::{OrganizationError, Organizations, merging, organization};
use crate::facts::Merge;
use crate::ports::{AccountsTx, Merging};
use crate::{Member, OrganizationAccount};

impl Organizations {
    /// Gives the account to another member, who becomes an administrator at the provider first; the caller stays one. `by` is the caller,
    /// as the provider knows them.
    pub async fn transfer(
        &self,
        caller: &Caller,
        by: &ProviderUserId,
        id: AccountId,
        to: UserId,
    ) -> Result<Member, OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let _: Authorized<TransferOwnership, _> = Unchecked::new(id).authorize(&caller.principal)?;
        organization(&account)?;
        let heir = self.member(&caller.principal, id, to).await?;
        if heir.role == Some(Role::Owner) {
            return Ok(heir);
        }
        self.promote(caller, &heir).await?;
        self.give(caller, &heir, Some(by)).await?;
        self.member(&caller.principal, id, to).await
    }

    /// Gives an account that lost its owner to a member who is an administrator at the provider.
    pub async fn set_owner(&self, caller: &Caller, id: AccountId, to: UserId) -> Result<(), OrganizationError> {
        let cleared: Authorized<SetOwner, _> = Unchecked::new(Platform).authorize(&caller.principal)?;
        let heir = self.reader.member_for(&cleared, id, to).await?.ok_or(OrganizationError::NotFound)?;
        self.give(caller, &heir, None).await
    }

    /// An owner is an administrator at the provider.
    async fn promote(&self, caller: &Caller, heir: &Member) -> Result<(), OrganizationError> {
        if heir.role >= Some(Role::Admin) {
            return Ok(());
        }
        let organization = heir.organization.as_ref().ok_or(OrganizationError::PersonalAccount)?;
        let key = self.role_key(Role::Admin)?;
        let opened = self.opened(caller, heir.account, AuditAction::MembershipChanged, Subject::User(heir.user));
        self.open(&opened).await?;
        let changed = self.admin.set_role(organization, &heir.provider_id, key).await;
        self.close(caller, opened, changed, |told| vec![ProviderEvent::Membership(told.clone())]).await.map(drop)
    }

    /// From the one who owns it, or from nobody.
    async fn give(
        &self,
        caller: &Caller,
        heir: &Member,
        from: Option<&ProviderUserId>,
    ) -> Result<(), OrganizationError> {
        let cleared = merging()?;
        let mut tx = self.store.begin().await?;
        let outcome = self.give_in(&mut *tx, &cleared, caller, heir, from).await;
        finish(tx, outcome).await
    }

    async fn give_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        caller: &Caller,
        heir: &Member,
        from: Option<&ProviderUserId>,
    ) -> Result<(), OrganizationError> {
        let organization = heir.organization.clone().ok_or(OrganizationError::PersonalAccount)?;
        let people = [Some(&heir.provider_id), from].into_iter().flatten().map(ToString::to_string);
        let mut ids: Vec<String> = people.chain([organization.to_string()]).collect();
        ids.sort_unstable();
        if !tx.provider_ids().lock(cleared, ids).await?.is_empty() {
            return Err(OrganizationError::NotFound);
        }
        let found = tx.accounts().find_organization(cleared, organization).await?;
        let found = found.ok_or(OrganizationError::NotFound)?;
        match from {
            // Somebody was faster, and the account is not the caller's any more.
            Some(from) if found.owner() != Some(from) => return Err(StoreError::Stale.into()),
            None if has_owner(tx, cleared, &found).await? => return Err(OrganizationError::HasOwner),
            Some(_) | None => {}
        }
        let now = OrganizationAccount { given_to: Some(heir.provider_id.clone()), ..found };
        tx.accounts().save_organization(cleared, now).await?;
        let mut merge = Merge::new(&mut *tx, cleared, caller);
        if let Some(from) = from {
            self.facts.judge_again(&mut merge, heir.account, from, false).await?;
        }
        self.facts.judge_again(&mut merge, heir.account, &heir.provider_id, true).await?;
        let held = tx.accounts().find_membership(cleared, heir.account, heir.user).await?;
        if held.and_then(|held| held.role) != Some(Role::Owner) {
            return Err(OrganizationError::NotAdministrator);
        }
        let (action, subject) = (AuditAction::OwnershipTransferred, Subject::User(heir.user));
        tx.audit().record(AuditRecord::now(self.source(), caller, Some(heir.account), action, subject)).await?;
        Ok(tx.changes().changed(Change::Account(heir.account)).await?)
    }
}

async fn has_owner(tx: &mut dyn AccountsTx, cleared: &Merging, of: &OrganizationAccount) -> Result<bool, StoreError> {
    let Some(owner) = of.owner().cloned() else { return Ok(false) };
    let Some(owner) = tx.users().find(cleared, owner).await? else { return Ok(false) };
    let held = tx.accounts().find_membership(cleared, of.account, owner.id).await?;
    Ok(held.is_some_and(|held| held.role == Some(Role::Owner)))
}
