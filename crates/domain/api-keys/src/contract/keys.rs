//! Keys: the ports `ApiKeyRepository`, `ApiKeyReader::find` and `CredentialReader::key`.

use std::sync::Arc;

use futures_util::future::join;
use portal_accounts::contract::cleared;
use portal_authz::action::ReadKeys;
use portal_kernel::StoreError;

use super::{Owner, Ports, at, digest, kid, look_up, new, pepper_version, restricted};
use crate::{ApiKey, KeySecret, KeySecrets, KeyState, StoredKey};

/// The key by its newest secret.
pub(super) fn as_stored(key: &ApiKey) -> StoredKey {
    by_secret(key, &key.secrets.newest)
}

/// The key by one of its secrets.
pub(super) fn by_secret(key: &ApiKey, secret: &KeySecret) -> StoredKey {
    StoredKey {
        key: key.id,
        account: key.account,
        environment: key.environment,
        digest: digest(secret.kid),
        pepper_version: pepper_version(),
        policy: key.policy.clone(),
        secret_expires_at: secret.expires_at,
        secret_revoked_at: secret.revoked_at,
        expires_at: key.expires_at,
        disabled_at: key.disabled_at,
        revoked_at: key.revoked_at,
        revision: key.revision,
    }
}

pub(super) async fn presented(ports: Ports<'_>, key: &ApiKey) -> Option<StoredKey> {
    let found = ports.credentials.key(&look_up(), key.secrets.newest.kid).await;
    found.expect("a credential is looked up").map(Arc::unwrap_or_clone)
}

pub(super) async fn found_inside(ports: Ports<'_>, owner: &Owner, key: &ApiKey) -> Option<ApiKey> {
    let mut tx = ports.begin().await;
    let found = tx.keys().find(key.id).await.expect("a key is looked up");
    tx.commit().await.expect("a commit");
    found.map(|key| key.authorize::<ReadKeys>(&owner.principal()).expect("an owner reads the keys").into_inner())
}

async fn delete(ports: Ports<'_>, owner: &Owner) {
    let mut tx = ports.accounts.begin().await.expect("a transaction begins");
    tx.users().delete(&cleared(), owner.0.id).await.expect("a person is deleted");
    tx.commit().await.expect("a commit");
}

/// Unknown ids and unknown kids are none, whoever asks.
pub async fn an_unknown_key_is_none(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    assert_eq!(ports.find(&owner, key.id).await, None);
    assert_eq!(found_inside(ports, &owner, &key).await, None);
    assert_eq!(presented(ports, &key).await, None);
    assert_eq!(ports.service_credentials.service_token(&look_up(), kid(1)).await.expect("an answer"), None);
}

/// Several kids are looked up at once; those that there are not, and those of accounts that are not active, are left out.
pub async fn several_kids_find_their_keys(ports: Ports<'_>) {
    let (owner, leaving) = (ports.owner(1).await, ports.owner(2).await);
    let (first, second, dead) = (owner.key(1), owner.key(2), leaving.key(3));
    for (owner, key) in [(&owner, &first), (&owner, &second), (&leaving, &dead)] {
        ports.insert(owner, key).await;
    }
    delete(ports, &leaving).await;
    let kids = [1, 9, 3, 2].map(kid).to_vec();
    let mut found = ports.credentials.keys(&look_up(), kids).await.expect("an answer");
    found.sort_unstable_by_key(|(kid, _)| *kid);
    let expected = [&first, &second].map(|key| (key.secrets.newest.kid, Arc::new(as_stored(key))));
    assert_eq!(found, expected);
    assert_eq!(ports.credentials.keys(&look_up(), Vec::new()).await.expect("an answer"), []);
}

/// A key comes back as it was written, through every port, and its secret as digest and pepper version.
pub async fn a_key_is_read_back_as_written(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let restricted = ApiKey { policy: restricted(), expires_at: Some(at(9)), disabled_at: Some(at(8)), ..owner.key(3) };
    for key in [owner.key(1), owner.key(2), restricted] {
        ports.insert(&owner, &key).await;
        assert_eq!(ports.find(&owner, key.id).await, Some(key.clone()));
        assert_eq!(found_inside(ports, &owner, &key).await, Some(key.clone()));
        assert_eq!(presented(ports, &key).await, Some(as_stored(&key)));
    }
    let token = ports.service_credentials.service_token(&look_up(), kid(1)).await.expect("an answer");
    assert_eq!(token, None, "the kid of a key finds no service token");
}

/// A key of an account that is not active counts as none, and no other key does.
pub async fn a_key_dies_with_its_account(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let (key, living) = (owner.key(1), other.key(2));
    ports.insert(&owner, &key).await;
    ports.insert(&other, &living).await;
    delete(ports, &owner).await;
    assert_eq!(presented(ports, &key).await, None);
    assert_eq!(presented(ports, &living).await, Some(as_stored(&living)));
}

