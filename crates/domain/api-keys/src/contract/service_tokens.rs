//! Service tokens: the ports `ServiceTokenRepository`, `ServiceTokenReader` and `ServiceCredentialReader`.

use std::time::Duration;

use futures_util::future::join;
use portal_authz::{Scope, Scopes};
use portal_kernel::{StoreError, Timestamp};

use super::{Ports, at, digest, id, kid, look_up, new_secret, operator, pepper_version, restricted};
use crate::{
    KeySecret, KeySecrets, Kid, ListedServiceToken, Networks, NewServiceToken, Overlap, Rotation, ServiceName,
    ServiceToken, StoredServiceToken,
};

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("a name")
}

fn token(number: u32, called: &str) -> ServiceToken {
    ServiceToken {
        id: id(number),
        name: name(called),
        scopes: Scopes::from_iter(Scope::ALL),
        networks: Networks::default(),
        secrets: KeySecrets::first(KeySecret {
            kid: kid(number),
            created_at: at(u64::from(number)),
            expires_at: None,
            revoked_at: None,
        }),
        created_at: at(u64::from(number)),
        expires_at: None,
        revoked_at: None,
    }
}

fn new(token: &ServiceToken) -> NewServiceToken {
    let digest = digest(token.secrets.newest.kid);
    NewServiceToken { token: token.clone(), digest, pepper_version: pepper_version() }
}

fn revoked(token: ServiceToken, moment: Timestamp) -> ServiceToken {
    ServiceToken { secrets: token.secrets.revoked(moment), revoked_at: Some(moment), ..token }
}

/// At that second, to the secret of that number, with an overlap of a minute.
fn rotation(second: u64, number: u32) -> Rotation {
    let overlap = Overlap::parse(Duration::from_mins(1)).expect("a minute");
    Rotation { secret: new_secret(number), at: at(second), overlap }
}

async fn insert(ports: Ports<'_>, token: &ServiceToken) -> Result<bool, StoreError> {
    let new = new(token);
    let mut tx = ports.begin().await;
    let added = tx.service_tokens().insert(&operator(), new).await?;
    tx.commit().await.expect("a commit");
    Ok(added)
}

async fn revoke(ports: Ports<'_>, called: &str, at: Timestamp) -> Option<ServiceToken> {
    let mut tx = ports.begin().await;
    let revoked = tx.service_tokens().revoke(&operator(), name(called), at).await.expect("an answer");
    tx.commit().await.expect("a commit");
    revoked
}

async fn rotate(ports: Ports<'_>, called: &str, rotation: Rotation) -> Option<ServiceToken> {
    let mut tx = ports.begin().await;
    let rotated = tx.service_tokens().rotate(&operator(), name(called), rotation).await.expect("an answer");
    tx.commit().await.expect("a commit");
    rotated
}

async fn presented(ports: Ports<'_>, kid: Kid) -> Option<StoredServiceToken> {
    let found = ports.service_credentials.service_token(&look_up(), kid).await.expect("a credential is looked up");
    found.map(|stored| StoredServiceToken::clone(&stored))
}

fn as_stored(token: &ServiceToken, kid: Kid, secret_expires_at: Option<Timestamp>) -> StoredServiceToken {
    let (digest, pepper_version) = (digest(kid), pepper_version());
    StoredServiceToken { digest, pepper_version, token: token.clone(), secret_expires_at }
}

async fn listed(ports: Ports<'_>) -> Vec<ListedServiceToken> {
    ports.service_tokens.all(&operator()).await.expect("all tokens")
}

async fn all(ports: Ports<'_>) -> Vec<ServiceToken> {
    listed(ports).await.into_iter().map(|listed| listed.token).collect()
}

/// A token comes back as it was written, and its secret as digest and pepper version; its kid finds no key.
pub async fn a_token_is_read_back_as_written(ports: Ports<'_>) {
    assert_eq!(all(ports).await, []);
    let token = ServiceToken { networks: restricted().networks, expires_at: Some(at(99)), ..token(1, "gateway-1") };
    let kid = token.secrets.newest.kid;
    assert_eq!(presented(ports, kid).await, None);
    assert!(insert(ports, &token).await.expect("an answer"));
    assert_eq!(all(ports).await, std::slice::from_ref(&token));
    assert_eq!(presented(ports, kid).await, Some(as_stored(&token, kid, None)));
    assert_eq!(ports.credentials.key(&look_up(), kid).await.expect("an answer"), None);
}

