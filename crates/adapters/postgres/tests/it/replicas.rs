//! Which replicas count, by the clock of the server.

use portal_api_keys::contract::look_up;
use portal_api_keys::{DemandBoard, Heard};
use portal_kernel::ReplicaId;

use crate::support::store;

fn replica(number: u32) -> ReplicaId {
    format!("rep_{number:026}").parse().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_counts_for_five_seconds_and_is_forgotten_after_a_minute() {
    let (database, store) = store().await;
    let round = async |number, round| store.exchange(&look_up(), replica(number), round, &[]).await.unwrap();
    round(1, 1).await;
    assert_eq!(round(2, 1).await, Heard { others: 1, limits: Vec::new() });
    for (age, others, known) in [("4 seconds", 1, 2), ("6 seconds", 0, 2), ("59 seconds", 0, 2), ("61 seconds", 0, 1)] {
        let aged = format!("UPDATE replicas SET reported_at = now() - interval '{age}' WHERE round = 1");
        database.execute(&aged).await.unwrap();
        assert_eq!(round(2, 2).await.others, others, "{age}");
        round(2, 3).await;
        assert_eq!(database.count("SELECT count(*) FROM replicas").await.unwrap(), known, "{age}");
        database.execute("UPDATE replicas SET round = 1 WHERE round = 3").await.unwrap();
    }
    round(1, 1).await;
    assert_eq!(round(2, 4).await.others, 1, "it may come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forgotten_replica_told_goes_with_it() {
    let (database, store) = store().await;
    database
        .execute(
            "INSERT INTO accounts (id, name, created_at) VALUES ('00000000-0000-0000-0000-000000000001', 'Acme', now());
             INSERT INTO users (id, provider_id, personal_account_id, created_at)
                 SELECT gen_random_uuid(), 'user_1', id, now() FROM accounts;
             INSERT INTO api_keys (account_id, id, name, environment, made_by, created_at, revision, scopes, models, networks, rate_limits)
                 SELECT personal_account_id, gen_random_uuid(), 'ci', 'live', id, now(), 1, '{inference}', '{}', '{}', '[]' FROM users;
             INSERT INTO replicas VALUES (gen_random_uuid(), 1, now() - interval '2 minutes'), (gen_random_uuid(), 1, now());
             INSERT INTO rate_demands SELECT account_id, api_keys.id, 'a', replicas.id, 5, 50 FROM api_keys, replicas",
        )
        .await
        .unwrap();
    let heard = store.exchange(&look_up(), replica(1), 1, &[]).await.unwrap();
    assert_eq!((heard.others, heard.limits[0].replicas), (1, 1));
    assert_eq!(database.count("SELECT count(*) FROM rate_demands").await.unwrap(), 1);
}
