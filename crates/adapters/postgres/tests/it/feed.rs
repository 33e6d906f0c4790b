//! Every replica hears of every committed change, once, soon, and knows when it may not have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portal_dev_postgres::testing::OwnServer;
use portal_kernel::{Change, ChangeFeed, ChangeListener};
use portal_postgres::testing::TestDatabase;
use portal_postgres::{PgFeed, PgStore};
use tokio::task::JoinHandle;

use crate::support::{accounts, checkout, database, soon, store, until};

/// What a replica heard.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

const EVERYTHING: &str = "everything";

impl ChangeListener for Heard {
    fn changed(&self, change: &Change) {
        self.0.lock().expect("a lock").push(change.subject());
    }

    fn missed(&self) {
        self.0.lock().expect("a lock").push(EVERYTHING.to_owned());
    }
}

impl Heard {
    fn since_start(&self) -> Vec<String> {
        self.0.lock().expect("a lock").iter().skip(1).cloned().collect()
    }

    async fn hears(&self, what: &str) {
        until(what, async || self.0.lock().expect("a lock").iter().any(|heard| heard == what)).await;
    }
}

/// Another process on the same database.
struct Replica {
    feed: Arc<PgFeed>,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
    store: PgStore,
}

impl Replica {
    async fn start(database: &TestDatabase) -> Self {
        let store = database.store(2).expect("a store");
        let (feed, heard) = (Arc::new(store.feed()), Arc::new(Heard::default()));
        feed.subscribe(heard.clone());
        assert!(!feed.is_current(), "nothing was read yet");
        let running = feed.clone();
        let task = tokio::spawn(async move {
            running.run().await;
        });
        let replica = Self { feed, heard, task, store };
        until("the feed is current", async || replica.feed.is_current()).await;
        replica
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn session(name: &str) -> Change {
    Change::Session(name.to_owned())
}

async fn commit(store: &PgStore, name: &str) {
    let mut tx = accounts(store).await;
    tx.changes().changed(session(name)).await.expect("a change");
    tx.commit().await.expect("a commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_heard_once_and_what_is_rolled_back_never() {
    let (database, store) = store().await;
    let replica = Replica::start(&database).await;
    let mut undone = accounts(&store).await;
    undone.changes().changed(session("undone")).await.unwrap();
    undone.rollback().await.unwrap();
    for name in ["one", "two", "three"] {
        commit(&store, name).await;
    }
    replica.heard.hears("three").await;
    assert_eq!(replica.heard.since_start(), ["one", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_hears_of_it_before_the_commit_returns() {
    let (_database, store) = store().await;
    // Not running: only the commit itself can tell.
    let (feed, heard) = (store.feed(), Arc::new(Heard::default()));
    feed.subscribe(heard.clone());
    commit(&store, "mine").await;
    assert_eq!(*heard.0.lock().unwrap(), ["mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_ends_late_is_not_missed_and_delays_nobody() {
    let (database, store) = store().await;
    let replica = Replica::start(&database).await;
    let mut late = accounts(&store).await;
    late.changes().changed(session("late")).await.unwrap();
    for number in 0..5 {
        let name = format!("meanwhile-{number}");
        commit(&store, &name).await;
        replica.heard.hears(&name).await;
    }
    late.commit().await.unwrap();
    replica.heard.hears("late").await;
    commit(&store, "after").await;
    replica.heard.hears("after").await;
    let heard = replica.heard.since_start();
    let mut once = heard.clone();
    once.dedup();
    assert_eq!(heard, once, "rows that are read again are not told again");
    assert_eq!(heard.len(), 7, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_commit_everybody_who_listens_is_rung_up() {
    let database = database().await;
    let writer = Replica::start(&database).await;
    let (listener, mut connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    let (ring, mut rings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                let _ = ring.send(notification.channel().to_owned());
            }
        }
    });
    listener.batch_execute("LISTEN portal_changes").await.unwrap();
    for name in ["one", "two"] {
        commit(&writer.store, name).await;
        assert_eq!(soon("the ring", rings.recv()).await.as_deref(), Some("portal_changes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bell_it_is_heard_within_a_second() {
    let database = database().await;
    let replica = Replica::start(&database).await;
    for name in ["silent-1", "silent-2", "silent-3"] {
        // Written beside the program: nobody rings.
        let written = std::time::Instant::now();
        database.execute(&format!("INSERT INTO changes (kind, subject) VALUES ('session', '{name}')")).await.unwrap();
        replica.heard.hears(name).await;
        assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_later_version_may_concern_everything() {
    let database = database().await;
    let replica = Replica::start(&database).await;
    database.execute("INSERT INTO changes (kind, subject) VALUES ('galaxy', 'gal_1')").await.unwrap();
    until("everything is forgotten", async || replica.heard.since_start() == [EVERYTHING]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_cannot_ask_is_not_current_and_hears_later_what_it_missed() {
    let (database, store) = store().await;
    let replica = Replica::start(&database).await;
    let mut unfinished = database.session().await.unwrap();
    // All questions wait for this lock, which also holds back nobody else's changes.
    unfinished.execute("BEGIN; LOCK TABLE changes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    unfinished.execute("INSERT INTO changes (kind, subject) VALUES ('session', 'stalled')").await.unwrap();
    until("the feed is behind", async || !replica.feed.is_current()).await;
    unfinished.execute("COMMIT").await.unwrap();
    replica.heard.hears("stalled").await;
    database.refuse_connections(true).await.unwrap();
    until("the feed is behind", async || !replica.feed.is_current()).await;
    database.refuse_connections(false).await.unwrap();
    commit(&store, "back").await;
    replica.heard.hears("back").await;
    assert!(replica.feed.is_current());
    assert_eq!(replica.heard.since_start(), ["stalled", "back"]);
}

/// It may be another one, which lacks the last of what the one before had.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_server_that_started_anew_anything_may_have_been_missed() {
    let mut server = OwnServer::start(&checkout(), &[], &[]).unwrap();
    let database = TestDatabase::create(&server.url("postgres")).await.unwrap();
    let replica = Replica::start(&database).await;
    commit(&database.store(2).unwrap(), "before").await;
    replica.heard.hears("before").await;
    server.stop();
    until("the feed is behind", async || !replica.feed.is_current()).await;
    server.start_again().unwrap();
    until("the feed is current", async || replica.feed.is_current()).await;
    assert_eq!(replica.heard.since_start(), ["before", EVERYTHING]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_kept_for_an_hour_from_the_end_of_their_transaction() {
    let database = database().await;
    database
        .execute(
            "INSERT INTO changes (xid, kind, subject) VALUES (5, 'session', 'old'), (15, 'session', 'young');
             INSERT INTO change_marks (at, oldest) VALUES
                 (now() - interval '3 hours', 4), (now() - interval '61 minutes', 10), (now() - interval '59 minutes', 20)",
        )
        .await
        .unwrap();
    let _replica = Replica::start(&database).await;
    until("old rows are deleted", async || {
        database.texts("SELECT subject AS text FROM changes").await.unwrap() == ["young"]
    })
    .await;
    let marks =
        database.count("SELECT count(*) FROM change_marks WHERE at < now() - interval '2 hours'").await.unwrap();
    assert_eq!(marks, 0);
}
