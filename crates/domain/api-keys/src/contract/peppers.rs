//! What digests were made with: the port `PepperReader`.

use portal_authz::{Scope, Scopes};
use portal_kernel::Timestamp;

use super::{Owner, Ports, at, digest, id, kid, look_up, operator};
use crate::{
    ApiKey, KeySecret, KeySecrets, Networks, NewApiKey, NewSecret, NewServiceToken, NewerDigest, Overlap,
    PepperVersion, Rotation, ServiceName, ServiceToken,
};

fn version(number: i16) -> PepperVersion {
    PepperVersion::parse(number).expect("a positive number")
}

async fn insert(ports: Ports<'_>, owner: &Owner, key: &ApiKey, pepper: i16) {
    let digest = digest(key.secrets.newest.kid);
    let new = NewApiKey { key: key.clone(), digest, pepper_version: version(pepper) };
    let mut tx = ports.begin().await;
    tx.keys().insert(&owner.may_create(), new).await.expect("a key is added");
    tx.commit().await.expect("a commit");
}

/// At that second, with an overlap of a minute.
fn rotation(second: u64, number: u32, pepper: i16) -> Rotation {
    let secret = NewSecret { kid: kid(number), digest: digest(kid(number)), pepper_version: version(pepper) };
    let overlap = Overlap::parse(std::time::Duration::from_mins(1)).expect("a minute");
    Rotation { secret, at: at(second), overlap }
}

async fn in_use(ports: Ports<'_>, now: Timestamp) -> Vec<(i16, usize)> {
    let found = ports.peppers.peppers_in_use(&operator(), now).await.expect("an answer");
    found.into_iter().map(|(version, secrets)| (version.number(), secrets)).collect()
}

/// A secret counts until it ends, is replaced, or its key ends.
pub async fn a_pepper_is_in_use_while_a_secret_of_a_key_counts(ports: Ports<'_>) {
    assert_eq!(in_use(ports, at(0)).await, []);
    let owner = ports.owner(1).await;
    let (first, revoked, ending) = (owner.key(1), owner.key(2), ApiKey { expires_at: Some(at(50)), ..owner.key(3) });
    for (key, pepper) in [(&first, 1), (&revoked, 3), (&ending, 2)] {
        insert(ports, &owner, key, pepper).await;
    }
    ports.revoke(&owner, &revoked, at(9)).await.expect("a revocation");
    assert_eq!(in_use(ports, at(49)).await, [(1, 1), (2, 1)]);
    assert_eq!(in_use(ports, at(50)).await, [(1, 1)], "its time is over");
    let mut tx = ports.begin().await;
    tx.keys().rotate(owner.may(&first), rotation(100, 11, 2)).await.expect("a rotation");
    tx.commit().await.expect("a commit");
    assert_eq!(in_use(ports, at(159)).await, [(1, 1), (2, 1)], "both secrets count");
    assert_eq!(in_use(ports, at(160)).await, [(2, 1)], "the overlap is over");
}

/// A newer digest takes the place of the one that it replaces, once.
pub async fn a_digest_moves_once(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (key, other) = (owner.key(1), owner.key(2));
    for key in [&key, &other] {
        insert(ports, &owner, key, 1).await;
    }
    let newer = |key: &ApiKey, replaces| NewerDigest {
        account: key.account,
        kid: key.secrets.newest.kid,
        replaces: version(replaces),
        pepper_version: version(2),
        digest: digest(kid(77)),
    };
    for (digests, expected) in [
        (vec![newer(&key, 1), newer(&other, 3)], vec![key.id]),
        (vec![newer(&key, 1), newer(&other, 3)], vec![]),
        (vec![], vec![]),
    ] {
        let mut tx = ports.begin().await;
        assert_eq!(tx.keys().move_digests(&look_up(), digests).await.expect("an answer"), expected);
        tx.commit().await.expect("a commit");
    }
    assert_eq!(in_use(ports, at(9)).await, [(1, 1), (2, 1)]);
    let moved = ports.credentials.key(&look_up(), key.secrets.newest.kid).await.expect("an answer").expect("the key");
    assert_eq!((moved.pepper_version, moved.digest), (version(2), digest(kid(77))));
}

/// The same of service tokens.
pub async fn a_pepper_is_in_use_while_a_secret_of_a_service_token_counts(ports: Ports<'_>) {
    let secrets = KeySecret { kid: kid(1), created_at: at(1), expires_at: None, revoked_at: None };
    let token = ServiceToken {
        id: id(1),
        name: ServiceName::parse("gateway").expect("a name"),
        scopes: Scopes::from_iter([Scope::KeysVerify]),
        networks: Networks::default(),
        secrets: KeySecrets::first(secrets),
        created_at: at(1),
        expires_at: Some(at(500)),
        revoked_at: None,
    };
    let name = token.name.clone();
    let mut tx = ports.begin().await;
    let new = NewServiceToken { token, digest: digest(kid(1)), pepper_version: version(1) };
    assert!(tx.service_tokens().insert(&operator(), new).await.expect("an answer"));
    let rotated = tx.service_tokens().rotate(&operator(), name.clone(), rotation(100, 2, 4)).await.expect("an answer");
    assert!(rotated.is_some());
    tx.commit().await.expect("a commit");
    assert_eq!(in_use(ports, at(159)).await, [(1, 1), (4, 1)]);
    assert_eq!(in_use(ports, at(160)).await, [(4, 1)], "the overlap is over");
    assert_eq!(in_use(ports, at(500)).await, [], "its time is over");
    let mut tx = ports.begin().await;
    tx.service_tokens().revoke(&operator(), name, at(120)).await.expect("an answer");
    tx.commit().await.expect("a commit");
    assert_eq!(in_use(ports, at(121)).await, []);
}
