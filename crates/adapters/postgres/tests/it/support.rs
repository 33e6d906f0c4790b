//! What the tests share.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portal_accounts::{AccountsStore, AccountsTx};
use portal_api_keys::{ApiKeysStore, ApiKeysTx, Peppers};
use portal_audit::{AuditStore, AuditTx};
use portal_dev_postgres::testing::admin_url;
use portal_kernel::{Clock, StoreError, Timestamp};
use portal_postgres::testing::TestDatabase;
use portal_postgres::{PgSettings, PgStore, PgTarget};
use portal_testkit::FixedClock;

/// Long enough for a busy machine; nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The root of the repository.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

pub(crate) fn admin() -> String {
    admin_url(&checkout()).unwrap_or_else(|error| panic!("no server for the tests: {error}"))
}

/// A migrated database.
pub(crate) async fn database() -> TestDatabase {
    TestDatabase::create(&admin()).await.expect("a database")
}

/// A migrated database and a store on it.
pub(crate) async fn store() -> (TestDatabase, PgStore) {
    let database = database().await;
    let store = database.store(4).expect("a store");
    (database, store)
}

/// A store that gives up soon.
pub(crate) fn impatient(url: &str, statement_timeout: Duration) -> PgStore {
    let settings = PgSettings {
        target: PgTarget::parse(url).expect("a URL"),
        direct: None,
        pool_size: 2,
        acquire_timeout: Duration::from_millis(500),
        statement_timeout,
    };
    PgStore::new(&settings).expect("a store")
}

/// An accounts transaction: a store begins those of several crates.
pub(crate) async fn accounts(store: &PgStore) -> Box<dyn AccountsTx> {
    let store: &AccountsStore = store;
    store.begin().await.expect("a transaction")
}

/// An audit transaction.
pub(crate) async fn audit(store: &PgStore) -> Box<dyn AuditTx> {
    let store: &AuditStore = store;
    store.begin().await.expect("a transaction")
}

/// A keys transaction.
pub(crate) async fn api_keys(store: &PgStore) -> Box<dyn ApiKeysTx> {
    let store: &ApiKeysStore = store;
    store.begin().await.expect("a transaction")
}

pub(crate) fn now() -> Timestamp {
    FixedClock::default().now()
}

pub(crate) fn peppers() -> Peppers {
    let version = portal_api_keys::PepperVersion::parse(1).expect("a version");
    Peppers::new([(version, vec![7; 32].into())]).expect("a pepper")
}

/// An error and all its causes, as a log shows them.
pub(crate) fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The outcome of something that must not take long.
pub(crate) async fn soon<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, outcome).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}
