//! What is read of the store outside its transactions.

use std::sync::Arc;

use async_trait::async_trait;
use portal_authz::action::{BuildPrincipal, ReadMembers, Reconcile, SetOwner, ViewSelf};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_identity::{ProviderOrganizationId, ProviderSessionId, ProviderUserId};
use portal_kernel::{AccountId, Page, PageRequest, StoreError, Timestamp, UserId};

use super::MemoryStore;
use crate::ports::{AccountReader, EndedSessionReader, Merging, ReconcileReader, SignInReader};
use crate::{
    Account, AccountOfUser, Counterpart, Epoch, KnownMembership, KnownUser, Member, Membership, ScanCursor,
    ScanPosition, Standing, Stay, StayHere, UnconfirmedEndCount, User, UserState,
};

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
        let listed = rows.users.values().filter(|user| user.state != UserState::Deleted && Some(user.id) > after);
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

impl MemoryStore {
    async fn one_member(&self, account: AccountId, user: UserId) -> Option<Member> {
        let rows = self.rows.lock().await;
        let held = rows.memberships.get(&(account.to_string(), user.to_string()))?;
        let user = rows.users.get(&user.to_string())?;
        let record = held.copy.as_ref().map(|copy| copy.content.clone());
        Some(Member {
            account,
            organization: rows.accounts.get(&account.to_string())?.provider_organization.clone(),
            user: user.id,
            provider_id: user.provider_id.clone(),
            profile: user.profile().clone(),
            role: held.role,
            provider_role: record.as_ref().map(|record| record.role.clone()),
            membership: record.map(|record| record.id),
            created_at: user.created_at,
        })
    }
}

#[async_trait]
impl AccountReader for MemoryStore {
    async fn find(&self, id: AccountId) -> Result<Option<Unchecked<Account>>, StoreError> {
        let rows = self.rows.lock().await;
        let found = rows.accounts.get(&id.to_string()).filter(|_| !rows.deleted.contains(&id.to_string()));
        Ok(found.cloned().map(Unchecked::new))
    }

    async fn member(&self, account: AccountId, user: UserId) -> Result<Option<Unchecked<Member>>, StoreError> {
        Ok(self.one_member(account, user).await.map(Unchecked::new))
    }

    async fn member_for(
        &self,
        _: &Authorized<SetOwner, Platform>,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        Ok(self.one_member(account, user).await)
    }

    async fn members(
        &self,
        _: &Authorized<ReadMembers, AccountId>,
        _: PageRequest<UserId>,
    ) -> Result<Page<Member, UserId>, StoreError> {
        Err(StoreError::Stale)
    }

    async fn of_user(&self, _: &Authorized<ViewSelf, Platform>, _: UserId) -> Result<Vec<AccountOfUser>, StoreError> {
        Err(StoreError::Stale)
    }
}

#[async_trait]
impl SignInReader for MemoryStore {
    async fn find(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        let rows = self.rows.lock().await;
        let Some(user) = rows.users.values().find(|user| user.provider_id == id).cloned() else { return Ok(None) };
        let members = rows.memberships.values().filter(|member| member.user == user.id);
        let known = |member: &Membership| KnownMembership {
            account: member.account,
            role: member.role,
            provider_role: member.copy.as_ref().map(|copy| copy.content.role.clone()),
            provider_organization: rows.accounts[&member.account.to_string()].provider_organization.clone(),
        };
        let memberships = members.map(known).collect();
        Ok(Some(Arc::new(KnownUser { user, memberships })))
    }

    async fn standing(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        organization: ProviderOrganizationId,
    ) -> Result<Option<Standing>, StoreError> {
        let rows = self.rows.lock().await;
        let of = |account: &&Account| account.provider_organization.as_ref() == Some(&organization);
        let account = rows.accounts.values().find(of).map(|account| account.id);
        let marks = |account: AccountId| rows.unconfirmed.get(&(account.to_string(), user.to_string())).copied();
        Ok(account.map(|account| {
            let (removed_at, trusted_since) = marks(account).unwrap_or_default();
            Standing { account, removed_at, trusted_since }
        }))
    }
}

#[async_trait]
impl EndedSessionReader for MemoryStore {
    async fn ended_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Stale)
    }

    async fn has_ended(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        session: ProviderSessionId,
    ) -> Result<bool, StoreError> {
        Ok(self.rows.lock().await.buried.contains(session.as_str()))
    }

    async fn epochs_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: Timestamp,
    ) -> Result<Vec<Epoch>, StoreError> {
        Err(StoreError::Stale)
    }

    async fn epoch_of(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: ProviderUserId,
    ) -> Result<Option<Timestamp>, StoreError> {
        Err(StoreError::Stale)
    }

    async fn unconfirmed(&self, _: &Merging) -> Result<UnconfirmedEndCount, StoreError> {
        let rows = self.rows.lock().await;
        let first_due = rows.unconfirmed_ends.values().map(|(_, try_at)| *try_at).min();
        Ok(UnconfirmedEndCount { all: rows.unconfirmed_ends.len() as u64, first_due })
    }
}
