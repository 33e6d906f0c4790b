//! What members change of their organization: at the provider first, and then here, on the road that every fact takes.
//!
//! Before the provider is asked a record is opened and committed; what the provider answers is merged and the record closed in one
//! transaction. If that fails, or if nobody knows what the provider did, its webhook or the reconciler brings the rest.

mod invitations;
mod members;
mod ownership;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, EffectResult, Subject};
use portal_authz::action::{DeleteAccount, ReadAccount, UpdateAccount};
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Role, Unchecked};
use portal_identity::{
    DirectoryError, OrganizationAdmin, OrganizationAdminError, OrganizationRefusal, ProviderEvent,
    ProviderOrganizationId,
};
use portal_kernel::{AccountId, Change, Clock, IdGen, StoreError, finish};

pub use self::invitations::{EmailAddress, InvalidEmailAddress, Invitation};
use crate::facts::{Facts, Merge};
use crate::ports::{AccountReader, AccountsStore, AccountsTx, Merging};
use crate::{Account, AccountName, Source};

/// Why nothing was changed in an account.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationError {
    /// The account, the member or the invitation is not there.
    #[error("not found")]
    NotFound,
    /// It is a person's own account: it has one member, and ends with them.
    #[error("a personal account has no members to manage")]
    PersonalAccount,
    /// No role key of the provider means this role.
    #[error("no role of the identity provider means this role")]
    RoleNotAvailable,
    /// The member is no administrator at the provider, and so cannot own the account.
    #[error("the member is no administrator at the identity provider")]
    NotAdministrator,
    /// The account has an owner, who alone can give it away.
    #[error("the account has an owner")]
    HasOwner,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The provider says no.
    #[error(transparent)]
    Refused(#[from] OrganizationRefusal),
    /// The provider did not answer: nobody knows whether it happened, and the trail says so.
    #[error("the identity provider could not be asked")]
    Provider(#[from] DirectoryError),
    /// The store failed. If the provider was asked before, it has happened there, and is heard of later.
    #[error("the change could not be stored")]
    Store(#[from] StoreError),
}

impl From<OrganizationAdminError> for OrganizationError {
    fn from(error: OrganizationAdminError) -> Self {
        match error {
            OrganizationAdminError::NotFound => Self::NotFound,
            OrganizationAdminError::Refused(refusal) => refusal.into(),
            OrganizationAdminError::Provider(error) => error.into(),
        }
    }
}

/// The use cases, with what they need.
pub struct Organizations {
    /// Changes organizations at the provider.
    pub admin: Arc<dyn OrganizationAdmin>,
    /// Reads accounts and members.
    pub reader: Arc<dyn AccountReader>,
    /// Where changes are stored.
    pub store: Arc<AccountsStore>,
    /// Stores them.
    pub facts: Arc<Facts>,
}

impl Organizations {
    /// Gives an account another name.
    pub async fn rename(&self, caller: &Caller, id: AccountId, name: AccountName) -> Result<(), OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let cleared: Authorized<UpdateAccount, _> = Unchecked::new(id).authorize(&caller.principal)?;
        if account.name == name.as_str() {
            return Ok(());
        }
        let Ok(organization) = organization(&account) else { return self.rename_here(&cleared, caller, name).await };
        let opened = self.opened(caller, id, AuditAction::AccountUpdated, Subject::Account(id));
        self.open(&opened).await?;
        let renamed = self.admin.rename(organization, name.as_str()).await;
        self.close(caller, opened, renamed, |told| vec![ProviderEvent::Organization(told.clone())]).await.map(drop)
    }

    async fn rename_here(
        &self,
        cleared: &Authorized<UpdateAccount, AccountId>,
        caller: &Caller,
        name: AccountName,
    ) -> Result<(), OrganizationError> {
        let id = **cleared;
        let source = self.source();
        let record = AuditRecord::now(source, caller, Some(id), AuditAction::AccountUpdated, Subject::Account(id));
        let mut tx = self.store.begin().await?;
        let outcome = async {
            tx.accounts().rename(cleared, name).await?;
            tx.audit().record(record).await?;
            tx.changes().changed(Change::Account(id)).await
        };
        let outcome = outcome.await;
        Ok(finish(tx, outcome).await?)
    }

    /// Deletes an organization and closes its account, whose keys count for nothing from then on.
    pub async fn delete(&self, caller: &Caller, id: AccountId) -> Result<(), OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let _: Authorized<DeleteAccount, _> = Unchecked::new(id).authorize(&caller.principal)?;
        let organization = organization(&account)?;
        let opened = self.opened(caller, id, AuditAction::AccountDeleted, Subject::Account(id));
        self.open(&opened).await?;
        let deleted = self.admin.delete(organization).await;
        let gone = |(): &()| vec![ProviderEvent::OrganizationDeleted(organization.clone())];
        self.close(caller, opened, deleted, gone).await
    }

    /// The account, if the caller is in it.
    async fn account(&self, who: &Principal, id: AccountId) -> Result<Account, OrganizationError> {
        let found = self.reader.find(id).await?.ok_or(OrganizationError::NotFound)?;
        let account: Authorized<ReadAccount, _> = found.authorize(who)?;
        Ok(account.into_inner())
    }

    fn source(&self) -> (&dyn IdGen, &dyn Clock) {
        (&*self.facts.ids, &*self.facts.clock)
    }

    fn opened(&self, caller: &Caller, account: AccountId, action: AuditAction, subject: Subject) -> AuditRecord {
        AuditRecord::opened(self.source(), caller, Some(account), action, subject)
    }

    fn role_key(&self, role: Role) -> Result<&str, OrganizationError> {
        self.facts.role_map.key(role).ok_or(OrganizationError::RoleNotAvailable)
    }

    async fn open(&self, opened: &AuditRecord) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = tx.audit().record(opened.clone()).await;
        finish(tx, outcome).await
    }

    /// Merges what follows from the provider's answer, and says how it ended; after no answer nobody does.
    async fn close<T>(
        &self,
        caller: &Caller,
        opened: AuditRecord,
        answer: Result<T, OrganizationAdminError>,
        told: impl FnOnce(&T) -> Vec<ProviderEvent>,
    ) -> Result<T, OrganizationError> {
        let (result, events) = match &answer {
            Ok(done) => (EffectResult::Succeeded, told(done)),
            Err(OrganizationAdminError::Provider(DirectoryError::Unavailable(_) | DirectoryError::Malformed(_))) => {
                return Ok(answer?);
            }
            Err(_) => (EffectResult::Failed, Vec::new()),
        };
        let closed = AuditRecord::closed(self.source(), &opened, result);
        let mut tx = self.store.begin().await?;
        let outcome = self.close_in(&mut *tx, caller, closed, events).await;
        finish(tx, outcome).await?;
        Ok(answer?)
    }

    async fn close_in(
        &self,
        tx: &mut dyn AccountsTx,
        caller: &Caller,
        closed: AuditRecord,
        events: Vec<ProviderEvent>,
    ) -> Result<(), OrganizationError> {
        let cleared = merging()?;
        if !events.is_empty() {
            let mut merge = Merge::new(&mut *tx, &cleared, caller);
            merge.recorded = Some((closed.action, closed.subject.clone()));
            self.facts.apply(&mut merge, events, Source::Read).await?;
        }
        Ok(tx.audit().record(closed).await?)
    }
}

fn organization(account: &Account) -> Result<&ProviderOrganizationId, OrganizationError> {
    account.provider_organization.as_ref().ok_or(OrganizationError::PersonalAccount)
}

fn merging() -> Result<Merging, Denied> {
    Unchecked::new(Platform).authorize(&Principal::System(Job::Organizations))
}
