//! Each way in which the server refuses, provoked for real, and what the domain is told.

use std::time::{Duration, Instant};

use portal_accounts::contract::{cleared, looking_up, profile, provision, told};
use portal_accounts::{Account, AccountsTx, InboxEntry, SignInReader, User};
use portal_api_keys::ApiKeyReader;
use portal_api_keys::contract::{Owner, new};
use portal_kernel::{PageRequest, StoreError};
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;

use crate::support::{accounts, api_keys, chain, database, impatient, now, soon, store, until};

/// Long enough for any statement of these tests.
const AMPLE: Duration = Duration::from_secs(20);

async fn save(tx: &mut dyn AccountsTx, user: &User) -> Result<(), StoreError> {
    tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await
}

fn update(user: &User) -> String {
    format!("UPDATE users SET email = 'theirs' WHERE provider_id = '{}'", user.provider_id)
}

/// Two people, and a store made after the database got its settings.
async fn two_people(settings: &str, timeout: Duration) -> (TestDatabase, PgStore, [User; 2]) {
    let database = database().await;
    let people = {
        let store = database.store(2).expect("a store");
        [provision(&store, 1).await, provision(&store, 2).await]
    };
    let name = database.texts("SELECT current_database()::text AS text").await.expect("a name").remove(0);
    for setting in settings.split(';').filter(|setting| !setting.is_empty()) {
        database.execute(&format!("ALTER DATABASE {name} SET {setting}")).await.expect("a setting");
    }
    let store = impatient(database.url(), timeout);
    (database, store, people)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_names_its_constraint() {
    let (_database, store) = store().await;
    let user = provision(&store, 1).await;
    let mut tx = accounts(&store).await;
    let (id, name) = (user.personal_account, "Personal".to_owned());
    let account = Account { id, name, provider_organization: None, created_at: now() };
    let outcome = tx.accounts().insert(&cleared(), account).await;
    assert!(
        matches!(&outcome, Err(StoreError::Duplicate { constraint }) if constraint == "accounts_pkey"),
        "{outcome:?}"
    );
    let mut tx = accounts(&store).await;
    let twin = User { provider_id: portal_identity::ProviderUserId::parse("user_twin").unwrap(), ..user };
    let outcome = tx.users().insert(&cleared(), twin).await;
    assert!(matches!(&outcome, Err(StoreError::Duplicate { constraint }) if constraint == "users_pkey"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_retryable() {
    // The other session never looks for deadlocks, so ours is the one that is told.
    let (database, store, [one, two]) = two_people("deadlock_timeout = '10ms'", AMPLE).await;
    let mut session = database.session().await.unwrap();
    session.execute("SET deadlock_timeout = '1h'; BEGIN").await.unwrap();
    session.execute(&update(&two)).await.unwrap();
    let mut tx = accounts(&store).await;
    save(&mut *tx, &one).await.unwrap();
    let wanted = update(&one);
    let waiting = tokio::spawn(async move { session.execute(&wanted).await.map_err(|error| error.to_string()) });
    until("the other session waits", async || {
        database.count("SELECT count(*) FROM pg_locks WHERE NOT granted").await.unwrap() == 1
    })
    .await;
    let outcome = soon("a deadlock", save(&mut *tx, &two)).await;
    assert!(matches!(outcome, Err(StoreError::Retryable(_))), "{outcome:?}");
    tx.rollback().await.unwrap();
    soon("the other session", waiting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_else_keeps_is_retryable() {
    let (database, store, [one, two]) = two_people("", Duration::from_millis(400)).await;
    let mut session = database.session().await.unwrap();
    session.execute("BEGIN").await.unwrap();
    session.execute(&update(&one)).await.unwrap();
    let mut tx = accounts(&store).await;
    let outcome = save(&mut *tx, &one).await;
    assert!(matches!(outcome, Err(StoreError::Retryable(_))), "{outcome:?}");
    tx.rollback().await.unwrap();
    let mut tx = accounts(&store).await;
    save(&mut *tx, &two).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changed_under_a_snapshot_is_retryable() {
    let (_database, store, [one, two]) = two_people("default_transaction_isolation = 'repeatable read'", AMPLE).await;
    let mut late = accounts(&store).await;
    // The first statement takes the snapshot.
    save(&mut *late, &two).await.unwrap();
    let mut early = accounts(&store).await;
    save(&mut *early, &one).await.unwrap();
    early.commit().await.unwrap();
    let outcome = save(&mut *late, &one).await;
    assert!(matches!(outcome, Err(StoreError::Retryable(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_serialized_is_retryable_and_spoils_nothing() {
    let (_database, store, [one, _]) = two_people("default_transaction_isolation = 'serializable'", AMPLE).await;
    let owner = Owner(one);
    let (first, second) = (owner.key(1), owner.key(2));
    let mut tx = api_keys(&store).await;
    for key in [&first, &second] {
        tx.keys().insert(&owner.may_create(), new(key)).await.unwrap();
    }
    tx.commit().await.unwrap();
    // Each reads what the other writes.
    let (mut left, mut right) = (api_keys(&store).await, api_keys(&store).await);
    for (tx, reads, writes) in [(&mut left, &first, &second), (&mut right, &second, &first)] {
        assert!(tx.keys().find(reads.id).await.unwrap().is_some());
        tx.keys().revoke(owner.may(writes), now()).await.unwrap();
    }
    left.commit().await.unwrap();
    let outcome = right.commit().await;
    assert!(matches!(outcome, Err(StoreError::Retryable(_))), "{outcome:?}");
    let page = store.page(&owner.may_read(), PageRequest::default()).await.unwrap();
    let revoked = page.items.iter().map(|key| key.revoked_at.is_some()).collect::<Vec<_>>();
    assert_eq!(revoked, [true, false], "the second key was revoked by the first transaction, the first one by nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_an_outage() {
    let (database, store, [one, two]) = two_people("", Duration::from_millis(200)).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.provider_id = 'user_1') EXECUTE FUNCTION slow()";
    database.execute(slow).await.unwrap();
    let mut tx = accounts(&store).await;
    let outcome = soon("a statement with a time-out", save(&mut *tx, &one)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    tx.rollback().await.unwrap();
    save(&mut *accounts(&store).await, &two).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_is_an_outage_for_writers_and_none_for_readers() {
    let (_database, store, [one, _]) = two_people("default_transaction_read_only = 'on'", AMPLE).await;
    let outcome = save(&mut *accounts(&store).await, &one).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    let found = SignInReader::find(&store, &looking_up(), one.provider_id).await.unwrap();
    assert!(found.is_some());
    assert!(store.probe().await.unwrap().read_only);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_free_connection_is_an_outage_soon_and_says_so() {
    let (_database, store, _) = two_people("", AMPLE).await;
    let held = [accounts(&store).await, accounts(&store).await];
    let begin = Instant::now();
    let outcome = store.probe().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "the time-out was half a second");
    let Err(error @ StoreError::Unavailable(_)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(chain(&error), "the database is unavailable: all 2 connections were in use for 500ms");
    drop(held);
    store.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_can_be_in_no_row_is_corrupt() {
    let (_database, store, [one, _]) = two_people("", AMPLE).await;
    for id in ["msg_\0".to_owned(), random_letters(9_000)] {
        let mut tx = accounts(&store).await;
        let entry = InboxEntry { id: id.clone(), kind: "user.updated".to_owned(), received_at: now() };
        let outcome = tx.inbox().take(&cleared(), vec![entry]).await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
        tx.rollback().await.unwrap();
    }
    save(&mut *accounts(&store).await, &one).await.unwrap();
}

/// Too long for an index, also compressed.
fn random_letters(count: usize) -> String {
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"abcdefghijklmnopqrstuvwxyz"[usize::try_from((state >> 33) % 26).expect("a small number")])
    };
    (0..count).map(|_| letter()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_else_is_a_defect() {
    let (database, store, [one, _]) = two_people("", AMPLE).await;
    database.execute("ALTER TABLE users ADD CONSTRAINT users_odd CHECK (email IS NULL)").await.unwrap();
    let outcome = save(&mut *accounts(&store).await, &one).await;
    let Err(error @ StoreError::Other(_)) = outcome else { panic!("{outcome:?}") };
    assert!(chain(&error).contains("users_odd"), "the log names the constraint: {}", chain(&error));
    database.execute("DROP TABLE users CASCADE").await.unwrap();
    let outcome = SignInReader::find(&store, &looking_up(), one.provider_id).await;
    assert!(matches!(outcome, Err(StoreError::Other(_))), "{outcome:?}");
}
