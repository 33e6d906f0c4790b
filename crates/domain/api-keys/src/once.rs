//! Making a secret once, however often it is asked for: it is shown in one answer, which may get lost.

use portal_kernel::{
    AccountId, ApiKeyId, EarlierRequest, Fingerprint, IdempotencyKey, NamedRequest, StoreError, Timestamp, UserId,
};
use sha2::{Digest as _, Sha256};

use crate::ports::ApiKeysTx;
use crate::{KeyDraft, KeyPolicy, Overlap, RateLimit};

/// A request with that name was made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Repeated {
    /// It was the same one. The key got its secret, which was shown then.
    #[error("the secret was issued already")]
    Same(ApiKeyId),
    /// It asked for something else.
    #[error("another request has that name")]
    Other,
}

/// What a secret is wanted for.
pub(crate) enum Wanted<'a> {
    Key(&'a KeyDraft),
    Rotation(ApiKeyId, Overlap),
}

/// The request of somebody who named it; `key` is the one that it gives a secret.
pub(crate) fn named(
    name: Option<IdempotencyKey>,
    (account, caller): (AccountId, UserId),
    wanted: &Wanted<'_>,
    (key, at): (ApiKeyId, Timestamp),
) -> Option<NamedRequest> {
    let fingerprint = wanted.fingerprint();
    name.map(|name| NamedRequest { account, caller, key: name, fingerprint, made: key.to_string(), at })
}

/// Goes on if the request has no name, or is the first one with it.
pub(crate) async fn once<E: From<Repeated> + From<StoreError>>(
    tx: &mut dyn ApiKeysTx,
    request: Option<NamedRequest>,
) -> Result<(), E> {
    let Some(request) = request else { return Ok(()) };
    let fingerprint = request.fingerprint;
    match tx.requests().claim(request).await? {
        None => Ok(()),
        Some(EarlierRequest { fingerprint: earlier, made }) if earlier == fingerprint => {
            let key = made.parse().map_err(|error| StoreError::Corrupt(Box::new(error)))?;
            Err(Repeated::Same(key).into())
        }
        Some(_) => Err(Repeated::Other.into()),
    }
}

impl Wanted<'_> {
    /// Equal exactly where the same is wanted, whatever the body looked like; and in every version of the program that runs beside this one.
    fn fingerprint(&self) -> Fingerprint {
        let mut parts = Vec::new();
        match self {
            Self::Key(KeyDraft { name, environment, policy, expires_at }) => {
                let KeyPolicy { scopes, models, networks, rate_limits } = policy;
                parts.extend(["create".to_owned(), name.to_string(), environment.as_str().to_owned()]);
                list(&mut parts, scopes.iter());
                list(&mut parts, models.iter());
                list(&mut parts, networks.iter());
                let limit =
                    |limit: &RateLimit| format!("{} {} {}", limit.id(), limit.limit(), limit.window().as_secs());
                list(&mut parts, rate_limits.iter().map(limit));
                list(&mut parts, expires_at.iter());
            }
            Self::Rotation(key, overlap) => {
                parts.extend(["rotate".to_owned(), key.to_string(), overlap.span().as_micros().to_string()]);
            }
        }
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Fingerprint(digest.finalize().into())
    }
}

