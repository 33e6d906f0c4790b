//! Stopping a key for a while, and letting it go on.

use portal_audit::{AuditAction, Caller};
use portal_authz::Denied;
use portal_authz::action::DisableKey;
use portal_kernel::{ApiKeyId, StoreError, finish};

use crate::change::hold;
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys};

/// Why a key was neither stopped nor let go on.
#[derive(Debug, thiserror::Error)]
pub enum DisableKeyError {
    /// There is none.
    #[error("no such key")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It was revoked, or its time is over.
    #[error("the key is over")]
    KeyIsOver,
    /// The store failed; the key is as it was.
    #[error("the key could not be changed")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Stops a key until it is enabled. Repeating it succeeds and changes and records nothing more.
    pub async fn disable(&self, who: &Caller, id: ApiKeyId) -> Result<ApiKey, DisableKeyError> {
        self.set_disabled(who, id, true).await
    }

    /// Lets a stopped key go on. Repeating it succeeds and changes and records nothing more.
    pub async fn enable(&self, who: &Caller, id: ApiKeyId) -> Result<ApiKey, DisableKeyError> {
        self.set_disabled(who, id, false).await
    }

    async fn set_disabled(&self, who: &Caller, id: ApiKeyId, disabled: bool) -> Result<ApiKey, DisableKeyError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.set_disabled_in(&mut *tx, who, id, disabled).await;
        finish(tx, outcome).await
    }

    async fn set_disabled_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        id: ApiKeyId,
        disabled: bool,
    ) -> Result<ApiKey, DisableKeyError> {
        let held = hold::<DisableKey, DisableKeyError>(tx, who, id).await?;
        let key = held.ok_or(DisableKeyError::NotFound)?;
        let now = self.clock.now();
        if key.state(now).is_over() {
            return Err(DisableKeyError::KeyIsOver);
        }
        if key.disabled_at.is_some() == disabled {
            return Ok(key.into_inner());
        }
        let key = tx.keys().disable(key, disabled.then_some(now)).await?;
        let action = if disabled { AuditAction::ApiKeyDisabled } else { AuditAction::ApiKeyEnabled };
        self.tell(tx, who, &key, action).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::Role;
    use portal_kernel::Change;

    use super::*;
    use crate::KeyState;
    use crate::testing::{Ending, Fixture, key, member, other_member};

    fn stopped() -> ApiKey {
        ApiKey { disabled_at: Some(key().created_at), ..key() }
    }

    #[tokio::test]
    async fn a_key_is_stopped_and_goes_on() {
        let now = key().created_at;
        let (keys, store) = Fixture::changing(key(), AuditAction::ApiKeyDisabled).build();
        let disabled = keys.disable(&member(Role::Editor), key().id).await.unwrap();
        assert_eq!((disabled.state(now), disabled.revision), (KeyState::Disabled, 2));
        assert_eq!(store.changes(), [Change::Key(key().id)]);
        let (keys, store) = Fixture::changing(stopped(), AuditAction::ApiKeyEnabled).build();
        let enabled = keys.enable(&other_member(Role::Admin), key().id).await.unwrap();
        assert_eq!((enabled.state(now), enabled.revision), (KeyState::Active, 2));
        assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::Key(key().id)]));
    }

    #[tokio::test]
    async fn what_is_so_already_changes_nothing() {
        let (keys, store) = Fixture::unchanged(stopped()).build();
        assert_eq!(keys.disable(&member(Role::Owner), key().id).await.unwrap(), stopped());
        assert_eq!(store.changes(), []);
        let (keys, store) = Fixture::unchanged(key()).build();
        assert_eq!(keys.enable(&member(Role::Owner), key().id).await.unwrap(), key());
        assert_eq!(store.changes(), []);
    }

    #[tokio::test]
    async fn a_key_that_is_over_is_neither_stopped_nor_let_go_on() {
        let now = key().created_at;
        for over in [ApiKey { expires_at: Some(now), ..stopped() }, stopped().revoked(now)] {
            for enable in [false, true] {
                let (keys, store) = Fixture::unchanged(over.clone()).build();
                let who = member(Role::Owner);
                let outcome =
                    if enable { keys.enable(&who, key().id).await } else { keys.disable(&who, key().id).await };
                assert!(matches!(outcome, Err(DisableKeyError::KeyIsOver)), "{outcome:?}");
                assert_eq!(store.endings(), [Ending::RolledBack]);
            }
        }
    }

    #[tokio::test]
    async fn who_may_not_stop_a_key_does_not_hold_it() {
        let (keys, _) = Fixture::untouchable(key()).build();
        let outcome = keys.disable(&other_member(Role::Editor), key().id).await;
        assert!(matches!(outcome, Err(DisableKeyError::Denied(Denied::Forbidden))), "{outcome:?}");
    }
}
