//! Changes of keys: the port `ApiKeyRepository`.

use std::time::Duration;

use futures_util::future::join;
use portal_authz::action::{ReadKeys, RotateKey};
use portal_kernel::StoreError;

use super::keys::{as_stored, by_secret, found_inside, presented};
use super::{Owner, Ports, at, kid, look_up, new, new_secret, restricted};
use crate::{ApiKey, KeyName, KeyPatch, KeySecret, Overlap, Rotation};

fn rotation(number: u32, second: u64, overlap: u64) -> Rotation {
    let overlap = Overlap::parse(Duration::from_secs(overlap)).expect("an overlap");
    Rotation { secret: new_secret(number), at: at(second), overlap }
}

async fn rotate(ports: Ports<'_>, owner: &Owner, key: &ApiKey, rotation: Rotation) -> Result<ApiKey, StoreError> {
    let mut tx = ports.begin().await;
    let rotated = tx.keys().rotate(owner.may(key), rotation).await;
    if rotated.is_ok() {
        tx.commit().await.expect("a commit");
    }
    rotated
}

async fn disable(ports: Ports<'_>, owner: &Owner, key: &ApiKey, second: Option<u64>) -> Result<ApiKey, StoreError> {
    let mut tx = ports.begin().await;
    let disabled = tx.keys().disable(owner.may(key), second.map(at)).await;
    if disabled.is_ok() {
        tx.commit().await.expect("a commit");
    }
    disabled
}

async fn update(ports: Ports<'_>, owner: &Owner, key: &ApiKey, patch: KeyPatch) -> Result<ApiKey, StoreError> {
    let mut tx = ports.begin().await;
    let updated = tx.keys().update(owner.may(key), patch).await;
    if updated.is_ok() {
        tx.commit().await.expect("a commit");
    }
    updated
}

/// The key is the same through every port.
async fn shows(ports: Ports<'_>, owner: &Owner, key: &ApiKey) {
    assert_eq!(ports.find(owner, key.id).await.as_ref(), Some(key));
    assert_eq!(found_inside(ports, owner, key).await.as_ref(), Some(key));
    assert_eq!(presented(ports, key).await, Some(as_stored(key)));
    let page = ports.keys.page(&owner.may_read(), portal_kernel::PageRequest::default()).await.expect("a page");
    assert!(page.items.contains(key), "{:?}", page.items);
}

/// What a patch names is written, what it does not name stays, and what it takes away is gone.
pub async fn an_update_shows_everywhere(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, other) = (owner.key(1), owner.key(2));
    ports.insert(&owner, &key).await;
    ports.insert(&owner, &other).await;
    let policy = restricted();
    let patch = KeyPatch {
        name: Some(KeyName::parse("another name").expect("a name")),
        scopes: Some(policy.scopes.clone()),
        models: Some(policy.models.clone()),
        networks: Some(policy.networks.clone()),
        rate_limits: Some(policy.rate_limits.clone()),
        expires_at: Some(Some(at(99))),
    };
    let updated = update(ports, &owner, &key, patch.clone()).await.expect("an update");
    let name = patch.name.expect("a name");
    assert_eq!(updated, ApiKey { name, policy, expires_at: Some(at(99)), revision: 2, ..key });
    shows(ports, &owner, &updated).await;
    let without_end = KeyPatch { expires_at: Some(None), ..KeyPatch::default() };
    let endless = update(ports, &owner, &updated, without_end).await.expect("an update");
    assert_eq!(endless, ApiKey { expires_at: None, revision: 3, ..updated });
    shows(ports, &owner, &endless).await;
    shows(ports, &owner, &other).await;
}

/// A stop shows everywhere, and so does its end.
pub async fn a_key_is_stopped_and_goes_on(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let stopped = disable(ports, &owner, &key, Some(9)).await.expect("a stop");
    assert_eq!(stopped, ApiKey { disabled_at: Some(at(9)), revision: 2, ..key.clone() });
    shows(ports, &owner, &stopped).await;
    let going_on = disable(ports, &owner, &stopped, None).await.expect("an end of the stop");
    assert_eq!(going_on, ApiKey { revision: 3, ..key });
    shows(ports, &owner, &going_on).await;
}

/// A new secret finds the key, and so does the one before it, which ends after the overlap. One before that has ended, but is still known.
pub async fn a_rotation_leaves_two_secrets(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, other) = (owner.key(1), owner.key(2));
    ports.insert(&owner, &key).await;
    ports.insert(&owner, &other).await;
    let first = key.secrets.newest.clone();
    let once = rotate(ports, &owner, &key, rotation(3, 10, 60)).await.expect("a rotation");
    let ending = KeySecret { expires_at: Some(at(70)), ..first.clone() };
    let newest = KeySecret { kid: kid(3), created_at: at(10), expires_at: None, revoked_at: None };
    assert_eq!(once.secrets.iter().collect::<Vec<_>>(), [&newest, &ending]);
    assert_eq!(once.revision, 2);
    shows(ports, &owner, &once).await;
    let by_first = ports.credentials.key(&look_up(), first.kid).await.expect("an answer");
    assert_eq!(by_first.as_deref(), Some(&by_secret(&once, &ending)));

    // Backwards in the order of kids and at the same time: the order is that of the rotations.
    let twice = rotate(ports, &owner, &once, rotation(0, 10, 0)).await.expect("a rotation");
    let kids: Vec<_> = twice.secrets.iter().map(|secret| secret.kid).collect();
    assert_eq!(kids, [kid(0), kid(3)]);
    shows(ports, &owner, &twice).await;
    let ended = KeySecret { revoked_at: Some(at(10)), ..ending };
    let by_first = ports.credentials.key(&look_up(), first.kid).await.expect("an answer");
    assert_eq!(by_first.as_deref(), Some(&by_secret(&twice, &ended)));
    shows(ports, &owner, &other).await;
}

