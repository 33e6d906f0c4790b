//! Renaming a key, restricting it, and saying when its time is over.

use portal_audit::{AuditAction, Caller};
use portal_authz::Denied;
use portal_authz::action::UpdateKey;
use portal_kernel::{ApiKeyId, StoreError, finish};

use crate::change::hold;
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys, KeyPatch};

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateKeyError {
    /// There is none.
    #[error("no such key")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It was revoked, or its time is over.
    #[error("the key is over")]
    KeyIsOver,
    /// Its time would be over already.
    #[error("the end lies in the past")]
    EndIsPast,
    /// The store failed; the key is as it was.
    #[error("the key could not be changed")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Changes what the patch names. Where that is so already, nothing is changed or recorded.
    pub async fn update(&self, who: &Caller, id: ApiKeyId, patch: KeyPatch) -> Result<ApiKey, UpdateKeyError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.update_in(&mut *tx, who, id, patch).await;
        finish(tx, outcome).await
    }

    async fn update_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        id: ApiKeyId,
        patch: KeyPatch,
    ) -> Result<ApiKey, UpdateKeyError> {
        let held = hold::<UpdateKey, UpdateKeyError>(tx, who, id).await?;
        let key = held.ok_or(UpdateKeyError::NotFound)?;
        let now = self.clock.now();
        if key.state(now).is_over() {
            return Err(UpdateKeyError::KeyIsOver);
        }
        if patch.expires_at.flatten().is_some_and(|end| end <= now) {
            return Err(UpdateKeyError::EndIsPast);
        }
        if patch.clone().applied_to(key.clone()) == *key {
            return Ok(key.into_inner());
        }
        let key = tx.keys().update(key, patch).await?;
        self.tell(tx, who, &key, AuditAction::ApiKeyUpdated).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portal_authz::Role;
    use portal_kernel::Change;

    use super::*;
    use crate::testing::{Ending, Fixture, key, member, other_member};
    use crate::{KeyName, KeyPolicy, ModelAllowList, Networks};

    fn renamed() -> KeyPatch {
        KeyPatch { name: Some(KeyName::parse("cd").unwrap()), ..KeyPatch::default() }
    }

    #[tokio::test]
    async fn what_is_named_changes_and_the_rest_stays() {
        let patch = KeyPatch {
            models: Some(ModelAllowList::parse(["llama-*"]).unwrap()),
            networks: Some(Networks::parse(["192.0.2.0/24"]).unwrap()),
            expires_at: Some(Some(key().created_at.plus(Duration::from_secs(1)))),
            ..renamed()
        };
        let (keys, store) = Fixture::changing(key(), AuditAction::ApiKeyUpdated).build();
        let updated = keys.update(&member(Role::Editor), key().id, patch.clone()).await.unwrap();
        let policy =
            KeyPolicy { models: patch.models.unwrap(), networks: patch.networks.unwrap(), ..KeyPolicy::default() };
        let expected =
            ApiKey { name: patch.name.unwrap(), policy, expires_at: patch.expires_at.unwrap(), revision: 2, ..key() };
        assert_eq!(updated, expected);
        assert_eq!(store.endings(), [Ending::Committed]);
        assert_eq!(store.changes(), [Change::Key(key().id)]);
    }

    #[tokio::test]
    async fn an_end_can_be_taken_away() {
        let ending = ApiKey { expires_at: Some(key().created_at.plus(Duration::from_secs(1))), ..key() };
        let (keys, _) = Fixture::changing(ending, AuditAction::ApiKeyUpdated).build();
        let patch = KeyPatch { expires_at: Some(None), ..KeyPatch::default() };
        assert_eq!(keys.update(&member(Role::Owner), key().id, patch).await.unwrap().expires_at, None);
    }

    #[tokio::test]
    async fn what_is_so_already_changes_nothing() {
        for patch in [KeyPatch::default(), KeyPatch { name: Some(key().name), ..KeyPatch::default() }] {
            let (keys, store) = Fixture::unchanged(key()).build();
            assert_eq!(keys.update(&member(Role::Owner), key().id, patch).await.unwrap(), key());
            assert_eq!(store.changes(), []);
        }
    }

    #[tokio::test]
    async fn a_key_that_is_over_stays_as_it_is() {
        let now = key().created_at;
        for over in [ApiKey { expires_at: Some(now), ..key() }, key().revoked(now)] {
            for patch in [renamed(), KeyPatch { expires_at: Some(None), ..KeyPatch::default() }] {
                let (keys, store) = Fixture::unchanged(over.clone()).build();
                let outcome = keys.update(&member(Role::Owner), key().id, patch).await;
                assert!(matches!(outcome, Err(UpdateKeyError::KeyIsOver)), "{outcome:?}");
                assert_eq!(store.endings(), [Ending::RolledBack]);
            }
        }
    }

    #[tokio::test]
    async fn an_end_lies_in_the_future() {
        let patch = KeyPatch { expires_at: Some(Some(key().created_at)), ..KeyPatch::default() };
        let (keys, _) = Fixture::unchanged(key()).build();
        let outcome = keys.update(&member(Role::Owner), key().id, patch).await;
        assert!(matches!(outcome, Err(UpdateKeyError::EndIsPast)), "{outcome:?}");
    }

    #[tokio::test]
    async fn who_may_not_change_a_key_does_not_hold_it() {
        let (keys, store) = Fixture::untouchable(key()).build();
        let outcome = keys.update(&other_member(Role::Editor), key().id, renamed()).await;
        assert!(matches!(outcome, Err(UpdateKeyError::Denied(Denied::Forbidden))), "{outcome:?}");
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }
}
