//! What is promised of when keys were last used.

use portal_kernel::{AccountId, ApiKeyId, PageRequest, PageSize, Timestamp};

use super::{Ports, at, look_up};
use crate::KeyPatch;

async fn used(ports: Ports<'_>, uses: &[((AccountId, ApiKeyId), Timestamp)]) {
    ports.key_activity.used(&look_up(), uses).await.expect("the uses are written");
}

/// A use shows with its key, the latest one of all that were told in whatever order; a key that was not used has none.
pub async fn a_last_use_only_moves_on(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let (one, two, three) = (owner.key(1), owner.key(2), other.key(3));
    for (owner, key) in [(&owner, &one), (&owner, &two), (&other, &three)] {
        ports.insert(owner, key).await;
    }
    let of = |key: &crate::ApiKey, second| ((key.account, key.id), at(second));
    for uses in [&[of(&one, 10), of(&three, 20)][..], &[of(&one, 12), of(&three, 19)], &[of(&one, 11)], &[]] {
        used(ports, uses).await;
    }
    for (owner, key, expected) in [(&owner, &one, Some(12)), (&owner, &two, None), (&other, &three, Some(20))] {
        let found = ports.find(owner, key.id).await.expect("a key");
        assert_eq!(found.last_used_at, expected.map(at));
    }
    let request = PageRequest { size: PageSize::default(), after: None };
    let page = ports.keys.page(&owner.may_read(), request).await.expect("a page");
    let listed: Vec<_> = page.items.iter().map(|key| (key.id, key.last_used_at)).collect();
    assert_eq!(listed, [(two.id, None), (one.id, Some(at(12)))]);
}

/// Whatever is done to a key is no use of it, and leaves the last one as it was.
pub async fn a_change_is_no_use(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, unused) = (owner.key(1), owner.key(2));
    for key in [&key, &unused] {
        ports.insert(&owner, key).await;
    }
    used(ports, &[((key.account, key.id), at(10))]).await;
    for (key, expected) in [(&key, Some(at(10))), (&unused, None)] {
        let found = ports.find(&owner, key.id).await.expect("a key");
        let mut tx = ports.begin().await;
        let changed = tx.keys().update(owner.may(&found), KeyPatch::default()).await.expect("a change");
        let stopped = tx.keys().disable(owner.may(&changed), Some(at(30))).await.expect("a stop");
        tx.commit().await.expect("a commit");
        assert_eq!((changed.last_used_at, stopped.last_used_at), (expected, expected));
        ports.revoke(&owner, &stopped, at(40)).await.expect("an end");
        assert_eq!(ports.find(&owner, key.id).await.expect("a key").last_used_at, expected);
    }
}
