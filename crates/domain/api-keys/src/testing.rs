//! Doubles and samples of this crate's unit tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portal_audit::{AuditLog, Caller, MockAuditLog, Provenance};
use portal_authz::{Job, Principal, Role, Roles, UserPrincipal};
use portal_kernel::{AccountId, Begin, Clock, Finish, StoreError, UserId};
use portal_testkit::{CountingEntropy, CountingIds, FixedClock};

use crate::ports::{ApiKeyRepository, ApiKeysTx, ServiceTokenRepository};
use crate::{
    ApiKey, ApiKeys, Brand, KeyEnvironment, KeyName, Kid, MockApiKeyReader, MockApiKeyRepository,
    MockServiceTokenReader, MockServiceTokenRepository, PepperVersion, Peppers, ServiceTokens,
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
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl ApiKeysTx for MockTx {
    fn keys(&mut self) -> &mut dyn ApiKeyRepository {
        &mut self.keys
    }

    fn service_tokens(&mut self) -> &mut dyn ServiceTokenRepository {
        &mut self.service_tokens
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        &mut self.audit
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
pub(crate) struct MockApiKeysStore {
    prepared: Mutex<VecDeque<MockTx>>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl MockApiKeysStore {
    pub(crate) fn endings(&self) -> Vec<Ending> {
        self.endings.lock().unwrap().clone()
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for MockApiKeysStore {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        let mut tx = self.prepared.lock().unwrap().pop_front().expect("no further transaction was expected");
        tx.endings = self.endings.clone();
        Ok(Box::new(tx))
    }
}

/// Two transactions and a reader to prepare.
#[derive(Default)]
pub(crate) struct Fixture {
    pub(crate) tx: MockTx,
    pub(crate) then: MockTx,
    pub(crate) reader: MockApiKeyReader,
}

impl Fixture {
    pub(crate) fn build(self) -> (ApiKeys, Arc<MockApiKeysStore>) {
        let store = Arc::new(MockApiKeysStore {
            prepared: Mutex::new([self.tx, self.then].into_iter().collect()),
            endings: Arc::default(),
        });
        let keys = ApiKeys {
            store: store.clone(),
            reader: Arc::new(self.reader),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            ids: Arc::new(CountingIds::default()),
            entropy: Arc::new(CountingEntropy::default()),
            clock: Arc::new(FixedClock::default()),
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
    ApiKey {
        id: "key_00000000000000000000000001".parse().unwrap(),
        account: account(),
        name: KeyName::parse("ci").unwrap(),
        environment: KeyEnvironment::Live,
        kid: Kid::parse("abcdefghijkl").unwrap(),
        made_by: maker(),
        created_at: FixedClock::default().now(),
        revoked_at: None,
        revision: 1,
    }
}

/// Somebody at the command line.
pub(crate) fn operator(reason: Option<String>) -> Caller {
    Caller { principal: Principal::System(Job::Operator), provenance: Provenance { reason, ..Provenance::default() } }
}
