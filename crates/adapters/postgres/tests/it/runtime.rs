//! Connections belong to the main runtime: a web worker that opened one and is busy since stalls nobody else.

use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;

use portal_postgres::PgStore;

use crate::support::{soon, store};

/// A thread with a runtime of its own, as web workers have, which does something with the store and then blocks until told.
fn worker(
    store: Arc<PgStore>,
    work: impl AsyncFnOnce(&PgStore) + Send + 'static,
) -> (mpsc::Receiver<()>, impl FnOnce()) {
    let (blocked, is_blocked) = mpsc::channel();
    let (go_on, told) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            work(&store).await;
            blocked.send(()).expect("somebody listens");
            // Not an await: nothing else on this thread's runtime goes on.
            let _ = told.recv();
        });
    });
    let release = move || {
        drop(go_on);
        thread.join().expect("the worker ends");
    };
    (is_blocked, release)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_does_not_stall_the_connection_that_it_opened() {
    let (database, store) = store().await;
    let store = Arc::new(store);
    let (is_blocked, release) = worker(store.clone(), async |store| {
        store.probe().await.expect("an answer");
    });
    is_blocked.recv().unwrap();
    for _ in 0..100 {
        soon("a query on the worker's connection", store.probe()).await.unwrap();
    }
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'portal'";
    assert_eq!(database.count(sessions).await.unwrap(), 1, "it was the worker's connection");
    release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_blocks_while_it_opens_a_connection_stalls_nobody() {
    let (_database, store) = store().await;
    let store = Arc::new(store);
    let (is_blocked, release) = worker(store.clone(), async |store| {
        let mut asking = Box::pin(store.probe());
        // Asked for a connection, which then finds nobody who waits for it.
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        tokio::task::yield_now().await;
        drop(asking);
    });
    is_blocked.recv().unwrap();
    soon("a query beside it", store.probe()).await.unwrap();
    release();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_end_while_they_open_connections_do_not_use_the_pool_up() {
    let (_database, store) = store().await;
    let store = Arc::new(store);
    // More than the pool has connections.
    for _ in 0..8 {
        let (is_blocked, release) = worker(store.clone(), async |store| {
            let asking = std::pin::pin!(store.probe());
            assert!(asking.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        });
        is_blocked.recv().unwrap();
        release();
    }
    soon("a query after them", store.probe()).await.unwrap();
    soon("a transaction after them", crate::support::accounts(&store)).await.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_where_the_worker_that_began_it_is_gone() {
    let (_database, store) = store().await;
    let store = Arc::new(store);
    let mut begun = Vec::new();
    for _ in 0..2 {
        let (store, (give, take)) = (store.clone(), mpsc::channel());
        let (is_blocked, release) = worker(store, async move |store| {
            give.send(crate::support::accounts(store).await).expect("somebody listens");
        });
        is_blocked.recv().unwrap();
        begun.push(take.recv().unwrap());
        release();
    }
    for tx in begun {
        soon("a commit", tx.commit()).await.unwrap();
    }
}
