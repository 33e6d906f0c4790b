//! Many who change keys at the same time.

use std::sync::Arc;
use std::time::Duration;

use portal_accounts::contract::provision;
use portal_api_keys::contract::{Owner, new};
use portal_api_keys::{
    ApiKey, ApiKeyReader, ApiKeys, Brand, CreateKeyError, DisableKeyError, KeyDraft, KeyEnvironment, KeyName, KeyPatch,
    KeyPolicy, KeyState, Overlap, RotateKeyError, UpdateKeyError,
};
use portal_audit::{Caller, Provenance};
use portal_authz::Unchecked;
use portal_authz::action::ReadKeys;
use portal_kernel::ApiKeyId;
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;
use portal_testkit::{CountingEntropy, CountingIds, FixedClock};
use tokio::task::JoinSet;

use crate::support::{api_keys, database, now, peppers, soon};

struct World {
    database: TestDatabase,
    store: Arc<PgStore>,
    keys: Arc<ApiKeys>,
    owner: Owner,
    who: Arc<Caller>,
}

impl World {
    async fn new(most_keys: usize) -> Self {
        let database = database().await;
        let store = Arc::new(database.store(10).expect("a store"));
        let owner = Owner(provision(&*store, 1).await);
        let keys = Arc::new(ApiKeys {
            store: store.clone(),
            reader: store.clone(),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            ids: Arc::new(CountingIds::default()),
            entropy: Arc::new(CountingEntropy::default()),
            clock: Arc::new(FixedClock::default()),
            most_keys,
        });
        let who = Arc::new(Caller { principal: owner.principal(), provenance: Provenance::default() });
        Self { database, store, keys, owner, who }
    }

    async fn key(&self) -> ApiKeyId {
        let key = ApiKey { created_at: now(), ..self.owner.key(1) };
        let mut tx = api_keys(&self.store).await;
        tx.keys().insert(&self.owner.may_create(), new(&key)).await.expect("a key");
        tx.commit().await.expect("a commit");
        key.id
    }

    async fn read(&self, id: ApiKeyId) -> ApiKey {
        let found: Unchecked<_> = ApiKeyReader::find(&*self.store, id).await.expect("an answer").expect("a key");
        found.authorize::<ReadKeys>(&self.owner.principal()).expect("an owner reads the keys").into_inner()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.database.count(sql).await.expect("a count")
    }

    /// What was told of the key: every change was counted, recorded and told once.
    async fn told(&self, changes: i64) {
        let records = "SELECT count(*) FROM audit_events WHERE action ~ '^api_key'";
        assert_eq!(self.count(records).await, changes);
        assert_eq!(self.count("SELECT count(*) FROM changes WHERE kind = 'key'").await, changes);
        assert_eq!(self.count("SELECT revision - 1 AS count FROM api_keys").await, changes);
    }
}

const LIVE: &str = "SELECT count(*) FROM api_key_secrets
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > '2026-01-01T00:00:00Z')";