/// A name belongs to one live token: the second is refused with `false`. After a revocation the name is free again.
pub async fn a_name_is_free_again_after_revocation(ports: Ports<'_>) {
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    assert!(!insert(ports, &token(2, "gateway")).await.expect("an answer"), "the name is taken");
    assert!(insert(ports, &token(3, "gateway-b")).await.expect("an answer"), "another name is not");
    assert!(revoke(ports, "gateway", at(9)).await.is_some());
    assert!(insert(ports, &token(4, "gateway")).await.expect("an answer"));
    assert!(!insert(ports, &token(5, "gateway")).await.expect("an answer"), "and taken again");
}

/// A revocation ends the live token of that name and no other, and shows through every port.
pub async fn a_revocation_shows_everywhere(ports: Ports<'_>) {
    let (old, live, other) = (token(1, "gateway"), token(2, "gateway"), token(3, "metrics"));
    assert!(insert(ports, &old).await.expect("an answer"));
    let old = revoke(ports, "gateway", at(8)).await.expect("a live token");
    assert_eq!(old, revoked(token(1, "gateway"), at(8)));
    assert!(insert(ports, &live).await.expect("an answer"));
    assert!(insert(ports, &other).await.expect("an answer"));
    let ended = revoke(ports, "gateway", at(9)).await.expect("a live token");
    assert_eq!(ended, revoked(live, at(9)));
    assert_eq!(all(ports).await, [ended.clone(), old, other], "by name, then newest first");
    assert_eq!(presented(ports, kid(2)).await.map(|stored| stored.token), Some(ended));
}

/// Where no live token has the name there is nothing to revoke.
pub async fn revoking_twice_is_none(ports: Ports<'_>) {
    assert_eq!(revoke(ports, "gateway", at(1)).await, None, "there never was one");
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    assert!(revoke(ports, "gateway", at(2)).await.is_some());
    assert_eq!(revoke(ports, "gateway", at(3)).await, None);
    assert_eq!(all(ports).await[0].revoked_at, Some(at(2)), "the first moment stays");
}

/// A kid finds one token.
pub async fn a_kid_is_used_once(ports: Ports<'_>) {
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    let second = insert(ports, &ServiceToken { secrets: token(1, "gateway").secrets, ..token(2, "other") }).await;
    assert!(matches!(second, Err(StoreError::Duplicate { .. })), "{second:?}");
}

/// Of two transactions that make a token of one name, the second waits for the first and then answers `false`.
pub async fn of_two_concurrent_tokens_with_a_name_one_is_refused(ports: Ports<'_>) {
    let (one, two) = (token(1, "gateway"), token(2, "gateway"));
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    assert!(winner.service_tokens().insert(&operator(), new(&one)).await.expect("an answer"));
    let may = operator();
    let (late, committed) = join(loser.service_tokens().insert(&may, new(&two)), winner.commit()).await;
    committed.expect("a commit");
    assert!(!late.expect("an answer after the wait"));
    loser.commit().await.expect("a commit");
    assert_eq!(all(ports).await, [one]);
}

/// What is not committed is not there.
pub async fn a_token_appears_and_ends_with_its_commit(ports: Ports<'_>) {
    let token = token(1, "gateway");
    let mut tx = ports.begin().await;
    assert!(tx.service_tokens().insert(&operator(), new(&token)).await.expect("an answer"));
    assert_eq!(presented(ports, kid(1)).await, None);
    tx.rollback().await.expect("a rollback");
    assert!(insert(ports, &token).await.expect("an answer"), "the name is free");
    let mut tx = ports.begin().await;
    assert!(tx.service_tokens().revoke(&operator(), token.name.clone(), at(2)).await.expect("an answer").is_some());
    drop(tx);
    assert_eq!(all(ports).await, [token]);
}

