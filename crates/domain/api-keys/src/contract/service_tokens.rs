//! Service tokens: the ports `ServiceTokenRepository`, `ServiceTokenReader` and `CredentialReader::service_token`.

use futures_util::future::join;
use portal_authz::{Scope, Scopes};
use portal_kernel::{StoreError, Timestamp};

use super::{Ports, at, digest, id, kid, look_up, operator, pepper_version};
use crate::{NewServiceToken, ServiceName, ServiceToken, StoredServiceToken};

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("a name")
}

fn token(number: u32, called: &str) -> ServiceToken {
    ServiceToken {
        id: id(number),
        name: name(called),
        scopes: Scopes::from_iter(Scope::ALL),
        kid: kid(number),
        created_at: at(u64::from(number)),
        revoked_at: None,
    }
}

async fn insert(ports: Ports<'_>, token: &ServiceToken) -> Result<bool, StoreError> {
    let new = NewServiceToken { token: token.clone(), digest: digest(token.kid), pepper_version: pepper_version() };
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

async fn presented(ports: Ports<'_>, token: &ServiceToken) -> Option<StoredServiceToken> {
    ports.credentials.service_token(&look_up(), token.kid).await.expect("a credential is looked up")
}

async fn all(ports: Ports<'_>) -> Vec<ServiceToken> {
    ports.service_tokens.all(&operator()).await.expect("all tokens")
}

/// A token comes back as it was written, and its secret as digest and pepper version; its kid finds no key.
pub async fn a_token_is_read_back_as_written(ports: Ports<'_>) {
    assert_eq!(all(ports).await, []);
    let token = token(1, "gateway-1");
    assert_eq!(presented(ports, &token).await, None);
    assert!(insert(ports, &token).await.expect("an answer"));
    assert_eq!(all(ports).await, std::slice::from_ref(&token));
    let expected =
        StoredServiceToken { digest: digest(token.kid), pepper_version: pepper_version(), token: token.clone() };
    assert_eq!(presented(ports, &token).await, Some(expected));
    assert_eq!(ports.credentials.key(&look_up(), token.kid).await.expect("an answer"), None);
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
    assert_eq!(old, ServiceToken { revoked_at: Some(at(8)), ..token(1, "gateway") });
    assert!(insert(ports, &live).await.expect("an answer"));
    assert!(insert(ports, &other).await.expect("an answer"));
    let revoked = revoke(ports, "gateway", at(9)).await.expect("a live token");
    assert_eq!(revoked, ServiceToken { revoked_at: Some(at(9)), ..live });
    assert_eq!(all(ports).await, [revoked.clone(), old, other], "by name, then newest first");
    assert_eq!(presented(ports, &revoked).await.map(|stored| stored.token), Some(revoked));
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
    let second = insert(ports, &ServiceToken { kid: kid(1), ..token(2, "other") }).await;
    assert!(matches!(second, Err(StoreError::Duplicate { .. })), "{second:?}");
}

/// Of two transactions that make a token of one name, the second waits for the first and then answers `false`.
pub async fn of_two_concurrent_tokens_with_a_name_one_is_refused(ports: Ports<'_>) {
    let (one, two) = (token(1, "gateway"), token(2, "gateway"));
    let new = |token: &ServiceToken| NewServiceToken {
        token: token.clone(),
        digest: digest(token.kid),
        pepper_version: pepper_version(),
    };
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
    let new = NewServiceToken { token: token.clone(), digest: digest(token.kid), pepper_version: pepper_version() };
    let mut tx = ports.begin().await;
    assert!(tx.service_tokens().insert(&operator(), new).await.expect("an answer"));
    assert_eq!(presented(ports, &token).await, None);
    tx.rollback().await.expect("a rollback");
    assert!(insert(ports, &token).await.expect("an answer"), "the name is free");
    let mut tx = ports.begin().await;
    assert!(tx.service_tokens().revoke(&operator(), token.name.clone(), at(2)).await.expect("an answer").is_some());
    drop(tx);
    assert_eq!(all(ports).await, [token]);
}