/// What somebody did to the key, and whether that changed it.
async fn act(keys: &ApiKeys, who: &Caller, id: ApiKeyId, number: u32) -> bool {
    match number % 5 {
        0 | 1 => {
            let overlap = Overlap::parse(Duration::from_secs(u64::from(number))).expect("an overlap");
            match keys.rotate(who, id, overlap, None).await {
                Ok(_) => true,
                Err(RotateKeyError::KeyIsOver) => false,
                Err(error) => panic!("{error:?}"),
            }
        }
        2 | 3 => {
            let outcome = if number % 5 == 2 { keys.disable(who, id).await } else { keys.enable(who, id).await };
            match outcome {
                // Whether it was so already is counted by the store.
                Ok(_) | Err(DisableKeyError::KeyIsOver) => false,
                Err(error) => panic!("{error:?}"),
            }
        }
        _ => {
            let name = KeyName::parse(&format!("name {number}")).expect("a name");
            match keys.update(who, id, KeyPatch { name: Some(name), ..KeyPatch::default() }).await {
                Ok(_) => true,
                Err(UpdateKeyError::KeyIsOver) => false,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_rotations_leave_two_live_secrets() {
    let world = World::new(100).await;
    let id = world.key().await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (keys, who) = (world.keys.clone(), world.who.clone());
        let overlap = Overlap::parse(Duration::from_mins(1)).unwrap();
        tasks.spawn(async move { keys.rotate(&who, id, overlap, None).await });
    }
    let mut revisions: Vec<_> = soon("a hundred rotations", tasks.join_all())
        .await
        .into_iter()
        .map(|outcome| outcome.expect("a rotation").0.revision)
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=101).collect::<Vec<_>>(), "each counted once");
    assert_eq!(world.count(LIVE).await, 2);
    assert_eq!(world.count("SELECT count(*) FROM api_key_secrets").await, 101, "those that ended are still known");
    let key = world.read(id).await;
    assert_eq!(key.secrets.iter().filter(|secret| secret.is_live(now())).count(), 2);
    world.told(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_stops_and_revocations_at_once_end_in_one_state_that_is_final() {
    let world = World::new(100).await;
    let id = world.key().await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let (keys, who) = (world.keys.clone(), world.who.clone());
        tasks.spawn(async move {
            if number % 20 == 10 {
                let revoked = keys.revoke(&who, id).await.expect("a revocation");
                assert_eq!(revoked.state(now()), KeyState::Revoked);
            } else {
                act(&keys, &who, id, number).await;
            }
        });
    }
    soon("a hundred changes", tasks.join_all()).await;
    let key = world.read(id).await;
    assert_eq!(key.state(now()), KeyState::Revoked);
    assert_eq!(world.count(LIVE).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM audit_events WHERE action = 'api_key.revoked'").await, 1);
    world.told(key.revision - 1).await;
    for number in 0..5 {
        assert!(!act(&world.keys, &world.who, id, number).await, "{number}");
    }
    assert_eq!(world.read(id).await, key, "a revoked key is never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_without_a_revocation_leave_a_live_key() {
    let world = World::new(100).await;
    let id = world.key().await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let (keys, who) = (world.keys.clone(), world.who.clone());
        tasks.spawn(async move { act(&keys, &who, id, number).await });
    }
    let changed = soon("a hundred changes", tasks.join_all()).await.into_iter().filter(|changed| *changed).count();
    assert_eq!(changed, 60, "every rotation and every name counted");
    let key = world.read(id).await;
    assert!(matches!(key.state(now()), KeyState::Active | KeyState::Disabled));
    assert!((1..=2).contains(&world.count(LIVE).await));
    assert!((60..=100).contains(&(key.revision - 1)), "{}", key.revision);
    world.told(key.revision - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_at_once_are_not_more_than_an_account_may_have() {
    let world = World::new(7).await;
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let (keys, who, account) = (world.keys.clone(), world.who.clone(), world.owner.account());
        let name = KeyName::parse(&format!("key {number}")).unwrap();
        let draft =
            KeyDraft { name, environment: KeyEnvironment::Live, policy: KeyPolicy::default(), expires_at: None };
        tasks.spawn(async move { keys.create(&who, account, draft, None).await });
    }
    let (made, refused): (Vec<_>, Vec<_>) =
        soon("thirty keys", tasks.join_all()).await.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 7);
    for outcome in refused {
        assert!(matches!(outcome, Err(CreateKeyError::TooManyKeys)), "{outcome:?}");
    }
    assert_eq!(world.count("SELECT count(*) FROM api_keys").await, 7);
    // A revoked key makes room for another one.
    let (first, _) = made.into_iter().next().unwrap().unwrap();
    world.keys.revoke(&world.who, first.id).await.unwrap();
    let draft = KeyDraft {
        name: first.name,
        environment: KeyEnvironment::Live,
        policy: KeyPolicy::default(),
        expires_at: None,
    };
    assert!(world.keys.create(&world.who, world.owner.account(), draft, None).await.is_ok());
}