/// Whatever account a key names, it is written to the account that was checked.
pub async fn the_account_that_was_checked_is_the_one_written(ports: Ports<'_>) {
    let (owner, victim) = (ports.owner(1).await, ports.owner(2).await);
    let forged = ApiKey { account: victim.account(), ..owner.key(1) };
    ports.insert(&owner, &forged).await;
    let key = owner.key(1);
    assert_eq!(ports.find(&owner, key.id).await, Some(key.clone()));
    assert_eq!(presented(ports, &key).await, Some(as_stored(&key)));
    let page = ports.keys.page(&victim.may_read(), portal_kernel::PageRequest::default()).await.expect("a page");
    assert_eq!(page.items, []);
}

/// Nothing of a key is there before the commit or after a rollback, and its kid is free again.
pub async fn a_key_appears_with_its_commit(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    for commit in [false, true] {
        let mut tx = ports.begin().await;
        tx.keys().insert(&owner.may_create(), new(&key)).await.expect("a key is added");
        assert!(tx.keys().find(key.id).await.expect("an answer").is_some(), "its own transaction sees it");
        assert_eq!(ports.find(&owner, key.id).await, None);
        assert_eq!(presented(ports, &key).await, None);
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        assert_eq!(ports.find(&owner, key.id).await.is_some(), commit);
        assert_eq!(presented(ports, &key).await.is_some(), commit);
    }
}

/// A kid finds one key: a second one with it is a duplicate, also in another account. So is a second key with an id.
pub async fn a_kid_and_an_id_are_used_once(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let twin = ApiKey { secrets: key.secrets.clone(), ..other.key(2) };
    let namesake = ApiKey { id: key.id, ..owner.key(3) };
    for (who, second) in [(&other, twin), (&owner, namesake)] {
        let mut tx = ports.begin().await;
        let outcome = tx.keys().insert(&who.may_create(), new(&second)).await;
        assert!(matches!(outcome, Err(StoreError::Duplicate { .. })), "{outcome:?}");
        drop(tx);
        assert_eq!(presented(ports, &key).await, Some(as_stored(&key)));
    }
}

/// A revocation shows through every port, with the revision one higher.
pub async fn a_revocation_shows_everywhere(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, other) = (owner.key(1), owner.key(2));
    ports.insert(&owner, &key).await;
    ports.insert(&owner, &other).await;
    let revoked = ports.revoke(&owner, &key, at(9)).await.expect("a revocation");
    let newest = KeySecret { revoked_at: Some(at(9)), ..key.secrets.newest.clone() };
    let expected = ApiKey { secrets: KeySecrets::first(newest), revoked_at: Some(at(9)), revision: 2, ..key };
    assert_eq!(revoked, expected);
    assert_eq!(revoked.state(at(9)), KeyState::Revoked);
    assert_eq!(ports.find(&owner, expected.id).await, Some(expected.clone()));
    assert_eq!(found_inside(ports, &owner, &expected).await, Some(expected.clone()));
    assert_eq!(presented(ports, &expected).await, Some(as_stored(&expected)));
    assert_eq!(ports.find(&owner, other.id).await, Some(other), "the other key is as it was");
}

/// A revocation that is rolled back did not happen.
pub async fn a_revocation_counts_with_its_commit(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let mut tx = ports.begin().await;
    tx.keys().revoke(owner.may(&key), at(9)).await.expect("a revocation");
    assert_eq!(presented(ports, &key).await, Some(as_stored(&key)), "before the commit");
    tx.rollback().await.expect("a rollback");
    assert_eq!(presented(ports, &key).await, Some(as_stored(&key)), "after the rollback");
}

/// Revoking what somebody else revoked since it was read is `Stale`, and the first moment stays.
pub async fn revoking_twice_is_stale(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let first = ports.revoke(&owner, &key, at(9)).await.expect("a revocation");
    let second = ports.revoke(&owner, &key, at(10)).await;
    assert!(matches!(second, Err(StoreError::Stale)), "{second:?}");
    assert_eq!(ports.find(&owner, key.id).await, Some(first));
}

/// Of two transactions that revoke at the same time, the second waits for the first and then is `Stale`.
pub async fn of_two_concurrent_revocations_the_second_is_stale(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    winner.keys().revoke(owner.may(&key), at(9)).await.expect("a revocation");
    let (late, committed) = join(loser.keys().revoke(owner.may(&key), at(10)), winner.commit()).await;
    committed.expect("a commit");
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
    loser.rollback().await.expect("a rollback");
    assert_eq!(ports.find(&owner, key.id).await.expect("a key").revoked_at, Some(at(9)));
}

/// A key that somebody assembled by hand, with an account of their own, revokes nothing.
pub async fn a_key_is_revoked_in_its_own_account_only(ports: Ports<'_>) {
    let (owner, attacker) = (ports.owner(1).await, ports.owner(2).await);
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let forged = ApiKey { account: attacker.account(), ..key.clone() };
    let outcome = ports.revoke(&attacker, &forged, at(9)).await;
    assert!(matches!(outcome, Err(StoreError::Stale)), "{outcome:?}");
    assert_eq!(ports.find(&owner, key.id).await, Some(key));
}