/// A rotation gives the live token of that name a secret; the one before goes on for the overlap, and both find the token.
pub async fn after_a_rotation_two_secrets_find_the_token(ports: Ports<'_>) {
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    assert!(insert(ports, &token(2, "metrics")).await.expect("an answer"));
    let rotated = rotate(ports, "gateway", rotation(10, 11)).await.expect("a live token");
    assert_eq!(rotated, token(1, "gateway").rotated(&rotation(10, 11)));
    assert_eq!(all(ports).await, [rotated.clone(), token(2, "metrics")]);
    assert_eq!(presented(ports, kid(11)).await, Some(as_stored(&rotated, kid(11), None)));
    assert_eq!(presented(ports, kid(1)).await, Some(as_stored(&rotated, kid(1), Some(at(70)))));
    assert_eq!(presented(ports, kid(2)).await, Some(as_stored(&token(2, "metrics"), kid(2), None)));
}

/// Never more than two secrets find a token: with the next rotation the oldest finds nothing.
pub async fn of_two_secrets_the_next_rotation_forgets_the_older_one(ports: Ports<'_>) {
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    let once = rotate(ports, "gateway", rotation(10, 11)).await.expect("a live token");
    let twice = rotate(ports, "gateway", rotation(20, 12)).await.expect("a live token");
    assert_eq!(twice, once.rotated(&rotation(20, 12)));
    assert_eq!(presented(ports, kid(1)).await, None);
    assert_eq!(presented(ports, kid(11)).await, Some(as_stored(&twice, kid(11), Some(at(80)))));
    assert_eq!(presented(ports, kid(12)).await, Some(as_stored(&twice, kid(12), None)));
    let ended = revoke(ports, "gateway", at(30)).await.expect("a live token");
    assert_eq!(ended, revoked(twice, at(30)), "with both secrets");
    assert_eq!(presented(ports, kid(11)).await, Some(as_stored(&ended, kid(11), Some(at(80)))));
}

/// Where no live token has the name, be it revoked or its time over, nothing is rotated.
pub async fn a_token_that_is_over_is_not_rotated(ports: Ports<'_>) {
    assert_eq!(rotate(ports, "gateway", rotation(1, 11)).await, None, "there never was one");
    let ending = ServiceToken { expires_at: Some(at(10)), ..token(1, "gateway") };
    assert!(insert(ports, &ending).await.expect("an answer"));
    assert_eq!(rotate(ports, "gateway", rotation(10, 11)).await, None, "its time is over");
    assert!(rotate(ports, "gateway", rotation(9, 12)).await.is_some());
    let ended = revoke(ports, "gateway", at(9)).await.expect("a live token");
    assert_eq!(rotate(ports, "gateway", rotation(9, 13)).await, None, "it was revoked");
    assert_eq!(all(ports).await, [ended]);
}

/// Of two transactions that rotate a token, the second waits for the first and then rotates what that made.
pub async fn of_two_concurrent_rotations_the_second_follows_the_first(ports: Ports<'_>) {
    assert!(insert(ports, &token(1, "gateway")).await.expect("an answer"));
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    let (may, named) = (operator(), name("gateway"));
    let once = first.service_tokens().rotate(&may, named.clone(), rotation(10, 11)).await.expect("an answer");
    let late = second.service_tokens().rotate(&may, named, rotation(11, 12));
    let (late, committed) = join(late, first.commit()).await;
    committed.expect("a commit");
    let twice = late.expect("an answer after the wait");
    second.commit().await.expect("a commit");
    assert_eq!(twice, once.map(|once| once.rotated(&rotation(11, 12))));
    assert_eq!(all(ports).await, Vec::from_iter(twice));
}

/// A use shows with its token, the latest one of all that were told in whatever order; a token that was not used has none.
pub async fn a_last_use_only_moves_on(ports: Ports<'_>) {
    let (one, two, three) = (token(1, "a"), token(2, "b"), token(3, "c"));
    for token in [&one, &two, &three] {
        assert!(insert(ports, token).await.expect("an answer"));
    }
    for uses in
        [&[(one.id, at(10)), (two.id, at(20))][..], &[(one.id, at(12)), (two.id, at(19))], &[(one.id, at(11))], &[]]
    {
        ports.service_activity.used(&look_up(), uses).await.expect("the uses are written");
    }
    let last = listed(ports).await.into_iter().map(|listed| listed.last_used_at).collect::<Vec<_>>();
    assert_eq!(last, [Some(at(12)), Some(at(20)), None]);
}
