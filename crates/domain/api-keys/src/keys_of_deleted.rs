//! Ending the keys of accounts that were deleted, and of people who were.
//!
//! Such keys are refused from the moment of the deletion on, whatever their rows say. This makes it final: an account that comes back has no
//! keys, and the trail says when each one ended.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::EndKeysOfDeleted;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Change, ChangeFeed, ChangeListener, Clock, IdGen, StoreError, finish};

use crate::ports::{ApiKeysStore, ApiKeysTx};

/// So many are ended in one transaction.
const AT_ONCE: usize = 500;

/// With news of more accounts than this, all are looked at.
const MOST_HEARD: usize = 1_000;

/// What the trail says.
const REASON: &str = "the account was deleted";

/// Why keys of deleted accounts are not ended yet.
#[derive(Debug, thiserror::Error)]
pub enum EndKeysError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("keys of deleted accounts could not be ended")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct KeysOfDeleted {
    store: Arc<ApiKeysStore>,
    ids: Arc<dyn IdGen>,
    clock: Arc<dyn Clock>,
    heard: Arc<Heard>,
}

/// Accounts that the change feed had news of.
#[derive(Default)]
struct Heard(Mutex<News>);

#[derive(Default)]
struct News {
    of: BTreeSet<AccountId>,
    /// Of whichever.
    of_all: bool,
}

impl News {
    fn add(&mut self, accounts: impl IntoIterator<Item = AccountId>) {
        self.of.extend(accounts);
        if self.of.len() > MOST_HEARD {
            self.forget();
        }
    }

    fn forget(&mut self) {
        *self = Self { of: BTreeSet::new(), of_all: true };
    }
}

impl Heard {
    fn news(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeListener for Heard {
    fn changed(&self, change: &Change) {
        if let Change::Account(account) = change {
            self.news().add([*account]);
        }
    }

    fn missed(&self) {
        self.news().forget();
    }
}

impl KeysOfDeleted {
    /// Listens from now on.
    pub fn new(store: Arc<ApiKeysStore>, feed: &dyn ChangeFeed, ids: Arc<dyn IdGen>, clock: Arc<dyn Clock>) -> Self {
        let heard = Arc::new(Heard::default());
        feed.subscribe(heard.clone());
        Self { store, ids, clock, heard }
    }

    /// Ends the keys of deleted accounts among those that there was news of, and answers how many keys those were. Asks nothing where there
    /// was none. What fails is done with the next call.
    pub async fn end_heard(&self) -> Result<usize, EndKeysError> {
        let News { of, of_all } = take(&mut *self.heard.news());
        if of_all {
            return self.end_all().await.inspect_err(|_| self.heard.news().forget());
        }
        if of.is_empty() {
            return Ok(0);
        }
        let accounts = of.iter().copied().collect();
        self.end(Some(accounts)).await.inspect_err(|_| self.heard.news().add(of))
    }

    /// Ends the keys of all deleted accounts, also of those that were deleted while no server ran, and answers how many keys those were.
    /// Safe to repeat, to break off, and to do in several places at once.
    pub async fn end_all(&self) -> Result<usize, EndKeysError> {
        self.end(None).await
    }

    async fn end(&self, accounts: Option<Vec<AccountId>>) -> Result<usize, EndKeysError> {
        let principal = Principal::System(Job::KeyEnds);
        let cleared = Unchecked::new(Platform).authorize(&principal)?;
        let provenance = Provenance { reason: Some(REASON.to_owned()), ..Provenance::default() };
        let who = Caller { principal, provenance };
        let mut ended = 0;
        loop {
            let mut tx = self.store.begin().await?;
            let outcome = self.end_in(&mut *tx, &who, &cleared, accounts.clone()).await;
            let part = finish(tx, outcome).await?;
            ended += part;
            if part < AT_ONCE {
                return Ok(ended);
            }
        }
    }

    async fn end_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Authorized<EndKeysOfDeleted, Platform>,
        accounts: Option<Vec<AccountId>>,
    ) -> Result<usize, StoreError> {
        let keys = tx.keys().revoke_of_deleted(cleared, accounts, self.clock.now(), AT_ONCE).await?;
        for (account, key) in &keys {
            self.tell(tx, who, *account, *key).await?;
        }
        Ok(keys.len())
    }

    async fn tell(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        account: AccountId,
        key: ApiKeyId,
    ) -> Result<(), StoreError> {
        let source = (&*self.ids, &*self.clock);
        let record = AuditRecord::now(source, who, Some(account), AuditAction::ApiKeyRevoked, Subject::ApiKey(key));
        tx.audit().record(record).await?;
        tx.changes().changed(Change::Key(key)).await
    }
}

#[cfg(test)]
mod tests {
    use portal_testkit::{CountingIds, FixedClock, SteeredFeed};

