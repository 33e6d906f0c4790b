//! What users and accounts need from a store.

use std::sync::Arc;

use async_trait::async_trait;
use portal_audit::AuditLog;
use portal_authz::action::{
    BuildPrincipal, EndAllSessions, ManageWebhooks, MergeFacts, ReadMembers, Reconcile, SetOwner, UpdateAccount,
    UpdateSelf, ViewSelf,
};
use portal_authz::{Authorized, Platform, Role, Unchecked};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderSessionId, ProviderUserId};
use portal_kernel::{AccountId, Begin, ChangeLog, Finish, Page, PageRequest, StoreError, Timestamp, UserId};

use crate::{
    Account, AccountName, AccountOfUser, Counterpart, Epoch, InboxEntry, KnownUser, Member, Membership,
    OrganizationAccount, ParkedWebhook, PersonalSettings, Profile, ScanCursor, ScanMove, Standing, Stay, StayHere,
    UnconfirmedEnd, UnconfirmedEndCount, User, Versioned,
};

/// The right to write what the provider told.
pub type Merging = Authorized<MergeFacts, Platform>;

/// Ids that the provider gave, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ProviderIds: Send {
    /// Until the transaction ends nobody else merges facts about these ids. Answers which of them are buried. To be called once and
    /// first in a transaction, or two transactions could wait for each other.
    async fn lock(&mut self, cleared: &Merging, ids: Vec<String>) -> Result<Vec<String>, StoreError>;

    /// Remembers for good that the id was deleted. Repeating it changes nothing.
    async fn bury(&mut self, cleared: &Merging, id: String, at: Timestamp) -> Result<(), StoreError>;

    /// Says when a buried id was deleted, once it is known; the earliest moment that was said stays. If it is a session's, its end is
    /// confirmed.
    async fn settle(&mut self, cleared: &Merging, id: String, at: Timestamp) -> Result<(), StoreError>;

    /// Forgets sessions that ended before, the oldest first, so many at most, and answers how many those were. Nothing else that is
    /// buried is ever forgotten.
    async fn forget_sessions(&mut self, cleared: &Merging, before: Timestamp, most: usize)
    -> Result<usize, StoreError>;
}

