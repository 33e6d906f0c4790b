//! Keys as gateways hold them: the port `KeyFeedReader`.

use std::time::Duration;

use futures_util::future::join;
use portal_accounts::contract::cleared;
use portal_authz::action::RevokeKey;
use portal_kernel::{Change, Timestamp};

use super::keys::by_secret;
use super::{Owner, Ports, at, kid, may_follow, new_secret, restricted};
use crate::{
    AccountStanding, ApiKey, ApiKeysTx, FeedHead, FeedPosition, FeedRecord, KeyChanges, Kid, Overlap, Rotation,
};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(10);

/// The records of a key, sorted by kid, those of ended secrets included.
fn records(key: &ApiKey, ended: &[FeedRecord], account_is_active: bool) -> Vec<FeedRecord> {
    let of = |secret| FeedRecord {
        kid: crate::KeySecret::clone(secret).kid,
        stored: by_secret(key, secret),
        account_is_active,
    };
    let mut records: Vec<_> = key.secrets.iter().map(of).chain(ended.iter().cloned()).collect();
    records.sort_unstable_by_key(|record| record.kid);
    records
}

async fn head(ports: Ports<'_>) -> FeedHead {
    ports.feed.head(&may_follow()).await.expect("where the feed stands")
}

async fn ask(ports: Ports<'_>, since: &FeedPosition, wait: Duration) -> Option<KeyChanges> {
    ports.feed.changes(&may_follow(), since.clone(), wait).await.expect("an answer")
}

async fn told(ports: Ports<'_>, since: &FeedHead) -> KeyChanges {
    ask(ports, &since.position, Duration::ZERO).await.expect("a position of this store")
}

async fn live(ports: Ports<'_>, after: Option<Kid>, most: usize) -> Vec<FeedRecord> {
    ports.feed.live(&may_follow(), after, most).await.expect("a page")
}

/// Adds a key as the use case does.
async fn make(ports: Ports<'_>, owner: &Owner, key: &ApiKey) {
    adding(ports, owner, key).await.commit().await.expect("a commit");
}

async fn adding(ports: Ports<'_>, owner: &Owner, key: &ApiKey) -> Box<dyn ApiKeysTx> {
    let mut tx = ports.begin().await;
    tx.keys().insert(&owner.may_create(), super::new(key)).await.expect("a key is added");
    tx.changes().changed(Change::Key(key.id)).await.expect("a change");
    tx
}

async fn rotate(ports: Ports<'_>, owner: &Owner, key: &ApiKey, number: u32) -> ApiKey {
    let mut tx = ports.begin().await;
    let overlap = Overlap::parse(Duration::from_mins(1)).expect("an overlap");
    // From then on the secret before counts for a minute, by a clock that is far ahead of the server's.
    let rotation = Rotation { secret: new_secret(number), at: at(u64::from(number)), overlap };
    let rotated = tx.keys().rotate(owner.may(key), rotation).await.expect("a rotation");
    tx.changes().changed(Change::Key(key.id)).await.expect("a change");
    tx.commit().await.expect("a commit");
    rotated
}

async fn revoke(ports: Ports<'_>, owner: &Owner, key: &ApiKey) -> ApiKey {
    let mut tx = ports.begin().await;
    let revoked = tx.keys().revoke(owner.may::<RevokeKey>(key), at(99)).await.expect("a revocation");
    tx.changes().changed(Change::Key(key.id)).await.expect("a change");
    tx.commit().await.expect("a commit");
    revoked
}

async fn delete(ports: Ports<'_>, owner: &Owner) {
    let mut tx = ports.accounts.begin().await.expect("a transaction begins");
    tx.users().delete(&cleared(), owner.0.id).await.expect("a person is deleted");
    tx.changes().changed(Change::Account(owner.account())).await.expect("a change");
    tx.commit().await.expect("a commit");
}

/// Each secret that has not ended is in one page, in the order of kids: the newest of a key, the one before it, and that of a stopped key;
/// none of a key that was revoked or is over.
pub async fn pages_hold_every_live_secret_once(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    assert_eq!(live(ports, None, 9).await, []);
    let over = Timestamp::from_unix_seconds(1_000_000_000).expect("a year that can be represented");
    let rotated = ApiKey { policy: restricted(), ..owner.key(1) };
    let stopped = ApiKey { disabled_at: Some(at(9)), ..other.key(2) };
    let (revoked, ended) =
        (owner.key(3), ApiKey { created_at: over.minus(LONG), expires_at: Some(over), ..owner.key(4) });
    for (owner, key) in [(&owner, &rotated), (&other, &stopped), (&owner, &revoked), (&owner, &ended)] {
        make(ports, owner, key).await;
    }
    let rotated = rotate(ports, &owner, &rotated, 5).await;
    revoke(ports, &owner, &revoked).await;
    let mut expected = [records(&rotated, &[], true), records(&stopped, &[], true)].concat();
    expected.sort_unstable_by_key(|record| record.kid);
    assert_eq!(expected.len(), 3);
    assert_eq!(live(ports, None, 9).await, expected);
    assert_eq!(live(ports, None, 2).await, expected[..2]);
    assert_eq!(live(ports, Some(expected[1].kid), 2).await, expected[2..]);
    assert_eq!(live(ports, Some(kid(9)), 2).await, []);
}

