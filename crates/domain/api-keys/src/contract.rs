//! What every store of keys promises, as code: an adapter's tests call each function with an empty store of their own.
//!
//! Uses nothing but the ports. A function panics where the store breaks the promise that is the function's name.
#![expect(clippy::missing_panics_doc, reason = "panicking is how a contract says that it was broken")]

pub mod canary;
pub mod changes;
pub mod ends;
pub mod feed;
pub mod key_uses;
pub mod keys;
pub mod pages;
pub mod peppers;
pub mod rates;
pub mod requests;
pub mod service_tokens;
pub mod trail;

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use portal_accounts::contract::provision;
use portal_accounts::{AccountsStore, User};
use portal_authz::action::{
    CreateKey, EndKeysOfDeleted, KeepCanary, LookUpCredential, ManageServiceTokens, ReadKeyFeed, ReadKeys,
};
use portal_authz::{
    Action, Authorized, Job, Platform, Principal, Role, Roles, Scope, ServicePrincipal, Unchecked, UserPrincipal,
};
use portal_kernel::{AccountId, ApiKeyId, Id, ServiceTokenId, StoreError, Timestamp};

use crate::{
    ActivityLog, ApiKey, ApiKeyReader, ApiKeysStore, ApiKeysTx, CanaryReader, CredentialReader, DemandBoard, Digest,
    KeyEnvironment, KeyFeedReader, KeyName, KeyPolicy, KeyScopes, KeySecret, KeySecrets, Kid, ModelAllowList, Networks,
    NewApiKey, NewSecret, PepperReader, PepperVersion, RateLimit, RateLimits, ServiceCredentialReader,
    ServiceTokenReader,
};

/// The store under test, behind all of its ports.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Makes the owners of keys.
    pub accounts: &'a AccountsStore,
    /// Writes.
    pub store: &'a ApiKeysStore,
    /// Reads keys for their owners.
    pub keys: &'a dyn ApiKeyReader,
    /// Finds presented keys.
    pub credentials: &'a dyn CredentialReader,
    /// Reads keys for gateways that hold them.
    pub feed: &'a dyn KeyFeedReader,
    /// Finds presented service tokens.
    pub service_credentials: &'a dyn ServiceCredentialReader,
    /// Tells what digests were made with.
    pub peppers: &'a dyn PepperReader,
    /// Reads the program's own key.
    pub canary: &'a dyn CanaryReader,
    /// Reads service tokens for operators.
    pub service_tokens: &'a dyn ServiceTokenReader,
    /// Remembers when service tokens were used.
    pub service_activity: &'a dyn ActivityLog<ServiceTokenId>,
    /// Remembers when keys were used.
    pub key_activity: &'a dyn ActivityLog<(AccountId, ApiKeyId)>,
    /// Where replicas tell each other which limits are in demand.
    pub demands: &'a dyn DemandBoard,
}

impl Ports<'_> {
    async fn begin(self) -> Box<dyn ApiKeysTx> {
        self.store.begin().await.expect("a transaction begins")
    }

    async fn owner(self, number: u32) -> Owner {
        Owner(provision(self.accounts, number).await)
    }

    async fn insert(self, owner: &Owner, key: &ApiKey) {
        let mut tx = self.begin().await;
        tx.keys().insert(&owner.may_create(), new(key)).await.expect("a key is added");
        tx.commit().await.expect("a commit");
    }

    async fn revoke(self, owner: &Owner, key: &ApiKey, at: Timestamp) -> Result<ApiKey, StoreError> {
        let mut tx = self.begin().await;
        let revoked = tx.keys().revoke(owner.may(key), at).await;
        if revoked.is_ok() {
            tx.commit().await.expect("a commit");
        }
        revoked
    }

    async fn find(self, owner: &Owner, id: ApiKeyId) -> Option<ApiKey> {
        let found = self.keys.find(id).await.expect("a key is looked up");
        found.map(|key| key.authorize::<ReadKeys>(&owner.principal()).expect("an owner reads the keys").into_inner())
    }
}

/// Somebody with a personal account, who may do everything in it.
pub struct Owner(pub User);

impl Owner {
    /// The personal account.
    pub fn account(&self) -> AccountId {
        self.0.personal_account
    }

    /// The person, signed in.
    pub fn principal(&self) -> Principal {
        let roles = Roles::from_iter([(self.account(), Role::Owner)]);
        Principal::User(UserPrincipal::new(self.0.id, roles))
    }

    /// Proof for the account.
    pub fn may_create(&self) -> Authorized<CreateKey, AccountId> {
        Unchecked::new(self.account()).authorize(&self.principal()).expect("an owner may make keys")
    }

