//! What users and accounts need from a store.

use std::sync::Arc;

use async_trait::async_trait;
use portal_audit::AuditLog;
use portal_authz::action::{BuildPrincipal, ViewSelf};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_identity::{ProviderOrganization, ProviderUserId};
use portal_kernel::{AccountId, Begin, ChangeLog, Finish, StoreError, Timestamp, UserId};

use crate::{Account, AccountOfUser, KnownUser, Membership, Profile, User};

/// People, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait UserRepository: Send {
    /// False if the provider id is taken, also by a transaction that committed in between. The personal account must exist. Counts as
    /// asking the provider for the profile: whoever adds a person does that next.
    async fn insert(&mut self, cleared: &Authorized<BuildPrincipal, Platform>, user: User) -> Result<bool, StoreError>;

    /// Takes the right to ask the provider for a missing profile. False if the profile is known, or if somebody asked later than
    /// `asked_before`.
    async fn claim_profile(
        &mut self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Stores what the provider told.
    async fn save_profile(
        &mut self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        profile: Profile,
        read_at: Timestamp,
    ) -> Result<(), StoreError>;
}

/// Accounts and memberships, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AccountRepository: Send {
    /// Adds a personal account, which nobody can know yet.
    async fn insert(
        &mut self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        account: Account,
    ) -> Result<(), StoreError>;

    /// The account of an organization, made with the given id if there is none; true if it was made.
    async fn find_or_insert_organization(
        &mut self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        id: AccountId,
        organization: ProviderOrganization,
        at: Timestamp,
    ) -> Result<(AccountId, bool), StoreError>;

    /// False if the person is a member already; the stored role then stays.
    async fn insert_membership(
        &mut self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        membership: Membership,
        at: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// The repositories of one transaction.
pub trait AccountsTx: Finish {
    /// People.
    fn users(&mut self) -> &mut dyn UserRepository;
    /// Accounts and memberships.
    fn accounts(&mut self) -> &mut dyn AccountRepository;
    /// The trail.
    fn audit(&mut self) -> &mut dyn AuditLog;
    /// What other replicas hear of.
    fn changes(&mut self) -> &mut dyn ChangeLog;
}

/// Where transactions come from.
pub type AccountsStore = dyn Begin<dyn AccountsTx>;

/// Looks up who stands behind a session, outside any transaction. May answer from memory what was so a moment ago.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SignInReader: Send + Sync {
    /// The person with all memberships, or none on the first sign-in.
    async fn find(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError>;
}

/// Reads accounts, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AccountReader: Send + Sync {
    /// Sealed: the caller has not been cleared yet.
    async fn find(&self, id: AccountId) -> Result<Option<Unchecked<Account>>, StoreError>;

    /// All accounts of a person, the personal one first, then by name.
    async fn of_user(
        &self,
        cleared: &Authorized<ViewSelf, Platform>,
        user: UserId,
    ) -> Result<Vec<AccountOfUser>, StoreError>;
}
