//! The database goes away and comes back, in all the ways that it does; the store is made once and recovers by itself.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portal_accounts::contract::{cleared, profile, provision, told};
use portal_dev_postgres::testing::OwnServer;
use portal_kernel::StoreError;
use tokio::runtime::Handle;

use crate::support::{accounts, chain, checkout, impatient, now, soon, store, until};

const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'portal'";
const ALIVE: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'portal'";

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(error @ StoreError::Unavailable(_)) => chain(&error),
        other => panic!("not an outage: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_while_they_lay_idle_are_replaced_before_anybody_notices() {
    let (database, store) = store().await;
    let before = Handle::current().metrics().num_alive_tasks();
    let open = [accounts(&store).await, accounts(&store).await, accounts(&store).await, accounts(&store).await];
    for tx in open {
        tx.rollback().await.unwrap();
    }
    assert_eq!(database.count(ALIVE).await.unwrap(), 4);
    database.execute(KILL).await.unwrap();
    until("the server ended them", async || database.count(ALIVE).await.unwrap() == 0).await;
    until("this side knows", async || Handle::current().metrics().num_alive_tasks() <= before).await;
    for _ in 0..8 {
        store.probe().await.unwrap();
    }
    provision(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_in_use_is_an_outage_for_its_user_only() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    let mut tx = accounts(&store).await;
    database.execute(KILL).await.unwrap();
    let saved = tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await;
    unavailable(saved);
    drop(tx);
    store.probe().await.unwrap();

    // Many times: the server says that it ends the connection a moment before it does, and nobody else may get it in between.
    for _ in 0..50 {
        let mut tx = accounts(&store).await;
        tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await.unwrap();
        database.execute(KILL).await.unwrap();
        unavailable(tx.commit().await);
        let tx = accounts(&store).await;
        database.execute(KILL).await.unwrap();
        unavailable(tx.rollback().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_killed_while_it_runs_is_an_outage() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    let mut blocker = database.session().await.unwrap();
    blocker.execute("BEGIN; SELECT FROM users FOR UPDATE").await.unwrap();
    let mut tx = accounts(&store).await;
    let running = tokio::spawn(async move {
        tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await
    });
    let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    until("the statement waits for the lock", async || database.count(waiters).await.unwrap() == 1).await;
    database.execute(KILL).await.unwrap();
    unavailable(soon("the end of the statement", running).await.unwrap());
    store.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_an_operator_cancels_is_no_defect() {
    let (database, store) = store().await;
    let user = provision(&store, 1).await;
    let mut blocker = database.session().await.unwrap();
    blocker.execute("BEGIN; SELECT FROM users FOR UPDATE").await.unwrap();
    let mut tx = accounts(&store).await;
    let running = tokio::spawn(async move {
        tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), now()))]).await
    });
    let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    until("the statement waits for the lock", async || database.count(waiters).await.unwrap() == 1).await;
    database.execute(&KILL.replace("pg_terminate_backend", "pg_cancel_backend")).await.unwrap();
    unavailable(soon("the end of the statement", running).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_an_outage_that_names_the_cause() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = impatient(&format!("postgresql://me:s3cret@127.0.0.1:{port}/portal"), Duration::from_secs(5));
    let text = unavailable(store.probe().await);
    assert!(
        text.starts_with("the database is unavailable: no connection can be opened: the database cannot be reached: ")
    );
    assert!(text.contains("Connection refused") && !text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_needs_no_restart_of_the_program() {
    let mut server = OwnServer::start(&checkout(), &[], &[]).unwrap();
    let store = impatient(&server.url("postgres"), Duration::from_secs(5));
    for _ in 0..2 {
        store.probe().await.unwrap();
        let open = accounts(&store).await;
        server.stop();
        unavailable(open.commit().await);
        let text = unavailable(store.probe().await);
        assert!(text.contains("Connection refused"), "{text}");
        server.start_again().unwrap();
        until("the store recovers", async || store.probe().await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_no_pooler() {
    let (_database, store) = store().await;
    assert!(!store.behind_transaction_pooler().await.unwrap());
    let before = store.checkouts();
    store.probe().await.unwrap();
    assert_eq!(store.checkouts(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_database_are_named() {
    let server = OwnServer::start(&checkout(), &[], &[]).unwrap();
    let url = server.url("postgres");
    let wrong = impatient(&url.replace(server.password(), "wrong"), Duration::from_secs(5));
    let text = unavailable(wrong.probe().await);
    assert!(text.contains("password authentication failed for user \"portal\""), "{text}");
    let missing = impatient(&server.url("missing"), Duration::from_secs(5));
    let text = unavailable(missing.probe().await);
    assert!(text.contains("database \"missing\" does not exist"), "{text}");
}

/// Between the store and a server: accepts connections and, while the network is down, passes nothing on and says nothing.
async fn network(to: u16) -> (u16, Arc<AtomicBool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let up = Arc::new(AtomicBool::new(true));
    let is_up = up.clone();
    tokio::spawn(async move {
        let mut swallowed = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            if is_up.load(Ordering::Relaxed) {
                tokio::spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            } else {
                swallowed.push(client);
            }
        }
    });
    (port, up)
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_connect_that_are_never_answered_are_given_up() {
    let server = OwnServer::start(&checkout(), &[], &[]).unwrap();
    let (port, up) = network(server.port()).await;
    let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let store = impatient(&url, Duration::from_secs(5));
    up.store(false, Ordering::Relaxed);
    // More callers than connections: all attempts hang.
    for _ in 0..3 {
        unavailable(store.probe().await);
    }
    up.store(true, Ordering::Relaxed);
    until("the store recovers", async || store.probe().await.is_ok()).await;
}
