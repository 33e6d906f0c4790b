//! A store in memory, for tests of what happens over many transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use portal_audit::{AuditLog, AuditRecord};
use portal_authz::action::{ManageWebhooks, Reconcile};
use portal_authz::{Authorized, Platform};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Begin, Change, ChangeLog, Finish, StoreError, Timestamp, UserId};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::ports::{
    AccountRepository, AccountsTx, Merging, ProviderIds, ReconcileReader, ScanCursors, UserRepository, WebhookInbox,
};
use crate::{
    Account, Counterpart, InboxEntry, Membership, OrganizationAccount, Profile, ScanCursor, ScanMove, ScanPosition,
    Stay, StayHere, User, UserState, Versioned,
};

/// Everything that is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) buried: BTreeSet<String>,
    pub(crate) cursor: Option<ScanCursor>,
    /// Messages that came, with the body while they are parked.
    pub(crate) inbox: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) organizations: BTreeMap<String, OrganizationAccount>,
    pub(crate) deleted: BTreeSet<String>,
    pub(crate) memberships: BTreeMap<(String, String), Membership>,
    pub(crate) records: Vec<AuditRecord>,
    pub(crate) changes: Vec<Change>,
}

/// One transaction at a time.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    pub(crate) rows: Arc<Mutex<Rows>>,
}

struct MemoryTx {
    stored: OwnedMutexGuard<Rows>,
    rows: Rows,
}

#[async_trait]
impl Begin<dyn AccountsTx> for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
        let stored = self.rows.clone().lock_owned().await;
        let rows = stored.clone();
        Ok(Box::new(MemoryTx { stored, rows }))
    }
}

