//! Everybody is signed out at once.

use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::EndAllSessions;
use portal_authz::{Authorized, Platform, Unchecked};
use portal_kernel::{Change, StoreError, Timestamp, finish};

use crate::SessionsError;
use crate::facts::Facts;
use crate::ports::{AccountsStore, AccountsTx};

/// The use case, with what it needs.
pub struct GlobalSignOut {
    /// Where it is stored.
    pub store: Arc<AccountsStore>,
    /// Ids and the time.
    pub facts: Arc<Facts>,
}

impl GlobalSignOut {
    /// Ends every session token that was made until now, and answers which moment that was. The provider goes on making tokens for
    /// sessions that live there: whoever has one is signed in again with the next.
    pub async fn end_all(&self, caller: &Caller) -> Result<Timestamp, SessionsError> {
        let cleared = Unchecked::new(Platform).authorize(&caller.principal)?;
        let mut tx = self.store.begin().await?;
        let outcome = self.end_all_in(&mut *tx, &cleared, caller).await;
        Ok(finish(tx, outcome).await?)
    }

    async fn end_all_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Authorized<EndAllSessions, Platform>,
        caller: &Caller,
    ) -> Result<Timestamp, StoreError> {
        let before = tx.epochs().now().await?;
        tx.epochs().advance_all(cleared, before).await?;
        tx.changes().changed(Change::Tokens { of: None, before }).await?;
        let source = (&*self.facts.ids, &*self.facts.clock);
        let record = AuditRecord::now(source, caller, None, AuditAction::SessionsEnded, Subject::Platform);
        tx.audit().record(record).await?;
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use portal_audit::Provenance;
    use portal_authz::{Denied, Job, Principal, Roles, UserPrincipal};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::RoleMap;
    use crate::testing::known;
    use crate::testing::memory::MemoryStore;

    fn sign_out() -> (GlobalSignOut, MemoryStore) {
        let store = MemoryStore::default();
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        let facts = Arc::new(Facts { role_map: RoleMap::default(), ids, clock });
        (GlobalSignOut { store: Arc::new(store.clone()), facts }, store)
    }

    #[tokio::test]
    async fn an_operator_signs_everybody_out_and_says_why() {
        let (sign_out, store) = sign_out();
        let provenance = Provenance { reason: Some("a stolen key".to_owned()), ..Provenance::default() };
        let caller = Caller { principal: Principal::System(Job::Operator), provenance };
        let before = sign_out.end_all(&caller).await.unwrap();
        let rows = store.rows.lock().await;
        assert_eq!(rows.epochs.iter().collect::<Vec<_>>(), [(&None, &before)]);
        assert_eq!(rows.changes, [Change::Tokens { of: None, before }]);
        let record = &rows.records[0];
        assert_eq!((record.account, &record.subject), (None, &Subject::Platform));
        assert_eq!(record.provenance.reason.as_deref(), Some("a stolen key"));
    }

    #[tokio::test]
    async fn nobody_else_does() {
        let (sign_out, store) = sign_out();
        let person = Principal::User(UserPrincipal::new(known(true).user.id, Roles::default()));
        for principal in [person, Principal::System(Job::Sessions), Principal::System(Job::SignIn)] {
            let caller = Caller { principal, provenance: Provenance::default() };
            let refused = sign_out.end_all(&caller).await;
            assert!(matches!(refused, Err(SessionsError::Denied(Denied::Forbidden))));
        }
        assert!(store.rows.lock().await.epochs.is_empty());
    }
}
