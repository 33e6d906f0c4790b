//! What keys and service tokens need from a store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portal_audit::AuditLog;
use portal_authz::action::{
    CreateKey, DisableKey, EndKeysOfDeleted, KeepCanary, LookUpCredential, ManageServiceTokens, ReadKeyFeed, ReadKeys,
    RevokeKey, RotateKey, UpdateKey,
};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_kernel::{
    AccountId, ApiKeyId, Begin, ChangeLog, Finish, IdempotencyLog, Page, PageRequest, ReplicaId, StoreError, Timestamp,
};

use crate::{
    ApiKey, CanaryKey, CanaryLife, FeedHead, FeedPosition, FeedRecord, Heard, KeyChanges, KeyPatch, Kid,
    ListedServiceToken, NewApiKey, NewServiceToken, NewerDigest, PepperVersion, Rotation, ServiceName, ServiceToken,
    StoredKey, StoredServiceToken, Told,
};

/// Keys, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ApiKeyRepository: Send {
    /// Reads without locking: the caller has not been cleared yet.
    async fn find(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError>;

    /// As [`Self::find`], and makes everybody else who wants to change the key wait until this transaction ends. To be called for somebody
    /// who has been cleared, so that nobody else can hold a key up.
    async fn find_to_change(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError>;

    /// How many keys of the account are neither revoked nor over at that moment. Makes everybody else who wants to know this wait until
    /// this transaction ends.
    async fn count_live(&mut self, of: &Authorized<CreateKey, AccountId>, now: Timestamp) -> Result<usize, StoreError>;

    /// Adds key, newest secret and locator. The account is the one that was checked, whatever the key says.
    async fn insert(&mut self, into: &Authorized<CreateKey, AccountId>, key: NewApiKey) -> Result<(), StoreError>;

    /// [`ApiKey::updated`]; `Stale` if somebody else changed it first.
    async fn update(&mut self, key: Authorized<UpdateKey, ApiKey>, patch: KeyPatch) -> Result<ApiKey, StoreError>;

    /// [`ApiKey::disabled`]; `Stale` if somebody else changed it first.
    async fn disable(
        &mut self,
        key: Authorized<DisableKey, ApiKey>,
        since: Option<Timestamp>,
    ) -> Result<ApiKey, StoreError>;

    /// [`ApiKey::rotated`]; `Stale` if somebody else changed it first.
    async fn rotate(&mut self, key: Authorized<RotateKey, ApiKey>, rotation: Rotation) -> Result<ApiKey, StoreError>;

    /// [`ApiKey::revoked`]; `Stale` if somebody else changed it first.
    async fn revoke(&mut self, key: Authorized<RevokeKey, ApiKey>, at: Timestamp) -> Result<ApiKey, StoreError>;

    /// Puts digests in the place of those that were made with the pepper that they replace; others are left as they are, and so are those of
    /// secrets that another transaction holds. Answers the keys of the secrets whose digests moved.
    async fn move_digests(
        &mut self,
        cleared: &Authorized<LookUpCredential, Platform>,
        digests: Vec<NewerDigest>,
    ) -> Result<Vec<ApiKeyId>, StoreError>;

    /// [`ApiKey::revoked`], of up to so many keys that were not revoked, of accounts that were deleted and of the personal accounts of people
    /// who were; of the given accounts alone, where some are given. Keys that another transaction holds are left to it. Answers which
    /// keys those were.
    async fn revoke_of_deleted(
        &mut self,
        cleared: &Authorized<EndKeysOfDeleted, Platform>,
        accounts: Option<Vec<AccountId>>,
        at: Timestamp,
        most: usize,
    ) -> Result<Vec<(AccountId, ApiKeyId)>, StoreError>;
}

/// Service tokens, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ServiceTokenRepository: Send {
    /// False if a token that was not revoked has that name.
    async fn insert(
        &mut self,
        cleared: &Authorized<ManageServiceTokens, Platform>,
        token: NewServiceToken,
    ) -> Result<bool, StoreError>;

    /// [`ServiceToken::rotated`], of the live token of that name; none if there is none.
    async fn rotate(
        &mut self,
        cleared: &Authorized<ManageServiceTokens, Platform>,
        name: ServiceName,
        rotation: Rotation,
    ) -> Result<Option<ServiceToken>, StoreError>;

    /// Ends the token of that name; none if there is none that was not revoked.
    async fn revoke(
        &mut self,
        cleared: &Authorized<ManageServiceTokens, Platform>,
        name: ServiceName,
        at: Timestamp,
    ) -> Result<Option<ServiceToken>, StoreError>;
}

