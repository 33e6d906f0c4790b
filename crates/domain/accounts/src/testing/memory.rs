//! A store in memory, for tests of what happens over many transactions.

mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use portal_audit::{AuditLog, AuditRecord};
use portal_authz::action::{EndAllSessions, ManageWebhooks, Reconcile, UpdateAccount, UpdateSelf};
use portal_authz::{Authorized, Platform, Role};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderSessionId, ProviderUserId};
use portal_kernel::{AccountId, Begin, Change, ChangeLog, Clock, Finish, StoreError, Timestamp, UserId};
use portal_testkit::FixedClock;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::ports::{
    AccountRepository, AccountsTx, Merging, ProviderIds, ScanCursors, SessionEpochs, SessionSightings, UnconfirmedEnds,
    UnconfirmedMembers, UserRepository, WebhookInbox,
};
use crate::{
    Account, AccountName, InboxEntry, Membership, OrganizationAccount, PersonalSettings, Profile, ScanCursor, ScanMove,
    Stay, UnconfirmedEnd, User, UserState, Versioned,
};

/// Everything that is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) buried: BTreeSet<String>,
    /// By the provider's id of the session, with the time at which the provider may be asked next.
    pub(crate) unconfirmed_ends: BTreeMap<String, (UnconfirmedEnd, Timestamp)>,
    /// By the provider's id of the person; everybody's by none.
    pub(crate) epochs: BTreeMap<Option<String>, Timestamp>,
    pub(crate) cursor: Option<ScanCursor>,
    /// Messages that came, with the body while they are parked.
    pub(crate) inbox: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) organizations: BTreeMap<String, OrganizationAccount>,
    pub(crate) deleted: BTreeSet<String>,
    pub(crate) memberships: BTreeMap<(String, String), Membership>,
    /// When the last removal was heard of, and since when tokens are believed.
    pub(crate) unconfirmed: BTreeMap<(String, String), (Option<Timestamp>, Option<Timestamp>)>,
    pub(crate) seen: BTreeSet<String>,
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

    fn epochs(&mut self) -> &mut dyn SessionEpochs {
        self
    }

    fn unconfirmed_ends(&mut self) -> &mut dyn UnconfirmedEnds {
        self
    }

    fn sightings(&mut self) -> &mut dyn SessionSightings {
        self
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        self
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self
    }

    fn unconfirmed(&mut self) -> &mut dyn UnconfirmedMembers {
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

    async fn settle(&mut self, _: &Merging, id: String, _: Timestamp) -> Result<(), StoreError> {
        self.rows.unconfirmed_ends.remove(&id);
        Ok(())
    }

    async fn forget_sessions(&mut self, _: &Merging, _: Timestamp, _: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl UnconfirmedEnds for MemoryTx {
    async fn add(&mut self, _: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError> {
        self.rows.unconfirmed_ends.entry(end.session.to_string()).or_insert((end, try_at));
        Ok(())
    }

    async fn claim(&mut self, _: &Merging, now: Timestamp) -> Result<Option<UnconfirmedEnd>, StoreError> {
        let due = self.rows.unconfirmed_ends.values().filter(|(_, try_at)| *try_at <= now);
        Ok(due.min_by_key(|(_, try_at)| *try_at).map(|(end, _)| end.clone()))
    }

    async fn put_off(&mut self, _: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError> {
        if let Some(row) = self.rows.unconfirmed_ends.get_mut(end.session.as_str()) {
            *row = (end, try_at);
        }
        Ok(())
    }

    async fn put_off_all(&mut self, _: &Merging, until: Timestamp) -> Result<(), StoreError> {
        for (_, try_at) in self.rows.unconfirmed_ends.values_mut() {
            *try_at = until.max(*try_at);
        }
        Ok(())
    }
}

#[async_trait]
impl SessionEpochs for MemoryTx {
    async fn now(&mut self) -> Result<Timestamp, StoreError> {
        Ok(FixedClock::default().now())
    }

    async fn advance(&mut self, _: &Merging, person: ProviderUserId, before: Timestamp) -> Result<(), StoreError> {
        let epoch = self.rows.epochs.entry(Some(person.to_string())).or_insert(before);
        *epoch = before.max(*epoch);
        Ok(())
    }

    async fn advance_all(
        &mut self,
        _: &Authorized<EndAllSessions, Platform>,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let epoch = self.rows.epochs.entry(None).or_insert(before);
        *epoch = before.max(*epoch);
        Ok(())
    }
}

#[async_trait]
impl SessionSightings for MemoryTx {
    async fn see(&mut self, _: &Merging, session: ProviderSessionId, _: Timestamp) -> Result<bool, StoreError> {
        Ok(self.rows.seen.insert(session.to_string()))
    }

    async fn forget(&mut self, _: &Merging, _: Timestamp, _: usize) -> Result<usize, StoreError> {
        Ok(0)
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
    async fn take(&mut self, _: &Merging, entries: Vec<InboxEntry>) -> Result<Vec<bool>, StoreError> {
        let take = |entry: InboxEntry| {
            let is_new = !self.rows.inbox.contains_key(&entry.id);
            self.rows.inbox.entry(entry.id).or_default();
            is_new
        };
        Ok(entries.into_iter().map(take).collect())
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

    async fn find_all(&mut self, _: &Merging, ids: Vec<ProviderUserId>) -> Result<Vec<User>, StoreError> {
        Ok(self.rows.users.values().filter(|user| ids.contains(&user.provider_id)).cloned().collect())
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

    async fn claim_memberships(
        &mut self,
        _: &Merging,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError> {
        let asked_at = &mut self.user(user)?.memberships_asked_at;
        let rested = asked_at.is_none_or(|asked| asked <= asked_before);
        *asked_at = if rested { Some(now) } else { *asked_at };
        Ok(rested)
    }

    async fn save_profiles(
        &mut self,
        _: &Merging,
        profiles: Vec<(User, Versioned<Profile>)>,
    ) -> Result<(), StoreError> {
        for (user, copy) in profiles {
            let row = self.user(user.id)?;
            (row.state, row.copy) = (copy.content.state(), Some(copy));
        }
        Ok(())
    }

    async fn lock_settings(
        &mut self,
        _: &Authorized<UpdateSelf, Platform>,
        user: UserId,
    ) -> Result<Option<PersonalSettings>, StoreError> {
        Ok(self.rows.users.get(&user.to_string()).map(|user| user.settings.clone()))
    }

    async fn save_settings(
        &mut self,
        _: &Authorized<UpdateSelf, Platform>,
        user: UserId,
        settings: PersonalSettings,
    ) -> Result<bool, StoreError> {
        let others = self.rows.users.values().filter(|other| other.id != user);
        let is_taken = |other: &User| settings.username.is_some() && other.settings.username == settings.username;
        if others.into_iter().any(is_taken) {
            return Ok(false);
        }
        self.user(user)?.settings = settings;
        Ok(true)
    }

    async fn delete(&mut self, _: &Merging, user: UserId) -> Result<Vec<(AccountId, Option<Role>)>, StoreError> {
        let row = self.user(user)?;
        (row.state, row.copy, row.settings) = (UserState::Deleted, None, PersonalSettings::default());
        let personal = row.personal_account;
        let left: Vec<_> = self.rows.memberships.values().filter(|member| member.user == user).cloned().collect();
        self.rows.memberships.retain(|_, member| member.user != user || member.account == personal);
        let left = left.into_iter().filter(|member| member.account != personal);
        Ok(left.map(|member| (member.account, member.role)).collect())
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

    async fn rename(&mut self, of: &Authorized<UpdateAccount, AccountId>, name: AccountName) -> Result<(), StoreError> {
        let account = self.rows.accounts.get_mut(&of.to_string()).ok_or(StoreError::Stale)?;
        name.as_str().clone_into(&mut account.name);
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
            let membership = member.stays().filter(|stays| stays.contains(&id)).map(|_| id.clone())?;
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

impl MemoryTx {
    fn standing(&mut self, account: AccountId, user: UserId) -> &mut (Option<Timestamp>, Option<Timestamp>) {
        self.rows.unconfirmed.entry((account.to_string(), user.to_string())).or_default()
    }
}

#[async_trait]
impl UnconfirmedMembers for MemoryTx {
    async fn removed(&mut self, _: &Merging, on: AccountId, user: UserId, at: Timestamp) -> Result<(), StoreError> {
        *self.standing(on, user) = (Some(at), None);
        Ok(())
    }

    async fn denied(&mut self, _: &Merging, on: AccountId, user: UserId, at: Timestamp) -> Result<(), StoreError> {
        let (removed, trusted) = self.standing(on, user);
        *removed = Some(at);
        trusted.get_or_insert(at);
        Ok(())
    }

    async fn trust(
        &mut self,
        _: &Merging,
        on: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        Ok(*self.standing(on, user).1.get_or_insert(at))
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
