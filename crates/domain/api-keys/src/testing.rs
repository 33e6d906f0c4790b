//! Doubles and samples of this crate's unit tests.

pub(crate) mod memory;
mod requests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portal_audit::{AuditAction, AuditLog, Caller, MockAuditLog, Provenance};
use portal_authz::{Job, Principal, Role, Roles, Scope, Scopes, Unchecked, UserPrincipal};
use portal_kernel::{AccountId, Begin, Change, ChangeLog, Clock, Finish, IdempotencyLog, StoreError, UserId};
use portal_testkit::{CountingEntropy, CountingIds, FixedClock};

pub(crate) use self::requests::{MemoryRequests, named_request};
use crate::credential::{Minted, mint};
use crate::ports::{ApiKeyRepository, ApiKeysTx, CanaryRepository, ServiceTokenRepository};
use crate::{
    ApiKey, ApiKeys, Brand, KeyEnvironment, KeyName, KeyPolicy, KeySecret, KeySecrets, Kid, MockApiKeyReader,
    MockApiKeyRepository, MockCanaryRepository, MockServiceTokenReader, MockServiceTokenRepository, Networks,
    PepperVersion, Peppers, ServiceName, ServiceToken, ServiceTokens, StoredKey,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Committed,
    RolledBack,
}

#[derive(Default)]
pub(crate) struct MockTx {
    pub(crate) keys: MockApiKeyRepository,
    pub(crate) service_tokens: MockServiceTokenRepository,
    pub(crate) audit: MockAuditLog,
    pub(crate) canary: MockCanaryRepository,
    pub(crate) requests: MemoryRequests,
    endings: Arc<Mutex<Vec<Ending>>>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl ApiKeysTx for MockTx {
    fn keys(&mut self) -> &mut dyn ApiKeyRepository {
        &mut self.keys
    }

    fn service_tokens(&mut self) -> &mut dyn ServiceTokenRepository {
        &mut self.service_tokens
    }

    fn canary(&mut self) -> &mut dyn CanaryRepository {
        &mut self.canary
    }

    fn requests(&mut self) -> &mut dyn IdempotencyLog {
        &mut self.requests
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        &mut self.audit
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

#[async_trait]
impl ChangeLog for MockTx {
    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.changes.lock().unwrap().push(change);
        Ok(())
    }
}

#[async_trait]
impl Finish for MockTx {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.endings.lock().unwrap().push(Ending::Committed);
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        self.endings.lock().unwrap().push(Ending::RolledBack);
        Ok(())
    }
}

/// Hands out the prepared transactions in order, and remembers how each ended.
#[derive(Default)]
pub(crate) struct MockApiKeysStore {
    prepared: Mutex<VecDeque<MockTx>>,
    endings: Arc<Mutex<Vec<Ending>>>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl MockApiKeysStore {
    pub(crate) fn endings(&self) -> Vec<Ending> {
        self.endings.lock().unwrap().clone()
    }

    /// What was written to the change log, committed or not.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap().clone()
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for MockApiKeysStore {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        let mut tx = self.prepared.lock().unwrap().pop_front().expect("no further transaction was expected");
        tx.endings = self.endings.clone();
        tx.changes = self.changes.clone();
        Ok(Box::new(tx))
    }
}

/// A store that is not there the first time.
pub(crate) struct FailingOnce {
    then: memory::MemoryStore,
    failed: AtomicBool,
}

impl FailingOnce {
    pub(crate) fn before(then: memory::MemoryStore) -> Self {
        Self { then, failed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for FailingOnce {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        if self.failed.swap(true, Ordering::Relaxed) {
            self.then.begin().await
        } else {
            Err(StoreError::Unavailable("gone".into()))
        }
    }
}

/// A transaction and a reader to prepare.
#[derive(Default)]
pub(crate) struct Fixture {
    pub(crate) tx: MockTx,
    pub(crate) reader: MockApiKeyReader,
}

impl Fixture {
    /// Finds the key, and writes whatever is asked for, once, with a record of it.
    pub(crate) fn changing(key: ApiKey, action: AuditAction) -> Self {
        let mut fixture = Self::finding(key.clone());
        let keys = &mut fixture.tx.keys;
        keys.expect_find_to_change().once().returning(move |_| Ok(Some(Unchecked::new(key.clone()))));
        keys.expect_update().returning(|key, patch| Ok(key.into_inner().updated(patch)));
        keys.expect_disable().returning(|key, since| Ok(key.into_inner().disabled(since)));
        keys.expect_rotate().returning(|key, rotation| Ok(key.into_inner().rotated(&rotation)));
        keys.expect_revoke().returning(|key, at| Ok(key.into_inner().revoked(at)));
        fixture.tx.audit.expect_record().withf(move |record| record.action == action).once().returning(|_| Ok(()));
        fixture
    }

    /// Finds the key, and writes nothing.
    pub(crate) fn unchanged(key: ApiKey) -> Self {
        let mut fixture = Self::finding(key.clone());
        fixture.tx.keys.expect_find_to_change().once().returning(move |_| Ok(Some(Unchecked::new(key.clone()))));
        fixture.write_nothing()
    }

    /// Finds the key, keeps nobody from changing it, and writes nothing.
    pub(crate) fn untouchable(key: ApiKey) -> Self {
        let mut fixture = Self::finding(key);
        fixture.tx.keys.expect_find_to_change().never();
        fixture.write_nothing()
    }

    fn finding(key: ApiKey) -> Self {
        let mut fixture = Self::default();
        fixture.tx.keys.expect_find().once().returning(move |_| Ok(Some(Unchecked::new(key.clone()))));
        fixture
    }

    fn write_nothing(mut self) -> Self {
        self.tx.keys.expect_update().never();
        self.tx.keys.expect_disable().never();
        self.tx.keys.expect_rotate().never();
        self.tx.keys.expect_revoke().never();
        self.tx.audit.expect_record().never();
        self
    }

    pub(crate) fn build(self) -> (ApiKeys, Arc<MockApiKeysStore>) {
        let store = Arc::new(MockApiKeysStore {
            prepared: Mutex::new([self.tx].into_iter().collect()),
            endings: Arc::default(),
            changes: Arc::default(),
        });
        let keys = ApiKeys {
            store: store.clone(),
            reader: Arc::new(self.reader),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            ids: Arc::new(CountingIds::default()),
            entropy: Arc::new(CountingEntropy::default()),
            clock: Arc::new(FixedClock::default()),
            most_keys: 100,
        };
        (keys, store)
    }

    pub(crate) fn build_service_tokens(self) -> (ServiceTokens, Arc<MockApiKeysStore>) {
        let (keys, store) = self.build();
        let tokens = ServiceTokens {
            store: keys.store,
            reader: Arc::new(MockServiceTokenReader::new()),
            peppers: keys.peppers,
            ids: keys.ids,
            entropy: keys.entropy,
            clock: keys.clock,
        };
        (tokens, store)
    }
}

pub(crate) fn peppers() -> Peppers {
    Peppers::new([(PepperVersion::parse(1).unwrap(), vec![7; 32].into())]).unwrap()
}

pub(crate) fn account() -> AccountId {
    "acc_00000000000000000000000001".parse().unwrap()
}

fn maker() -> UserId {
    "usr_00000000000000000000000001".parse().unwrap()
}

/// The person who made [`key`].
pub(crate) fn member(role: Role) -> Caller {
    person(maker(), role)
}

/// Somebody else in the same account.
pub(crate) fn other_member(role: Role) -> Caller {
    person("usr_00000000000000000000000002".parse().unwrap(), role)
}

fn person(user: UserId, role: Role) -> Caller {
    let roles = Roles::from_iter([(account(), role)]);
    Caller { principal: Principal::User(UserPrincipal::new(user, roles)), provenance: Provenance::default() }
}

pub(crate) fn key() -> ApiKey {
    let created_at = FixedClock::default().now();
    let kid = Kid::parse("abcdefghijkl").unwrap();
    ApiKey {
        id: "key_00000000000000000000000001".parse().unwrap(),
        account: account(),
        name: KeyName::parse("ci").unwrap(),
        environment: KeyEnvironment::Live,
        policy: KeyPolicy::default(),
        secrets: KeySecrets::first(KeySecret { kid, created_at, expires_at: None, revoked_at: None }),
        made_by: maker(),
        created_at,
        expires_at: None,
        disabled_at: None,
        revoked_at: None,
        last_used_at: None,
        revision: 1,
    }
}

/// A live service token.
pub(crate) fn service_token() -> ServiceToken {
    let created_at = FixedClock::default().now();
    let kid = Kid::parse("abcdefghijkl").unwrap();
    ServiceToken {
        id: "svc_00000000000000000000000001".parse().unwrap(),
        name: ServiceName::parse("gateway").unwrap(),
        scopes: Scopes::from_iter([Scope::KeysVerify]),
        networks: Networks::default(),
        secrets: KeySecrets::first(KeySecret { kid, created_at, expires_at: None, revoked_at: None }),
        created_at,
        expires_at: None,
        revoked_at: None,
    }
}

/// Somebody at the command line.
pub(crate) fn operator(reason: Option<String>) -> Caller {
    Caller { principal: Principal::System(Job::Operator), provenance: Provenance { reason, ..Provenance::default() } }
}

/// What [`stored`] is stored for.
pub(crate) fn minted() -> Minted {
    mint("cort_live_", &CountingEntropy::default())
}

pub(crate) fn stored() -> StoredKey {
    let (pepper_version, digest) = peppers().digest(&minted().text);
    StoredKey {
        key: key().id,
        account: account(),
        environment: KeyEnvironment::Live,
        digest,
        pepper_version,
        policy: KeyPolicy::default(),
        secret_expires_at: None,
        secret_revoked_at: None,
        expires_at: None,
        disabled_at: None,
        revoked_at: None,
        revision: 7,
    }
}
