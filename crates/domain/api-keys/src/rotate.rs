//! Giving a key a new secret, while the one before goes on for a while.

use portal_audit::{AuditAction, Caller};
use portal_authz::action::RotateKey;
use portal_authz::{Denied, Principal};
use portal_kernel::{ApiKeyId, IdempotencyKey, SecretString, StoreError, finish};

use crate::change::hold;
use crate::credential::mint;
use crate::once::{Repeated, Wanted, named, once};
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys, NewSecret, Overlap, Rotation};

/// Why a key got no new secret.
#[derive(Debug, thiserror::Error)]
pub enum RotateKeyError {
    /// There is none.
    #[error("no such key")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It was revoked, or its time is over.
    #[error("the key is over")]
    KeyIsOver,
    /// The request has a name that was used before.
    #[error("the name of the request was used before")]
    Repeated(#[from] Repeated),
    /// The store failed; the key is as it was.
    #[error("the key could not be rotated")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Gives a key a new secret and returns the text, which is not kept. The secret before it goes on for the overlap, and one before that
    /// ends: never more than two are live. Everything else of the key stays. A request with a name rotates once, however often it is
    /// repeated.
    pub async fn rotate(
        &self,
        who: &Caller,
        id: ApiKeyId,
        overlap: Overlap,
        name_of_request: Option<IdempotencyKey>,
    ) -> Result<(ApiKey, SecretString), RotateKeyError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.rotate_in(&mut *tx, who, (id, overlap), name_of_request).await;
        finish(tx, outcome).await
    }

    async fn rotate_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        (id, overlap): (ApiKeyId, Overlap),
        name_of_request: Option<IdempotencyKey>,
    ) -> Result<(ApiKey, SecretString), RotateKeyError> {
        let held = hold::<RotateKey, RotateKeyError>(tx, who, id).await?;
        let key = held.ok_or(RotateKeyError::NotFound)?;
        // Only a person in person passes the policy; the type system does not know.
        let Principal::User(user) = &who.principal else { return Err(Denied::Forbidden.into()) };
        let at = self.clock.now();
        let request = named(name_of_request, (key.account, user.user), &Wanted::Rotation(id, overlap), (id, at));
        once::<RotateKeyError>(tx, request).await?;
        if key.state(at).is_over() {
            return Err(RotateKeyError::KeyIsOver);
        }
        let minted = mint(self.brand.prefix(key.environment), &*self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        let secret = NewSecret { kid: minted.kid, digest, pepper_version };
        let key = tx.keys().rotate(key, Rotation { secret, at, overlap }).await?;
        self.tell(tx, who, &key, AuditAction::ApiKeyRotated).await?;
        Ok((key, minted.text))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portal_authz::Role;
    use portal_kernel::{Change, ExposeSecret};

    use super::*;
    use crate::testing::{Ending, Fixture, key, member, other_member};
    use crate::{KeySecret, KeySecrets, Kid};

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn the_new_text_is_shown_once_and_the_old_secret_goes_on_for_a_while() {
        let now = key().created_at;
        for overlap in [Duration::ZERO, HOUR] {
            let (keys, store) = Fixture::changing(key(), AuditAction::ApiKeyRotated).build();
            let overlap_given = Overlap::parse(overlap).unwrap();
            let (rotated, text) = keys.rotate(&member(Role::Editor), key().id, overlap_given, None).await.unwrap();
            let newest = &rotated.secrets.newest;
            assert_eq!(keys.brand.read(text.expose_secret()), Some((key().environment, newest.kid)));
            assert!(newest.is_live(now.plus(HOUR)) && newest.kid != key().secrets.newest.kid);
            let previous = rotated.secrets.previous.clone().unwrap();
            let expected = KeySecret { expires_at: Some(now.plus(overlap)), ..key().secrets.newest };
            assert_eq!(previous, expected);
            assert_eq!(ApiKey { secrets: key().secrets, revision: 1, ..rotated }, key(), "the rest stays");
            assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::Key(key().id)]));
        }
    }

    #[tokio::test]
    async fn of_two_live_secrets_the_next_rotation_ends_the_older_one() {
        let now = key().created_at;
        let older = KeySecret {
            kid: Kid::parse("mnopqrstuvwx").unwrap(),
            expires_at: Some(now.plus(HOUR)),
            ..key().secrets.newest
        };
        let two = ApiKey { secrets: KeySecrets { previous: Some(older), ..key().secrets }, ..key() };
        let (keys, _) = Fixture::changing(two.clone(), AuditAction::ApiKeyRotated).build();
        let (rotated, _) =
            keys.rotate(&member(Role::Owner), key().id, Overlap::parse(HOUR).unwrap(), None).await.unwrap();
        let kids: Vec<_> = rotated.secrets.iter().skip(1).map(|secret| secret.kid).collect();
        assert_eq!(kids, [two.secrets.newest.kid]);
    }

    #[tokio::test]
    async fn a_stopped_key_is_rotated_and_stays_stopped() {
        let stopped = ApiKey { disabled_at: Some(key().created_at), ..key() };
        let (keys, _) = Fixture::changing(stopped.clone(), AuditAction::ApiKeyRotated).build();
        let (rotated, _) = keys.rotate(&member(Role::Owner), key().id, Overlap::NONE, None).await.unwrap();
        assert_eq!(rotated.disabled_at, stopped.disabled_at);
    }

    #[tokio::test]
    async fn a_key_that_is_over_gets_no_new_secret() {
        let now = key().created_at;
        for over in [ApiKey { expires_at: Some(now), ..key() }, key().revoked(now)] {
            let (keys, store) = Fixture::unchanged(over).build();
            let outcome = keys.rotate(&member(Role::Owner), key().id, Overlap::NONE, None).await;
            assert!(matches!(outcome, Err(RotateKeyError::KeyIsOver)), "{outcome:?}");
            assert_eq!(store.endings(), [Ending::RolledBack]);
        }
    }

    #[tokio::test]
    async fn who_may_not_rotate_a_key_does_not_hold_it() {
        let (keys, _) = Fixture::untouchable(key()).build();
        let outcome = keys.rotate(&other_member(Role::Editor), key().id, Overlap::NONE, None).await;
        assert!(matches!(outcome, Err(RotateKeyError::Denied(Denied::Forbidden))), "{outcome:?}");
    }
}
