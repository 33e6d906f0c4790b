//! The end of keys whose account is gone: the port `ApiKeyRepository`.

use portal_accounts::contract::cleared;
use portal_kernel::{AccountId, ApiKeyId, Timestamp};

use super::{Owner, Ports, at, ending, kid, look_up};
use crate::ApiKey;

/// Two keys of somebody who was deleted, the second revoked before, and one of somebody else.
async fn world(ports: Ports<'_>) -> (Owner, [ApiKey; 2], Owner, ApiKey) {
    let (gone, other) = (ports.owner(1).await, ports.owner(2).await);
    let (live, revoked, living) = (gone.key(1), gone.key(2), other.key(3));
    for (owner, key) in [(&gone, &live), (&gone, &revoked), (&other, &living)] {
        ports.insert(owner, key).await;
    }
    let revoked = ports.revoke(&gone, &revoked, at(5)).await.expect("a revocation");
    let mut tx = ports.accounts.begin().await.expect("a transaction begins");
    tx.users().delete(&cleared(), gone.0.id).await.expect("a person is deleted");
    tx.commit().await.expect("a commit");
    (gone, [live, revoked], other, living)
}

async fn end(ports: Ports<'_>, accounts: Option<Vec<AccountId>>, at: Timestamp, most: usize) -> Vec<ApiKeyId> {
    let mut tx = ports.begin().await;
    let ended = tx.keys().revoke_of_deleted(&ending(), accounts, at, most).await.expect("an answer");
    tx.commit().await.expect("a commit");
    ended.into_iter().map(|(_, key)| key).collect()
}

/// Of the keys of somebody who was deleted those end that had not, with their secrets, and no others; the second time there is nothing to do.
pub async fn keys_of_the_deleted_end_once(ports: Ports<'_>) {
    let (gone, [live, revoked], other, living) = world(ports).await;
    assert_eq!(end(ports, None, at(9), 10).await, [live.id]);
    assert_eq!(ports.find(&gone, live.id).await, Some(live.revoked(at(9))));
    assert_eq!(ports.find(&gone, revoked.id).await, Some(revoked), "it ended before");
    assert_eq!(ports.find(&other, living.id).await, Some(living));
    assert!(ports.credentials.key(&look_up(), kid(3)).await.expect("an answer").is_some());
    assert_eq!(end(ports, None, at(10), 10).await, []);
}

/// Where accounts are given, keys of no other end.
pub async fn keys_end_in_the_accounts_that_are_given(ports: Ports<'_>) {
    let (gone, [live, _], other, _) = world(ports).await;
    assert_eq!(end(ports, Some(vec![other.account()]), at(9), 10).await, [], "it was not deleted");
    assert_eq!(end(ports, Some(Vec::new()), at(9), 10).await, []);
    assert_eq!(end(ports, Some(vec![other.account(), gone.account()]), at(9), 10).await, [live.id]);
}

/// No more keys end at once than were asked for.
pub async fn keys_end_part_by_part(ports: Ports<'_>) {
    let (gone, _, _, _) = world(ports).await;
    for number in 4..7 {
        ports.insert(&gone, &gone.key(number)).await;
    }
    for expected in [3, 1, 0] {
        assert_eq!(end(ports, None, at(9), 3).await.len(), expected);
    }
}

/// A key that another transaction is ending is left to it: nobody waits, and nothing ends twice.
pub async fn a_key_that_somebody_else_ends_is_left_to_them(ports: Ports<'_>) {
    let (_, [live, _], _, _) = world(ports).await;
    let mut first = ports.begin().await;
    let ended = first.keys().revoke_of_deleted(&ending(), None, at(9), 10).await.expect("an answer");
    assert_eq!(ended.len(), 1);
    assert_eq!(end(ports, None, at(10), 10).await, []);
    first.rollback().await.expect("a rollback");
    assert_eq!(end(ports, None, at(11), 10).await, [live.id]);
}