/// Whoever reads pages after a position is told nothing that the pages hold already, if nobody changes anything.
pub async fn what_was_committed_before_is_no_change(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    make(ports, &owner, &owner.key(1)).await;
    let head = head(ports).await;
    let told = told(ports, &head).await;
    assert_eq!((told.keys, told.accounts), (Vec::new(), Vec::new()));
    assert!(told.head.at >= head.at);
}

/// A change is told as the whole key at the time of the answer, with secrets that have ended; and not again from the new position on.
pub async fn a_change_is_told_once_with_all_secrets_of_the_key(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, other) = (owner.key(1), owner.key(2));
    make(ports, &owner, &other).await;
    let since = head(ports).await;
    make(ports, &owner, &key).await;
    let first = told(ports, &since).await;
    assert_eq!(first.keys, records(&key, &[], true));
    assert_eq!(first.accounts, []);
    let once = rotate(ports, &owner, &key, 3).await;
    let twice = rotate(ports, &owner, &once, 4).await;
    let revoked = revoke(ports, &owner, &twice).await;
    let second = told(ports, &first.head).await;
    assert_eq!(second.keys.len(), 3);
    assert!(second.keys.iter().all(|record| record.stored.revoked_at == Some(at(99))));
    assert!(second.keys.iter().all(|record| record.stored.secret_revoked_at.is_some()));
    let first_kid = key.secrets.newest.kid;
    let oldest: Vec<_> = second.keys.iter().filter(|record| record.kid == first_kid).cloned().collect();
    assert_eq!(oldest[0].stored.secret_revoked_at, Some(at(4)), "the second rotation ended it");
    assert_eq!(second.keys, records(&revoked, &oldest, true));
    assert_eq!(told(ports, &second.head).await.keys, []);
    // A position can be used again.
    assert_eq!(told(ports, &since).await.keys, second.keys);
}

/// A transaction that began before the position, or before answers that others were told in, is told once it ends. Until then nobody
/// waits for it.
pub async fn a_transaction_that_ends_late_is_told_and_delays_nobody(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let (late, later) = (owner.key(1), owner.key(2));
    let held = adding(ports, &owner, &late).await;
    let mut since = head(ports).await;
    let second = adding(ports, &owner, &later).await;
    for number in 3..6 {
        make(ports, &other, &other.key(number)).await;
        let answer = told(ports, &since).await;
        assert_eq!(answer.keys, records(&other.key(number), &[], true), "it, and nothing else");
        since = answer.head;
    }
    // In the other order than they began.
    second.commit().await.expect("a commit");
    let answer = told(ports, &since).await;
    assert_eq!(answer.keys, records(&later, &[], true));
    held.commit().await.expect("a commit");
    let answer = told(ports, &answer.head).await;
    assert_eq!(answer.keys, records(&late, &[], true));
    assert_eq!(told(ports, &answer.head).await.keys, []);
}

/// A change that was not committed is none.
pub async fn what_is_rolled_back_is_not_told(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let since = head(ports).await;
    let undone = adding(ports, &owner, &owner.key(1)).await;
    undone.rollback().await.expect("a rollback");
    assert_eq!(told(ports, &since).await.keys, []);
    assert_eq!(live(ports, None, 9).await, []);
}

/// An account is told by its state, without its keys; those say of themselves, where they are told, whose they are.
pub async fn an_account_is_told_as_it_stands(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    make(ports, &owner, &key).await;
    let since = head(ports).await;
    delete(ports, &owner).await;
    let answer = told(ports, &since).await;
    assert_eq!(answer.keys, []);
    assert_eq!(answer.accounts, [AccountStanding { account: owner.account(), is_active: false }]);
    let revoked = revoke(ports, &owner, &key).await;
    assert_eq!(told(ports, &answer.head).await.keys, records(&revoked, &[], false));
}

/// Whoever waits gets the answer when there is something to tell, and not at the end of the wait.
pub async fn whoever_waits_is_told_at_once(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    let since = head(ports).await;
    let (answer, ()) = join(ask(ports, &since.position, LONG), make(ports, &owner, &key)).await;
    let answer = answer.expect("a position of this store");
    assert_eq!(answer.keys, records(&key, &[], true));
    assert!(answer.waited < LONG / 2, "{:?}", answer.waited);
}

/// If nothing happens, the answer at the end of the wait says up to when.
pub async fn whoever_waits_in_vain_is_told_where_the_feed_stands(ports: Ports<'_>) {
    let since = head(ports).await;
    let wait = Duration::from_millis(30);
    let answer = ask(ports, &since.position, wait).await.expect("a position of this store");
    assert_eq!((answer.keys, answer.accounts), (Vec::new(), Vec::new()));
    assert!(answer.waited >= wait && answer.waited < LONG, "{:?}", answer.waited);
    assert!(answer.head.at.since(since.at) >= answer.waited, "it was asked at the end of the wait");
}

/// What this store never gave, though it looks alike, is not taken for a position of it.
pub async fn a_position_of_another_store_is_none(ports: Ports<'_>) {
    for text in [
        "9:9:",
        "1:2:3",
        "2:1:",
        "1",
        "1:1",
        "0:1:",
        "1:1::",
        ":::",
        "1:5:4,2",
        "9223372036854775807:9223372036854775807:",
    ] {
        let position = text.parse().expect("the form of a position");
        let outcome = ask(ports, &position, Duration::ZERO).await;
        if text == "9:9:" {
            assert!(outcome.is_some(), "everything is later than that");
        } else {
            assert_eq!(outcome, None, "{text}");
        }
    }
}