/// People, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait UserRepository: Send {
    /// The person.
    async fn find(&mut self, cleared: &Merging, id: ProviderUserId) -> Result<Option<User>, StoreError>;

    /// Those of them who are here, in no order.
    async fn find_all(&mut self, cleared: &Merging, ids: Vec<ProviderUserId>) -> Result<Vec<User>, StoreError>;

    /// False if the provider id is taken, also by a transaction that committed in between. The personal account must exist.
    async fn insert(&mut self, cleared: &Merging, user: User) -> Result<bool, StoreError>;

    /// Takes the right to ask the provider about a person who is unclear. False if the person is not, or if somebody asked later than
    /// `asked_before`.
    async fn claim(
        &mut self,
        cleared: &Merging,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Takes the right to ask the provider where a person is a member, whose token contradicts what is stored. False if there is no such
    /// person, or if somebody took it later than `asked_before`.
    async fn claim_memberships(
        &mut self,
        cleared: &Merging,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Stores what the provider told of each, with the state that follows from it for the person and the personal account. The people are
    /// as they were found in this transaction, and nobody is named twice. `Stale` if one of them is not there or was deleted.
    async fn save_profiles(
        &mut self,
        cleared: &Merging,
        profiles: Vec<(User, Versioned<Profile>)>,
    ) -> Result<(), StoreError>;

    /// Erases the profile and the settings, pauses the personal account, ends all memberships in organizations, and answers in which
    /// accounts they were, with the role.
    async fn delete(&mut self, cleared: &Merging, user: UserId) -> Result<Vec<(AccountId, Option<Role>)>, StoreError>;

    /// The person's own settings, which nobody else changes until the transaction ends; none of a person who is not there.
    async fn lock_settings(
        &mut self,
        cleared: &Authorized<UpdateSelf, Platform>,
        user: UserId,
    ) -> Result<Option<PersonalSettings>, StoreError>;

    /// Stores them. False if another person has the username; then the transaction is over.
    async fn save_settings(
        &mut self,
        cleared: &Authorized<UpdateSelf, Platform>,
        user: UserId,
        settings: PersonalSettings,
    ) -> Result<bool, StoreError>;
}

/// Accounts and memberships, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AccountRepository: Send {
    /// Adds an account, which nobody can know yet.
    async fn insert(&mut self, cleared: &Merging, account: Account) -> Result<(), StoreError>;

    /// The account of an organization.
    async fn find_organization(
        &mut self,
        cleared: &Merging,
        id: ProviderOrganizationId,
    ) -> Result<Option<OrganizationAccount>, StoreError>;

    /// Stores what the provider told.
    async fn save_organization(
        &mut self,
        cleared: &Merging,
        organization: OrganizationAccount,
    ) -> Result<(), StoreError>;

    /// Gives an account a name that no provider knows of.
    async fn rename(&mut self, of: &Authorized<UpdateAccount, AccountId>, name: AccountName) -> Result<(), StoreError>;

    /// Closes the account, ends all memberships, and answers whose they were.
    async fn delete_organization(&mut self, cleared: &Merging, account: AccountId) -> Result<Vec<UserId>, StoreError>;

    /// The membership.
    async fn find_membership(
        &mut self,
        cleared: &Merging,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Membership>, StoreError>;

    /// The membership with the provider's id.
    async fn find_stay(&mut self, cleared: &Merging, id: ProviderMembershipId) -> Result<Option<Stay>, StoreError>;

    /// Adds or replaces a membership; the account and the person must exist.
    async fn save_membership(
        &mut self,
        cleared: &Merging,
        membership: Membership,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Ends a membership. Nothing happens without one.
    async fn remove_membership(
        &mut self,
        cleared: &Merging,
        account: AccountId,
        user: UserId,
    ) -> Result<(), StoreError>;
}

/// People in accounts where they are no members, inside a transaction. The account and the person must exist.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait UnconfirmedMembers: Send {
    /// Notes that a removal was heard of. Later tokens are believed anew, for as long as the first ones were.
    async fn removed(
        &mut self,
        cleared: &Merging,
        account: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Notes that the provider, when it was asked, knew no membership. The time for which tokens are believed goes on, and begins now if
    /// it had not begun.
    async fn denied(
        &mut self,
        cleared: &Merging,
        account: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Begins to believe tokens, unless that had begun, and answers since when they are.
    async fn trust(
        &mut self,
        cleared: &Merging,
        account: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<Timestamp, StoreError>;
}

/// Messages of the provider's webhooks, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait WebhookInbox: Send {
    /// Notes that the messages take effect in this transaction, and answers whether each does: not one that was taken or parked before,
    /// also earlier in the list. Waits for another transaction that is about to say so. To be called once, and before anything is locked,
    /// or two transactions could wait for each other.
    async fn take(&mut self, cleared: &Merging, entries: Vec<InboxEntry>) -> Result<Vec<bool>, StoreError>;

    /// Puts the message aside. False if it was taken or parked before.
    async fn park(
        &mut self,
        cleared: &Merging,
        entry: InboxEntry,
        body: Vec<u8>,
        reason: String,
    ) -> Result<bool, StoreError>;

    /// The body of a parked message, which is taken from now on; none if no message of this id is parked.
    async fn unpark(
        &mut self,
        cleared: &Authorized<ManageWebhooks, Platform>,
        id: String,
    ) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Moments before which session tokens count no more, inside a transaction. None ever moves back, so they are told by the clock of the
/// store, which is the same for all replicas and operators.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SessionEpochs: Send {
    /// The current moment by the clock of the store.
    async fn now(&mut self) -> Result<Timestamp, StoreError>;

    /// For the tokens of one person.
    async fn advance(&mut self, cleared: &Merging, person: ProviderUserId, before: Timestamp)
    -> Result<(), StoreError>;

    /// For everybody's.
    async fn advance_all(
        &mut self,
        cleared: &Authorized<EndAllSessions, Platform>,
        before: Timestamp,
    ) -> Result<(), StoreError>;
}

/// Ends of sessions that the provider did not confirm, inside a transaction. [`ProviderIds::settle`] takes them out.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait UnconfirmedEnds: Send {
    /// Adds one, unless it is there. The account must exist.
    async fn add(&mut self, cleared: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError>;

    /// The one that is due for the longest, for nobody else until the transaction ends; nobody waits for it. None if none is due, or
    /// others have all that are.
    async fn claim(&mut self, cleared: &Merging, now: Timestamp) -> Result<Option<UnconfirmedEnd>, StoreError>;

    /// Says how often the provider was asked, and when it may be asked next. Nothing happens if the end was confirmed.
    async fn put_off(&mut self, cleared: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError>;

    /// Makes none due before that moment, except those that others have.
    async fn put_off_all(&mut self, cleared: &Merging, try_at: Timestamp) -> Result<(), StoreError>;
}

/// Which sessions signed in before, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SessionSightings: Send {
    /// False if the session was seen before; waits for another transaction that is about to say so.
    async fn see(&mut self, cleared: &Merging, session: ProviderSessionId, at: Timestamp) -> Result<bool, StoreError>;

    /// Forgets those that were seen first before, the oldest first, so many at most, and answers how many those were.
    async fn forget(&mut self, cleared: &Merging, before: Timestamp, most: usize) -> Result<usize, StoreError>;
}

/// How far scans of the provider got, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ScanCursors: Send {
    /// Moves the cursor, and answers where it is now. None if somebody else moved it since it was read.
    async fn advance(
        &mut self,
        cleared: &Authorized<Reconcile, Platform>,
        from: ScanCursor,
        to: ScanMove,
        at: Timestamp,
    ) -> Result<Option<ScanCursor>, StoreError>;
}

/// The repositories of one transaction.
pub trait AccountsTx: Finish {
    /// Ids that the provider gave.
    fn provider_ids(&mut self) -> &mut dyn ProviderIds;
    /// Moments before which session tokens count no more.
    fn epochs(&mut self) -> &mut dyn SessionEpochs;
    /// Ends of sessions that the provider did not confirm.
    fn unconfirmed_ends(&mut self) -> &mut dyn UnconfirmedEnds;
    /// Which sessions signed in before.
    fn sightings(&mut self) -> &mut dyn SessionSightings;
    /// People.
    fn users(&mut self) -> &mut dyn UserRepository;
    /// Accounts and memberships.
    fn accounts(&mut self) -> &mut dyn AccountRepository;
    /// People in accounts where they are no members.
    fn unconfirmed(&mut self) -> &mut dyn UnconfirmedMembers;
    /// How far scans of the provider got.
    fn scans(&mut self) -> &mut dyn ScanCursors;
    /// Messages of the provider's webhooks.
    fn inbox(&mut self) -> &mut dyn WebhookInbox;
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
    /// The person with all memberships, or none if they never were here. One who was deleted is found.
    async fn find(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError>;

    /// What is known of a person in the account of an organization where they are no member. None if the organization has no account
    /// here. Never from memory.
    async fn standing(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        organization: ProviderOrganizationId,
    ) -> Result<Option<Standing>, StoreError>;
}

/// Reads which sessions and tokens ended, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait EndedSessionReader: Send + Sync {
    /// The provider's ids of all sessions that ended at that moment or later.
    async fn ended_since(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        since: Timestamp,
    ) -> Result<Vec<String>, StoreError>;

    /// Whether this one ended.
    async fn has_ended(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        session: ProviderSessionId,
    ) -> Result<bool, StoreError>;

    /// The epochs of that moment or later.
    async fn epochs_since(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        since: Timestamp,
    ) -> Result<Vec<Epoch>, StoreError>;

    /// The later one of this person's epoch and that of everybody.
    async fn epoch_of(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        person: ProviderUserId,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// How many ends the provider did not confirm, and when the first of them is due.
    async fn unconfirmed(&self, cleared: &Merging) -> Result<UnconfirmedEndCount, StoreError>;
}

/// Reads accounts, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AccountReader: Send + Sync {
    /// Sealed: the caller has not been cleared yet. An account that was deleted is none.
    async fn find(&self, id: AccountId) -> Result<Option<Unchecked<Account>>, StoreError>;

    /// Sealed, as [`AccountReader::find`].
    async fn member(&self, account: AccountId, user: UserId) -> Result<Option<Unchecked<Member>>, StoreError>;

    /// As [`AccountReader::member`], for whoever names owners.
    async fn member_for(
        &self,
        cleared: &Authorized<SetOwner, Platform>,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError>;

    /// Members of an account, whoever appeared here last first.
    async fn members(
        &self,
        of: &Authorized<ReadMembers, AccountId>,
        request: PageRequest<UserId>,
    ) -> Result<Page<Member, UserId>, StoreError>;

    /// All accounts of a person, the personal one first, then by name.
    async fn of_user(
        &self,
        cleared: &Authorized<ViewSelf, Platform>,
        user: UserId,
    ) -> Result<Vec<AccountOfUser>, StoreError>;
}

/// Reads what was put aside, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ParkedWebhooks: Send + Sync {
    /// All of it, the oldest first, 1,000 at most.
    async fn all(&self, cleared: &Authorized<ManageWebhooks, Platform>) -> Result<Vec<ParkedWebhook>, StoreError>;

    /// When the youngest message came, parked or not; none before the first.
    async fn last_received(&self, cleared: &Merging) -> Result<Option<Timestamp>, StoreError>;
}

/// Reads what a scan compares with, outside any transaction. Each list is in the order of our ids, and begins after the given one.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ReconcileReader: Send + Sync {
    /// How far the last scan got.
    async fn cursor(&self, cleared: &Authorized<Reconcile, Platform>) -> Result<ScanCursor, StoreError>;

    /// People who were not deleted.
    async fn users(
        &self,
        cleared: &Authorized<Reconcile, Platform>,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Vec<Counterpart<UserId, ProviderUserId>>, StoreError>;

    /// Organizations that were not deleted.
    async fn organizations(
        &self,
        cleared: &Authorized<Reconcile, Platform>,
        after: Option<AccountId>,
        most: usize,
    ) -> Result<Vec<Counterpart<AccountId, ProviderOrganizationId>>, StoreError>;

    /// Memberships that the provider told of.
    async fn memberships(
        &self,
        cleared: &Authorized<Reconcile, Platform>,
        after: Option<(AccountId, UserId)>,
        most: usize,
    ) -> Result<Vec<StayHere>, StoreError>;
}