/// The items behind their number, so that two lists are not read as two others.
fn list(parts: &mut Vec<String>, items: impl Iterator<Item = impl ToString>) {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    parts.push(items.len().to_string());
    parts.extend(items);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_authz::Role;
    use portal_kernel::SecretString;
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::memory::MemoryStore;
    use crate::testing::{Fixture, account, key, member, other_member};
    use crate::{
        ApiKey, ApiKeys, CreateKeyError, KeyEnvironment, KeyName, KeyScopes, ModelAllowList, Networks, RateLimits,
        RotateKeyError,
    };

    fn draft(name: &str) -> KeyDraft {
        let name = KeyName::parse(name).unwrap();
        KeyDraft { name, environment: KeyEnvironment::Live, policy: KeyPolicy::default(), expires_at: None }
    }

    fn named_by(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text).unwrap()
    }

    fn keys(store: &MemoryStore, most_keys: usize) -> (ApiKeys, Arc<FixedClock>) {
        let clock = Arc::new(FixedClock::default());
        let (keys, _) = Fixture::default().build();
        (ApiKeys { store: Arc::new(store.clone()), clock: clock.clone(), most_keys, ..keys }, clock)
    }

    fn same(outcome: Result<(ApiKey, SecretString), CreateKeyError>) -> ApiKeyId {
        match outcome {
            Err(CreateKeyError::Repeated(Repeated::Same(key))) => key,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_named_request_makes_one_key_and_is_told_which() {
        let store = MemoryStore::default();
        let (keys, clock) = keys(&store, 2);
        let (who, other) = (member(Role::Owner), other_member(Role::Owner));
        let (first, _) = keys.create(&who, account(), draft("ci"), Some(named_by("a"))).await.unwrap();
        assert_eq!(same(keys.create(&who, account(), draft("ci"), Some(named_by("a"))).await), first.id);
        let reused = keys.create(&who, account(), draft("cd"), Some(named_by("a"))).await;
        assert!(matches!(reused, Err(CreateKeyError::Repeated(Repeated::Other))), "{reused:?}");
        let (second, _) = keys.create(&other, account(), draft("ci"), Some(named_by("a"))).await.unwrap();
        assert_ne!(first.id, second.id, "names are their caller's");
        // What cannot be done is not remembered; what was done is, also where it could not be done again.
        let full = keys.create(&who, account(), draft("ci"), Some(named_by("b"))).await;
        assert!(matches!(full, Err(CreateKeyError::TooManyKeys)), "{full:?}");
        assert_eq!(same(keys.create(&who, account(), draft("ci"), Some(named_by("a"))).await), first.id);
        assert_eq!(store.rows.lock().await.records.len(), 2);
        keys.revoke(&who, first.id).await.unwrap();
        keys.create(&who, account(), draft("ci"), Some(named_by("b"))).await.unwrap();
        keys.revoke(&who, second.id).await.unwrap();
        clock.advance(NamedRequest::REMEMBERED);
        let (late, _) = keys.create(&who, account(), draft("ci"), Some(named_by("a"))).await.unwrap();
        assert_ne!(late.id, first.id, "after a day a name is free again");
    }

    #[tokio::test]
    async fn a_named_rotation_happens_once() {
        let store = MemoryStore::default();
        let (keys, _) = keys(&store, 2);
        let who = member(Role::Owner);
        let (made, _) = keys.create(&who, account(), draft("ci"), Some(named_by("a"))).await.unwrap();
        let rotate = async |name: &str, overlap| keys.rotate(&who, made.id, overlap, Some(named_by(name))).await;
        let (rotated, _) = rotate("b", Overlap::NONE).await.unwrap();
        let again = rotate("b", Overlap::NONE).await;
        assert!(matches!(again, Err(RotateKeyError::Repeated(Repeated::Same(key))) if key == made.id), "{again:?}");
        let day = Overlap::parse(std::time::Duration::from_hours(24)).unwrap();
        for (name, overlap) in [("b", day), ("a", Overlap::NONE)] {
            let reused = rotate(name, overlap).await;
            assert!(matches!(reused, Err(RotateKeyError::Repeated(Repeated::Other))), "{reused:?}");
        }
        assert_eq!(store.rows.lock().await.keys, [rotated]);
        keys.revoke(&who, made.id).await.unwrap();
        let again = rotate("b", Overlap::NONE).await;
        assert!(matches!(again, Err(RotateKeyError::Repeated(Repeated::Same(_)))), "{again:?}");
    }

    #[test]
    fn what_asks_for_something_else_has_another_fingerprint() {
        let plain = draft("ci");
        let with = |change: fn(&mut KeyDraft)| {
            let mut draft = plain.clone();
            change(&mut draft);
            Wanted::Key(&draft).fingerprint().0
        };
        let other = "key_00000000000000000000000002".parse().unwrap();
        let second = Overlap::parse(std::time::Duration::from_secs(1)).unwrap();
        let mut prints = vec![
            with(|_| ()),
            with(|draft| draft.name = KeyName::parse("cd").unwrap()),
            with(|draft| draft.environment = KeyEnvironment::Test),
            with(|draft| draft.policy.scopes = KeyScopes::parse(["usage:read"]).unwrap()),
            with(|draft| draft.policy.models = ModelAllowList::parse(["a"]).unwrap()),
            with(|draft| draft.policy.models = ModelAllowList::parse(["a", "b"]).unwrap()),
            with(|draft| draft.policy.models = ModelAllowList::parse(["192.0.2.0/32"]).unwrap()),
            with(|draft| draft.policy.networks = Networks::parse(["192.0.2.0"]).unwrap()),
            with(|draft| {
                draft.policy.rate_limits = RateLimits::new([RateLimit::new("a", 1, 11).unwrap()]).unwrap();
            }),
            with(|draft| {
                draft.policy.rate_limits = RateLimits::new([RateLimit::new("a", 11, 1).unwrap()]).unwrap();
            }),
            with(|draft| draft.expires_at = Some(key().created_at)),
            Wanted::Rotation(key().id, Overlap::NONE).fingerprint().0,
            Wanted::Rotation(key().id, second).fingerprint().0,
            Wanted::Rotation(other, second).fingerprint().0,
        ];
        let count = prints.len();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), count);
        assert_eq!(with(|_| ()), Wanted::Key(&plain).fingerprint().0);
    }
}