#[async_trait]
impl Finish for MemoryTx {
    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        *self.stored = self.rows;
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl AccountsTx for MemoryTx {
    fn provider_ids(&mut self) -> &mut dyn ProviderIds {
        self
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        self
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self
    }

    fn scans(&mut self) -> &mut dyn ScanCursors {
        self
    }

    fn inbox(&mut self) -> &mut dyn WebhookInbox {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

#[async_trait]
impl ProviderIds for MemoryTx {
    async fn lock(&mut self, _: &Merging, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        Ok(ids.into_iter().filter(|id| self.rows.buried.contains(id)).collect())
    }

    async fn bury(&mut self, _: &Merging, id: String, _: Timestamp) -> Result<(), StoreError> {
        self.rows.buried.insert(id);
        Ok(())
    }

    async fn settle(&mut self, _: &Merging, _: String, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl ScanCursors for MemoryTx {
    async fn advance(
        &mut self,
        _: &Authorized<Reconcile, Platform>,
        from: ScanCursor,
        to: ScanMove,
        at: Timestamp,
    ) -> Result<Option<ScanCursor>, StoreError> {
        let now = from.after(to, at);
        let is_ours = self.rows.cursor.is_none_or(|stored| stored.version == from.version);
        self.rows.cursor = self.rows.cursor.filter(|_| !is_ours).or(Some(now));
        Ok(is_ours.then_some(now))
    }
}

#[async_trait]
impl WebhookInbox for MemoryTx {
    async fn take(&mut self, _: &Merging, entry: InboxEntry) -> Result<bool, StoreError> {
        let is_new = !self.rows.inbox.contains_key(&entry.id);
        self.rows.inbox.entry(entry.id).or_default();
        Ok(is_new)
    }

    async fn park(&mut self, _: &Merging, entry: InboxEntry, body: Vec<u8>, _: String) -> Result<bool, StoreError> {
        let is_new = !self.rows.inbox.contains_key(&entry.id);
        self.rows.inbox.entry(entry.id).or_insert(Some(body));
        Ok(is_new)
    }

    async fn unpark(
        &mut self,
        _: &Authorized<ManageWebhooks, Platform>,
        id: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.inbox.get_mut(&id).and_then(Option::take))
    }
}

impl MemoryTx {
    fn user(&mut self, id: UserId) -> Result<&mut User, StoreError> {
        self.rows.users.get_mut(&id.to_string()).ok_or(StoreError::Stale)
    }
}

#[async_trait]
impl UserRepository for MemoryTx {
    async fn find(&mut self, _: &Merging, id: ProviderUserId) -> Result<Option<User>, StoreError> {
        Ok(self.rows.users.values().find(|user| user.provider_id == id).cloned())
    }

    async fn insert(&mut self, cleared: &Merging, user: User) -> Result<bool, StoreError> {
        if self.find(cleared, user.provider_id.clone()).await?.is_some() {
            return Ok(false);
        }
        self.rows.users.insert(user.id.to_string(), user);
        Ok(true)
    }

    async fn claim(&mut self, _: &Merging, user: UserId, _: Timestamp, _: Timestamp) -> Result<bool, StoreError> {
        Ok(self.user(user)?.is_unclear())
    }

    async fn save_profile(&mut self, _: &Merging, user: UserId, copy: Versioned<Profile>) -> Result<(), StoreError> {
        self.user(user)?.copy = Some(copy);
        Ok(())
    }

    async fn delete(&mut self, _: &Merging, user: UserId) -> Result<Vec<AccountId>, StoreError> {
        let row = self.user(user)?;
        (row.state, row.copy) = (UserState::Deleted, None);
        let personal = row.personal_account;
        let left: Vec<_> = self.rows.memberships.values().filter(|member| member.user == user).cloned().collect();
        self.rows.memberships.retain(|_, member| member.user != user || member.account == personal);
        Ok(left.into_iter().map(|member| member.account).filter(|account| *account != personal).collect())
    }
}

#[async_trait]
impl AccountRepository for MemoryTx {
    async fn insert(&mut self, _: &Merging, account: Account) -> Result<(), StoreError> {
        self.rows.accounts.insert(account.id.to_string(), account);
        Ok(())
    }

    async fn find_organization(
        &mut self,
        _: &Merging,
        id: ProviderOrganizationId,
    ) -> Result<Option<OrganizationAccount>, StoreError> {
        let account = self.rows.accounts.values().find(|account| account.provider_organization.as_ref() == Some(&id));
        Ok(account.and_then(|account| self.rows.organizations.get(&account.id.to_string())).cloned())
    }

    async fn save_organization(&mut self, _: &Merging, organization: OrganizationAccount) -> Result<(), StoreError> {
        let id = organization.account.to_string();
        let account = self.rows.accounts.get_mut(&id).ok_or(StoreError::Stale)?;
        if let Some(copy) = &organization.copy {
            account.name.clone_from(&copy.content.name);
        }
        self.rows.organizations.insert(id, organization);
        Ok(())
    }

    async fn delete_organization(&mut self, _: &Merging, account: AccountId) -> Result<Vec<UserId>, StoreError> {
        self.rows.deleted.insert(account.to_string());
        let members = self.rows.memberships.values().filter(|member| member.account == account);
        let members = members.map(|member| member.user).collect();
        self.rows.memberships.retain(|_, member| member.account != account);
        Ok(members)
    }

    async fn find_membership(
        &mut self,
        _: &Merging,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Membership>, StoreError> {
        Ok(self.rows.memberships.get(&(account.to_string(), user.to_string())).cloned())
    }

    async fn find_stay(&mut self, _: &Merging, id: ProviderMembershipId) -> Result<Option<Stay>, StoreError> {
        let rows = &self.rows;
        Ok(rows.memberships.values().find_map(|member| {
            let membership = member.copy.as_ref().map(|copy| copy.content.id.clone()).filter(|known| *known == id)?;
            let organization = rows.accounts.get(&member.account.to_string())?.provider_organization.clone()?;
            Some(Stay { membership, organization, user: rows.users.get(&member.user.to_string())?.provider_id.clone() })
        }))
    }

    async fn save_membership(&mut self, _: &Merging, membership: Membership, _: Timestamp) -> Result<(), StoreError> {
        let key = (membership.account.to_string(), membership.user.to_string());
        self.rows.memberships.insert(key, membership);
        Ok(())
    }

    async fn remove_membership(&mut self, _: &Merging, account: AccountId, user: UserId) -> Result<(), StoreError> {
        self.rows.memberships.remove(&(account.to_string(), user.to_string()));
        Ok(())
    }
}

#[async_trait]
impl AuditLog for MemoryTx {
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        self.rows.records.push(record);
        Ok(())
    }
}

#[async_trait]
impl ChangeLog for MemoryTx {
    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.rows.changes.push(change);
        Ok(())
    }
}

#[async_trait]
impl ReconcileReader for MemoryStore {
    async fn cursor(&self, _: &Authorized<Reconcile, Platform>) -> Result<ScanCursor, StoreError> {
        let long_ago = Timestamp::from_unix_seconds(0).ok_or(StoreError::Stale)?;
        let (position, version, failures, last_complete) = (ScanPosition::Idle, 0, 0, None);
        let never = ScanCursor { position, version, moved_at: long_ago, failures, last_complete };
        Ok(self.rows.lock().await.cursor.unwrap_or(never))
    }

    async fn users(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Vec<Counterpart<UserId, ProviderUserId>>, StoreError> {
        let rows = self.rows.lock().await;
        let listed = rows.users.values().filter(|user| user.state == UserState::Active && Some(user.id) > after);
        let counterpart = |user: &User| Counterpart {
            id: user.id,
            provider_id: user.provider_id.clone(),
            created_at: user.created_at,
        };
        Ok(listed.take(most).map(counterpart).collect())
    }

    async fn organizations(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<AccountId>,
        most: usize,
    ) -> Result<Vec<Counterpart<AccountId, ProviderOrganizationId>>, StoreError> {
        let rows = self.rows.lock().await;
        let listed = rows.accounts.values().filter(|account| Some(account.id) > after);
        let listed = listed.filter(|account| !rows.deleted.contains(&account.id.to_string())).filter_map(|account| {
            let provider_id = account.provider_organization.clone()?;
            Some(Counterpart { id: account.id, provider_id, created_at: account.created_at })
        });
        Ok(listed.take(most).collect())
    }

    async fn memberships(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<(AccountId, UserId)>,
        most: usize,
    ) -> Result<Vec<StayHere>, StoreError> {
        let rows = self.rows.lock().await;
        let listed = rows.memberships.values().filter(|member| Some((member.account, member.user)) > after);
        let listed = listed.filter_map(|member| {
            let stay = Stay {
                membership: member.copy.as_ref()?.content.id.clone(),
                organization: rows.accounts.get(&member.account.to_string())?.provider_organization.clone()?,
                user: rows.users.get(&member.user.to_string())?.provider_id.clone(),
            };
            let created_at = Timestamp::from_unix_seconds(0)?;
            Some(Counterpart { id: (member.account, member.user), provider_id: stay, created_at })
        });
        Ok(listed.take(most).collect())
    }
}
