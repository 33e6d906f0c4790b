//! Revoking a key. Final.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::Denied;
use portal_authz::action::RevokeKey;
use portal_kernel::{ApiKeyId, StoreError, finish};

use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys, KeyState};

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
    /// Ends a key for good. Repeating it, also at the same time, succeeds and changes and records nothing more.
    pub async fn revoke(&self, who: &Caller, id: ApiKeyId) -> Result<ApiKey, RevokeKeyError> {
        match self.revoke_once(who, id).await {
            // Somebody else was faster by a moment: the second look finds the key revoked.
            Err(RevokeKeyError::Store(StoreError::Stale)) => self.revoke_once(who, id).await,
            outcome => outcome,
        }
    }

    async fn revoke_once(&self, who: &Caller, id: ApiKeyId) -> Result<ApiKey, RevokeKeyError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.revoke_in(&mut *tx, who, id).await;
        finish(tx, outcome).await
    }

    async fn revoke_in(&self, tx: &mut dyn ApiKeysTx, who: &Caller, id: ApiKeyId) -> Result<ApiKey, RevokeKeyError> {
        let key = tx.keys().find(id).await?.ok_or(RevokeKeyError::NotFound)?;
        let key = key.authorize::<RevokeKey>(&who.principal)?;
        if key.state() == KeyState::Revoked {
            return Ok(key.into_inner());
        }
        let key = tx.keys().revoke(key, self.clock.now()).await?;
        let source = (&*self.ids, &*self.clock);
        let record =
            AuditRecord::now(source, who, Some(key.account), AuditAction::ApiKeyRevoked, Subject::ApiKey(key.id));
        tx.audit().record(record).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Role, Unchecked};
    use portal_kernel::Clock;
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::{Ending, Fixture, key, member, other_member};

    fn revoked() -> ApiKey {
        ApiKey { revoked_at: Some(FixedClock::default().now()), revision: 2, ..key() }
    }

    fn revocable() -> Fixture {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_revoke().returning(|_, _| Ok(revoked()));
        fixture
            .tx
            .audit
            .expect_record()
            .withf(|record| record.action == AuditAction::ApiKeyRevoked)
            .returning(|_| Ok(()));
        fixture
    }

    #[tokio::test]
    async fn an_editor_revokes_an_own_key_and_an_admin_any() {
        for who in [member(Role::Editor), other_member(Role::Admin)] {
            let (keys, store) = revocable().build();
            assert_eq!(keys.revoke(&who, key().id).await.unwrap().state(), KeyState::Revoked);
            assert_eq!(store.endings(), [Ending::Committed]);
        }
    }

    #[tokio::test]
    async fn an_editor_cannot_revoke_the_key_of_another_and_nothing_is_written() {
        let mut fixture = revocable();
        fixture.tx.keys.checkpoint();
        fixture.tx.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_revoke().never();
        let (keys, store) = fixture.build();
        let outcome = keys.revoke(&other_member(Role::Editor), key().id).await;
        assert!(matches!(outcome, Err(RevokeKeyError::Denied(Denied::Forbidden))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn revoking_twice_succeeds_and_records_once() {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(revoked()))));
        fixture.tx.keys.expect_revoke().never();
        fixture.tx.audit.expect_record().never();
        let (keys, _) = fixture.build();
        assert_eq!(keys.revoke(&member(Role::Owner), key().id).await.unwrap(), revoked());
    }

    #[tokio::test]
    async fn a_revocation_that_comes_second_by_a_moment_succeeds_too() {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_revoke().once().returning(|_, _| Err(StoreError::Stale));
        fixture.tx.audit.expect_record().never();
        fixture.then.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(revoked()))));
        fixture.then.audit.expect_record().never();
        let (keys, store) = fixture.build();
        assert_eq!(keys.revoke(&member(Role::Owner), key().id).await.unwrap(), revoked());
        assert_eq!(store.endings(), [Ending::RolledBack, Ending::Committed]);
    }
}