    use super::*;
    use crate::ApiKey;
    use crate::testing::memory::MemoryStore;
    use crate::testing::{MockApiKeysStore, account, key};

    fn elsewhere() -> AccountId {
        "acc_00000000000000000000000009".parse().unwrap()
    }

    fn numbered(number: usize, account: AccountId) -> ApiKey {
        ApiKey { id: format!("key_{number:026}").parse().unwrap(), account, ..key() }
    }

    struct World {
        store: MemoryStore,
        feed: Arc<SteeredFeed>,
        job: KeysOfDeleted,
    }

    /// So many keys in one account and one in another; the first is deleted.
    async fn world(keys: usize) -> World {
        let (store, feed) = (MemoryStore::default(), SteeredFeed::current());
        let mut rows = store.rows.lock().await;
        rows.keys = (0..keys).map(|number| numbered(number, account())).collect();
        rows.keys.push(numbered(keys, elsewhere()));
        rows.deleted = vec![account()];
        drop(rows);
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        let job = KeysOfDeleted::new(Arc::new(store.clone()), &*feed, ids, clock);
        World { store, feed, job }
    }

    impl World {
        async fn live(&self) -> usize {
            self.store.rows.lock().await.keys.iter().filter(|key| key.revoked_at.is_none()).count()
        }
    }

    #[tokio::test]
    async fn keys_of_deleted_accounts_end_part_by_part_and_each_end_is_told_once() {
        let world = world(2 * AT_ONCE + 1).await;
        assert_eq!(world.job.end_all().await.unwrap(), 2 * AT_ONCE + 1);
        assert_eq!(world.job.end_all().await.unwrap(), 0);
        assert_eq!(world.live().await, 1, "the key of the other account");
        let rows = world.store.rows.lock().await;
        assert_eq!((rows.records.len(), rows.changes.len()), (2 * AT_ONCE + 1, 2 * AT_ONCE + 1));
        let record = &rows.records[0];
        assert_eq!((record.action, record.account), (AuditAction::ApiKeyRevoked, Some(account())));
        assert_eq!((record.actor.kind, record.actor.id.as_str()), ("system", "key-ends"));
        assert_eq!(record.provenance.reason.as_deref(), Some("the account was deleted"));
    }

    #[tokio::test]
    async fn news_of_an_account_ends_its_keys_and_no_news_asks_nothing() {
        let feed = SteeredFeed::current();
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        // It has no transaction to give.
        let idle = KeysOfDeleted::new(Arc::new(MockApiKeysStore::default()), &*feed, ids, clock);
        assert_eq!(idle.end_heard().await.unwrap(), 0);
        let world = world(3).await;
        for change in [Change::Account(elsewhere()), Change::Key(key().id)] {
            world.feed.tell(&change);
            assert_eq!(world.job.end_heard().await.unwrap(), 0, "{change:?}");
        }
        world.feed.tell(&Change::Account(account()));
        assert_eq!(world.job.end_heard().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn whoever_missed_news_or_heard_too_many_looks_at_all() {
        let missing = world(3).await;
        missing.feed.miss();
        assert_eq!(missing.job.end_heard().await.unwrap(), 3);
        let flooded = world(3).await;
        for number in 0..=MOST_HEARD {
            flooded.feed.tell(&Change::Account(format!("acc_1{number:025}").parse().unwrap()));
        }
        assert_eq!(flooded.job.end_heard().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_could_not_be_done_is_done_with_the_next_call() {
        let world = world(3).await;
        let failing = Arc::new(crate::testing::FailingOnce::before(world.store.clone()));
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        let job = KeysOfDeleted::new(failing, &*world.feed, ids, clock);
        world.feed.tell(&Change::Account(account()));
        assert!(matches!(job.end_heard().await, Err(EndKeysError::Store(StoreError::Unavailable(_)))));
        assert_eq!(job.end_heard().await.unwrap(), 3);
    }
}