/// The program's own key, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait CanaryRepository: Send {
    /// Lets it live, if it was revoked that long ago; or if whoever let it live before did not revoke it for half a minute longer than that.
    /// None otherwise. Of several at once one does.
    async fn begin(
        &mut self,
        cleared: &Authorized<KeepCanary, Platform>,
        rest: Duration,
    ) -> Result<Option<CanaryLife>, StoreError>;

    /// Revokes it; false if that life is over.
    async fn end(&mut self, cleared: &Authorized<KeepCanary, Platform>, life: CanaryLife) -> Result<bool, StoreError>;
}

/// The repositories of one transaction.
pub trait ApiKeysTx: Finish {
    /// Keys.
    fn keys(&mut self) -> &mut dyn ApiKeyRepository;
    /// Service tokens.
    fn service_tokens(&mut self) -> &mut dyn ServiceTokenRepository;
    /// The program's own key.
    fn canary(&mut self) -> &mut dyn CanaryRepository;
    /// Named requests.
    fn requests(&mut self) -> &mut dyn IdempotencyLog;
    /// The trail.
    fn audit(&mut self) -> &mut dyn AuditLog;
    /// What other replicas hear of.
    fn changes(&mut self) -> &mut dyn ChangeLog;
}

/// Where transactions come from.
pub type ApiKeysStore = dyn Begin<dyn ApiKeysTx>;

/// Reads keys for their owners, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ApiKeyReader: Send + Sync {
    /// Sealed: the caller has not been cleared yet.
    async fn find(&self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError>;

    /// Keys of the account, newest first, revoked ones included.
    async fn page(
        &self,
        of: &Authorized<ReadKeys, AccountId>,
        request: PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey, ApiKeyId>, StoreError>;
}

/// Finds the record behind a presented key, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait CredentialReader: Send + Sync {
    /// The secret with that kid, in whatever state; none if its account is not active.
    async fn key(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError>;

    /// As [`Self::key`] for several kids, in any order and in one statement; those that there are not are left out.
    async fn keys(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError>;
}

/// Finds the record behind a presented service token, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ServiceCredentialReader: Send + Sync {
    /// The service token whose newest secret has that kid, or the one before, in whatever state.
    async fn service_token(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredServiceToken>>, StoreError>;
}

/// Reads the program's own key, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait CanaryReader: Send + Sync {
    /// There always is one.
    async fn canary(&self, cleared: &Authorized<LookUpCredential, Platform>) -> Result<CanaryKey, StoreError>;
}

/// Tells what the digests were made with, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait PepperReader: Send + Sync {
    /// How many secrets, of keys and of service tokens, count at that moment and were made with which pepper, the oldest first. Whether an
    /// account is active does not matter: it may be again.
    async fn peppers_in_use(
        &self,
        cleared: &Authorized<ManageServiceTokens, Platform>,
        now: Timestamp,
    ) -> Result<Vec<(PepperVersion, usize)>, StoreError>;
}

/// Reads the keys that gateways hold, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait KeyFeedReader: Send + Sync {
    /// Where the feed stands. What is read later lacks nothing that was committed before.
    async fn head(&self, cleared: &Authorized<ReadKeyFeed, Platform>) -> Result<FeedHead, StoreError>;

    /// Secrets that have not ended, of keys that have not ended and accounts that were not deleted, in the order of their kids; at most so
    /// many, from behind that kid on.
    async fn live(
        &self,
        cleared: &Authorized<ReadKeyFeed, Platform>,
        after: Option<Kid>,
        most: usize,
    ) -> Result<Vec<FeedRecord>, StoreError>;

    /// What was committed since that position, however long ago it began; waits for something at most so long. None if not everything of
    /// it is kept any more, or if it is a position of another store.
    async fn changes(
        &self,
        cleared: &Authorized<ReadKeyFeed, Platform>,
        since: FeedPosition,
        wait: Duration,
    ) -> Result<Option<KeyChanges>, StoreError>;
}

/// Remembers when credentials were last used, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ActivityLog<I: Send + Sync + 'static>: Send + Sync {
    /// Each credential once, in the order of their ids. Only ever moves a moment on.
    async fn used(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        uses: &[(I, Timestamp)],
    ) -> Result<(), StoreError>;
}

/// Where replicas tell each other which limits are in demand, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait DemandBoard: Send + Sync {
    /// Writes what the replica tells, each limit once and in their order, in place of all that it told before, and answers what the live
    /// others told, as it was before this was written. A round that comes after a later one of the same replica writes nothing.
    async fn exchange(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        replica: ReplicaId,
        round: i64,
        told: &[Told],
    ) -> Result<Heard, StoreError>;

    /// Forgets the replica and what it told.
    async fn leave(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        replica: ReplicaId,
    ) -> Result<(), StoreError>;
}

/// Reads service tokens for operators, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ServiceTokenReader: Send + Sync {
    /// All of them, by name, then newest first.
    async fn all(
        &self,
        cleared: &Authorized<ManageServiceTokens, Platform>,
    ) -> Result<Vec<ListedServiceToken>, StoreError>;
}