    /// Proof for the account.
    pub fn may_read(&self) -> Authorized<ReadKeys, AccountId> {
        Unchecked::new(self.account()).authorize(&self.principal()).expect("an owner may read keys")
    }

    /// Proof for a key of the account.
    pub fn may<A: Action>(&self, key: &ApiKey) -> Authorized<A, ApiKey> {
        Unchecked::new(key.clone()).authorize(&self.principal()).expect("an owner may do anything with keys")
    }

    /// A key of the account; greater numbers are newer.
    pub fn key(&self, number: u32) -> ApiKey {
        ApiKey {
            id: id(number),
            account: self.account(),
            name: KeyName::parse(&format!("it's key \"{number}\"; --")).expect("a name"),
            environment: if number.is_multiple_of(2) { KeyEnvironment::Test } else { KeyEnvironment::Live },
            policy: KeyPolicy::default(),
            secrets: KeySecrets::first(KeySecret {
                kid: kid(number),
                created_at: at(u64::from(number)),
                expires_at: None,
                revoked_at: None,
            }),
            made_by: self.0.id,
            created_at: at(u64::from(number)),
            expires_at: None,
            disabled_at: None,
            revoked_at: None,
            last_used_at: None,
            revision: 1,
        }
    }
}

/// What a verifier is cleared for.
pub fn look_up() -> Authorized<LookUpCredential, Platform> {
    let who = Principal::System(Job::VerifyKey);
    Unchecked::new(Platform).authorize(&who).expect("a verifier may look credentials up")
}

/// What a gateway that holds the keys is cleared for.
pub fn may_follow() -> Authorized<ReadKeyFeed, Platform> {
    let scopes = [Scope::KeysFeed].into_iter().collect();
    let who = Principal::Service(ServicePrincipal { token: None, name: "gateway".to_owned(), scopes });
    Unchecked::new(Platform).authorize(&who).expect("a gateway may read the keys")
}

/// What an operator is cleared for.
pub fn operator() -> Authorized<ManageServiceTokens, Platform> {
    let who = Principal::System(Job::Operator);
    Unchecked::new(Platform).authorize(&who).expect("an operator may manage service tokens")
}

/// What the job is cleared for that ends keys.
pub fn ending() -> Authorized<EndKeysOfDeleted, Platform> {
    let who = Principal::System(Job::KeyEnds);
    Unchecked::new(Platform).authorize(&who).expect("the job may end keys of deleted accounts")
}

/// What the job is cleared for that measures revocations.
pub fn keeping() -> Authorized<KeepCanary, Platform> {
    let who = Principal::System(Job::Canary);
    Unchecked::new(Platform).authorize(&who).expect("the job may make and revoke its own key")
}

/// The key with a secret.
pub fn new(key: &ApiKey) -> NewApiKey {
    NewApiKey { key: key.clone(), digest: digest(key.secrets.newest.kid), pepper_version: pepper_version() }
}

/// Every restriction that there is, as far as it goes.
pub fn restricted() -> KeyPolicy {
    let models = (0..100).map(|number| format!("{number:0>127}*"));
    let networks = (0..25_u8).flat_map(|number| [format!("{number}.0.0.0/8"), format!("2001:db8:{number}::/48")]);
    let limits = (0..8_u64)
        .map(|number| RateLimit::new(&format!("{number:0>32}"), 1_000_000 - number, 86_400 - number).expect("a limit"));
    KeyPolicy {
        scopes: KeyScopes::parse(["inference", "usage:read"]).expect("scopes"),
        models: ModelAllowList::parse(models).expect("models"),
        networks: Networks::parse(networks).expect("networks"),
        rate_limits: RateLimits::new(limits).expect("limits"),
    }
}

fn new_secret(number: u32) -> NewSecret {
    NewSecret { kid: kid(number), digest: digest(kid(number)), pepper_version: pepper_version() }
}

fn digest(kid: Kid) -> Digest {
    let mut bytes = [255; 32];
    bytes[..12].copy_from_slice(kid.as_str().as_bytes());
    Digest::from_stored(&bytes).expect("32 bytes")
}

fn pepper_version() -> PepperVersion {
    PepperVersion::parse(i16::MAX).expect("a positive number")
}

fn kid(number: u32) -> Kid {
    Kid::parse(&format!("Kid{number:09}")).expect("twelve characters")
}

/// A moment, with microseconds: what is read back must equal what was written.
fn at(second: u64) -> Timestamp {
    let start = Timestamp::from_unix_seconds(1_800_000_000).expect("a year that can be represented");
    start.plus(Duration::from_secs(second) + Duration::from_micros(123_457))
}

/// The id of that number; greater numbers make greater ids.
fn id<I: Id + FromStr<Err: Debug>>(number: u32) -> I {
    format!("{}_{number:026}", I::PREFIX).parse().expect("digits make an id")
}
