//! Revoking a key. Final.

use portal_audit::{AuditAction, Caller};
use portal_authz::Denied;
use portal_authz::action::RevokeKey;
use portal_kernel::{ApiKeyId, StoreError, finish};

use crate::change::hold;
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys};

/// Why a key was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeKeyError {
    /// There is none.
    #[error("no such key")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; the key is as it was.
    #[error("the key could not be revoked")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Ends a key and its secrets for good. Repeating it, also at the same time, succeeds and changes and records nothing more.
    pub async fn revoke(&self, who: &Caller, id: ApiKeyId) -> Result<ApiKey, RevokeKeyError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.revoke_in(&mut *tx, who, id).await;
        finish(tx, outcome).await
    }

    async fn revoke_in(&self, tx: &mut dyn ApiKeysTx, who: &Caller, id: ApiKeyId) -> Result<ApiKey, RevokeKeyError> {
        let held = hold::<RevokeKey, RevokeKeyError>(tx, who, id).await?;
        let key = held.ok_or(RevokeKeyError::NotFound)?;
        if key.revoked_at.is_some() {
            return Ok(key.into_inner());
        }
        let key = tx.keys().revoke(key, self.clock.now()).await?;
        self.tell(tx, who, &key, AuditAction::ApiKeyRevoked).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Role, Unchecked};
    use portal_kernel::Change;

    use super::*;
    use crate::KeyState;
    use crate::testing::{Ending, Fixture, key, member, other_member};

    fn revoked() -> ApiKey {
        key().revoked(key().created_at)
    }

    #[tokio::test]
    async fn an_editor_revokes_an_own_key_and_an_admin_any() {
        for who in [member(Role::Editor), other_member(Role::Admin)] {
            let (keys, store) = Fixture::changing(key(), AuditAction::ApiKeyRevoked).build();
            let outcome = keys.revoke(&who, key().id).await.unwrap();
            assert_eq!(outcome.state(key().created_at), KeyState::Revoked);
            assert!(outcome.secrets.iter().all(|secret| !secret.is_live(key().created_at)));
            assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::Key(key().id)]));
        }
    }

    #[tokio::test]
    async fn an_editor_cannot_revoke_the_key_of_another_and_does_not_hold_it() {
        let (keys, store) = Fixture::untouchable(key()).build();
        let outcome = keys.revoke(&other_member(Role::Editor), key().id).await;
        assert!(matches!(outcome, Err(RevokeKeyError::Denied(Denied::Forbidden))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn a_stopped_key_and_one_whose_time_is_over_can_still_be_revoked() {
        let now = key().created_at;
        for key in [ApiKey { expires_at: Some(now), ..key() }, ApiKey { disabled_at: Some(now), ..key() }] {
            let (keys, _) = Fixture::changing(key.clone(), AuditAction::ApiKeyRevoked).build();
            assert_eq!(keys.revoke(&member(Role::Owner), key.id).await.unwrap().state(now), KeyState::Revoked);
        }
    }

    #[tokio::test]
    async fn revoking_twice_succeeds_and_records_once() {
        let (keys, store) = Fixture::unchanged(revoked()).build();
        assert_eq!(keys.revoke(&member(Role::Owner), key().id).await.unwrap(), revoked());
        assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![]));
    }

    #[tokio::test]
    async fn a_revocation_that_comes_second_by_a_moment_succeeds_too() {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_find_to_change().once().returning(|_| Ok(Some(Unchecked::new(revoked()))));
        fixture.tx.keys.expect_revoke().never();
        fixture.tx.audit.expect_record().never();
        let (keys, store) = fixture.build();
        assert_eq!(keys.revoke(&member(Role::Owner), key().id).await.unwrap(), revoked());
        assert_eq!(store.endings(), [Ending::Committed]);
    }
}