/// A revocation ends every secret that has not ended before, and leaves the end of those that have.
pub async fn a_revocation_ends_all_secrets(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let mut key = owner.key(1);
    ports.insert(&owner, &key).await;
    for (number, second) in [(2, 10), (3, 20)] {
        key = rotate(ports, &owner, &key, rotation(number, second, 60)).await.expect("a rotation");
    }
    let revoked = ports.revoke(&owner, &key, at(30)).await.expect("a revocation");
    shows(ports, &owner, &revoked).await;
    for (number, end) in [(1, 20), (2, 30), (3, 30)] {
        let stored = ports.credentials.key(&look_up(), kid(number)).await.expect("an answer").expect("a key");
        assert_eq!(stored.secret_revoked_at, Some(at(end)), "{number}");
        assert_eq!(stored.revoked_at, Some(at(30)));
    }
}

/// Nothing is changed of what somebody else changed since it was read, and nothing in another account.
pub async fn a_change_of_what_was_changed_is_stale(ports: Ports<'_>) {
    let (owner, attacker) = (ports.owner(1).await, ports.owner(2).await);
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let current = disable(ports, &owner, &key, Some(9)).await.expect("a stop");
    let forged = ApiKey { account: attacker.account(), ..current.clone() };
    for (who, key) in [(&owner, &key), (&attacker, &forged)] {
        for outcome in [
            update(ports, who, key, KeyPatch::default()).await,
            disable(ports, who, key, None).await,
            rotate(ports, who, key, rotation(5, 10, 0)).await,
            ports.revoke(who, key, at(10)).await,
        ] {
            assert!(matches!(outcome, Err(StoreError::Stale)), "{outcome:?}");
        }
    }
    shows(ports, &owner, &current).await;
}

/// Who finds a key in order to change it waits until nobody else does, and finds it as the other one left it.
pub async fn who_wants_to_change_a_key_waits_for_others(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    assert!(first.keys().find_to_change(key.id).await.expect("an answer").is_some());
    let rotated = first.keys().rotate(owner.may(&key), rotation(2, 10, 60)).await.expect("a rotation");
    let (found, committed) = join(second.keys().find_to_change(key.id), first.commit()).await;
    committed.expect("a commit");
    let found = found.expect("an answer").expect("a key");
    let found = found.authorize::<ReadKeys>(&owner.principal()).expect("an owner reads the keys").into_inner();
    assert_eq!(found, rotated);
    let again = second.keys().rotate(owner.may::<RotateKey>(&found), rotation(3, 20, 60)).await.expect("a rotation");
    second.commit().await.expect("a commit");
    shows(ports, &owner, &again).await;
}

/// Nobody is kept from changing a key that there is not.
pub async fn a_key_that_there_is_not_is_none_to_change(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let mut tx = ports.begin().await;
    assert!(tx.keys().find_to_change(owner.key(1).id).await.expect("an answer").is_none());
    tx.commit().await.expect("a commit");
}

/// Live are the keys of the account that are neither revoked nor over; stopped ones are.
pub async fn live_keys_are_counted(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let over = |number, second| ApiKey { expires_at: Some(at(second)), ..owner.key(number) };
    let stopped = ApiKey { disabled_at: Some(at(5)), ..owner.key(4) };
    let keys = [owner.key(1), over(2, 50), over(3, 51), stopped, owner.key(5)];
    for key in &keys {
        ports.insert(&owner, key).await;
    }
    ports.insert(&other, &other.key(6)).await;
    ports.revoke(&owner, &keys[4], at(9)).await.expect("a revocation");
    let mut tx = ports.begin().await;
    let count = tx.keys().count_live(&owner.may_create(), at(50)).await.expect("a count");
    tx.commit().await.expect("a commit");
    assert_eq!(count, 3);
}

/// Who counts the live keys of an account waits for who counted them before, and counts what that one added.
pub async fn who_counts_live_keys_waits_for_others(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    assert_eq!(first.keys().count_live(&owner.may_create(), at(9)).await.expect("a count"), 0);
    first.keys().insert(&owner.may_create(), new(&key)).await.expect("a key is added");
    let may_create = owner.may_create();
    let (count, committed) = join(second.keys().count_live(&may_create, at(9)), first.commit()).await;
    committed.expect("a commit");
    assert_eq!(count.expect("a count"), 1);
    second.rollback().await.expect("a rollback");
}
