//! What gateways are told of keys is all there is, also where nobody rings, or rows were deleted.

use std::time::Duration;

use portal_api_keys::contract::may_follow;
use portal_api_keys::{FeedPosition, KeyChanges, KeyFeedReader};
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;

use crate::support::{soon, store};

const LONG: Duration = Duration::from_secs(10);

/// An account with a key, written beside the program.
const KEY: &str = "
    INSERT INTO accounts (id, name, provider_organization_id, created_at)
        VALUES ('00000000-0000-0000-0000-00000000000a', 'Acme', 'org_1', now());
    INSERT INTO users (id, provider_id, personal_account_id, created_at)
        VALUES ('00000000-0000-0000-0000-00000000000b', 'user_1', '00000000-0000-0000-0000-00000000000a', now());
    INSERT INTO api_keys (account_id, id, name, environment, made_by, created_at, revision)
        VALUES ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000c', 'test', 'live',
            '00000000-0000-0000-0000-00000000000b', now(), 1);
    INSERT INTO key_locator (kid, account_id) VALUES ('000000000001', '00000000-0000-0000-0000-00000000000a');
    INSERT INTO api_key_secrets (account_id, kid, key_id, digest, pepper_version, created_at, revision)
        VALUES ('00000000-0000-0000-0000-00000000000a', '000000000001', '00000000-0000-0000-0000-00000000000c',
            sha256(''), 1, now(), 1)";

const CHANGE: &str = "INSERT INTO changes (kind, subject) VALUES ('key', 'key_0000000000000000000000000c')";

async fn head(store: &PgStore) -> FeedPosition {
    store.head(&may_follow()).await.expect("where the feed stands").position
}

async fn told(store: &PgStore, since: &FeedPosition, wait: Duration) -> Option<KeyChanges> {
    soon("the answer", store.changes(&may_follow(), since.clone(), wait)).await.expect("an answer")
}

async fn prepared() -> (TestDatabase, PgStore) {
    let (database, store) = store().await;
    database.execute(KEY).await.expect("a key");
    (database, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_hears_of_it_within_a_second_although_nobody_rings() {
    let (database, store) = prepared().await;
    let since = head(&store).await;
    // The feed of this store does not run, and what is written beside the program rings nowhere.
    let (answer, ()) = tokio::join!(told(&store, &since, LONG), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        database.execute(CHANGE).await.unwrap();
    });
    let answer = answer.unwrap();
    assert_eq!(answer.keys.len(), 1);
    assert!(answer.waited < Duration::from_secs(1), "{:?}", answer.waited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_rings_nowhere_and_ends_late_is_told() {
    let (database, store) = prepared().await;
    let mut held = database.session().await.unwrap();
    held.execute(&format!("BEGIN; {CHANGE}")).await.unwrap();
    let mut since = head(&store).await;
    // Others begin and end meanwhile, so that the held one is far behind.
    for _ in 0..3 {
        database.execute("INSERT INTO changes (kind, subject) VALUES ('session', 'sess_1')").await.unwrap();
        let answer = told(&store, &since, Duration::ZERO).await.unwrap();
        assert_eq!(answer.keys, []);
        since = answer.head.position;
    }
    held.execute("COMMIT").await.unwrap();
    let answer = told(&store, &since, LONG).await.unwrap();
    assert_eq!(answer.keys.len(), 1);
    assert_eq!(told(&store, &answer.head.position, Duration::ZERO).await.unwrap().keys, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_behind_which_rows_may_be_missing_is_too_old() {
    let (database, store) = prepared().await;
    let position = head(&store).await;
    let oldest: i64 = position.as_str().split(':').next().unwrap().parse().unwrap();
    // What is before a mark may have been deleted once it is an hour old; of marks themselves the oldest ones are.
    for (marks, is_kept) in [
        (vec![(61, oldest)], true),
        (vec![(61, oldest + 1)], false),
        (vec![(61, oldest), (58, oldest + 1)], true),
        (vec![(180, oldest - 1), (61, oldest + 1), (0, oldest + 2)], false),
        (vec![(0, oldest)], true),
        (vec![(0, oldest + 1)], false),
        (vec![], true),
    ] {
        database.execute("DELETE FROM change_marks").await.unwrap();
        for (minutes, oldest) in &marks {
            let mark = format!(
                "INSERT INTO change_marks (at, oldest) VALUES (now() - interval '{minutes} minutes', {oldest})"
            );
            database.execute(&mark).await.unwrap();
        }
        assert_eq!(told(&store, &position, Duration::ZERO).await.is_some(), is_kept, "{marks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_later_version_or_too_many_send_the_reader_back_to_the_start() {
    let (database, store) = prepared().await;
    let since = head(&store).await;
    database.execute("INSERT INTO changes (kind, subject) VALUES ('galaxy', 'gal_1')").await.unwrap();
    assert_eq!(told(&store, &since, Duration::ZERO).await, None);
    let since = head(&store).await;
    database.execute(&format!("{CHANGE}; {CHANGE}")).await.unwrap();
    assert_eq!(told(&store, &since, Duration::ZERO).await.unwrap().keys.len(), 1, "each key once");
    let many = |kind: &str, count: u32| {
        format!(
            "INSERT INTO changes (kind, subject) SELECT '{kind}', 'key_0000000000000000000000000c' FROM generate_series(1, {count})"
        )
    };
    database.execute(&many("key", 9_998)).await.unwrap();
    database.execute(&many("session", 9_998)).await.unwrap();
    assert!(told(&store, &since, Duration::ZERO).await.is_some());
    database.execute(CHANGE).await.unwrap();
    assert_eq!(told(&store, &since, Duration::ZERO).await, None);
}
