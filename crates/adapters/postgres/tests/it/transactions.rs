//! How transactions end when nobody ends them: locks go at once, and the pool hands out clean connections.

use portal_accounts::contract::{cleared, looking_up, profile, provision, told};
use portal_accounts::{SignInReader, User};
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;

use crate::support::{PATIENCE, accounts, database, impatient, now, soon, store, until};

/// Takes the lock on a person's row and keeps it as long as the transaction lives.
async fn lock(store: &PgStore, user: &User) -> Box<dyn portal_accounts::AccountsTx> {
    let mut tx = accounts(store).await;
    tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await.expect("a lock");
    tx
}

/// Somebody else changes the row. A lock that stays would stay for as long as the pool keeps the connection.
async fn is_free(database: &TestDatabase, user: &User) {
    let update = format!(
        "SET lock_timeout = '20s'; UPDATE users SET first_name = 'Free' WHERE provider_id = '{}'",
        user.provider_id
    );
    soon("the lock", database.execute(&update)).await.expect("the row is free");
}

async fn email(store: &PgStore, user: &User) -> Option<String> {
    let known = SignInReader::find(store, &looking_up(), user.provider_id.clone()).await.expect("an answer");
    known.expect("a person").user.profile().email.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_gives_its_locks_back_at_once() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    drop(lock(&store, &user).await);
    is_free(&database, &user).await;
    assert_eq!(email(&store, &user).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_gives_the_locks_back() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    let tx = lock(&store, &user).await;
    let panicked = tokio::spawn(async move {
        let _held = tx;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    is_free(&database, &user).await;
    assert_eq!(email(&store, &user).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_while_a_statement_runs_changes_nothing() {
    let database = database().await;
    // No time-out of the store ends the statement before this test gives up.
    let store = impatient(database.url(), 4 * PATIENCE);
    let (user, other) = (provision(&store, 1).await, provision(&store, 2).await);
    let mut blocker = database.session().await.unwrap();
    let blocking = format!("BEGIN; SELECT FROM users WHERE provider_id = '{}' FOR UPDATE", user.provider_id);
    blocker.execute(&blocking).await.unwrap();
    let mut tx = lock(&store, &other).await;
    let known = user.clone();
    let waiting =
        tokio::spawn(async move { tx.users().save_profiles(&cleared(), vec![(known, told(profile(), now()))]).await });
    let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    until("the statement waits for the lock", async || database.count(waiters).await.unwrap() == 1).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    // The server notices that its client is gone, although the statement cannot go on.
    is_free(&database, &other).await;
    blocker.execute("ROLLBACK").await.unwrap();
    is_free(&database, &user).await;
    assert_eq!(email(&store, &user).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_abandoned_transactions_uses_the_pool_up() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    for _ in 0..20 {
        drop(lock(&store, &user).await);
    }
    assert_eq!(email(&store, &user).await, None);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    until("no transaction is open", async || database.count(open).await.unwrap() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_transaction_gives_its_connection_back_for_the_next() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    for round in 0..20 {
        let tx = lock(&store, &user).await;
        if round % 2 == 0 { tx.commit().await } else { tx.rollback().await }.unwrap();
    }
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'portal'";
    assert_eq!(database.count(sessions).await.unwrap(), 1, "one connection was enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_has_the_settings_that_bound_what_can_go_wrong() {
    let (database, store) = store().await;
    store.probe().await.unwrap();
    // A session's settings are its own; a function that the store's statement calls can see them.
    database
        .execute(
            "CREATE TABLE seen (text text); CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO seen SELECT name || '=' || setting FROM pg_settings WHERE name IN ('application_name',
                'client_connection_check_interval', 'idle_in_transaction_session_timeout', 'lc_messages', 'lock_timeout',
                'statement_timeout', 'TimeZone', 'transaction_isolation'); RETURN NEW; END $$;
             CREATE TRIGGER look BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION look()",
        )
        .await
        .unwrap();
    provision(&store, 1).await;
    assert_eq!(
        database.texts("SELECT text FROM seen ORDER BY text COLLATE \"C\"").await.unwrap(),
        [
            "TimeZone=UTC",
            "application_name=portal",
            "client_connection_check_interval=1000",
            "idle_in_transaction_session_timeout=30000",
            "lc_messages=C",
            "lock_timeout=5000",
            "statement_timeout=10000",
            "transaction_isolation=read committed",
        ]
    );
}
