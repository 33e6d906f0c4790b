//! Sign-ins that failed: counted where they happen, and told to the trail of the platform now and then.
//!
//! Whoever sends bad tokens chooses how many and which, and must not choose how much is written or remembered: there is one count per
//! reason, and one record per reason each time they are told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::{Job, Principal};
use portal_identity::{AuthReason, TokenVerificationErrorReason};
use portal_kernel::{StoreError, finish};

use crate::SignInError;
use crate::facts::Facts;
use crate::ports::{AccountsStore, AccountsTx};

/// Why somebody who presented a session was not let in: one of a closed set of texts, whatever was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignInFailure(&'static str);

impl SignInFailure {
    /// None where no session was presented, and where an outage kept it from being judged.
    pub fn of_verdict(reason: &AuthReason) -> Option<Self> {
        match reason {
            AuthReason::ClientUatButNoSessionToken
            | AuthReason::DevBrowserMissing
            | AuthReason::DevBrowserSync
            | AuthReason::NoTokenInHeader
            | AuthReason::PrimaryDomainCrossOriginSync
            | AuthReason::PrimaryRespondsToSyncing
            | AuthReason::SatelliteNeedsSyncing
            | AuthReason::SessionTokenAndUatMissing
            | AuthReason::SessionTokenMissing => None,
            AuthReason::ActiveOrganizationMismatch
            | AuthReason::SessionTokenButNoClientUat
            | AuthReason::SessionTokenExpiredRefresh(_)
            | AuthReason::SessionTokenIatBeforeClientUat
            | AuthReason::SessionTokenIatInTheFuture
            | AuthReason::SessionTokenNbf
            | AuthReason::TokenTypeMismatch
            | AuthReason::UnexpectedError
            | AuthReason::Token(_) => Some(reason).filter(|reason| !reason.is_infrastructure()).map(Self::text),
        }
    }

    /// What an outage of ours refused is no failure of whoever signs in.
    pub fn of_error(error: &SignInError) -> Option<Self> {
        match error {
            SignInError::SessionEnded => Some(Self("session-ended")),
            SignInError::Paused => Some(Self("user-paused")),
            SignInError::Deleted => Some(Self("user-deleted")),
            SignInError::DelegateOfStranger => Some(Self("user-not-provisioned")),
            SignInError::NoPerson => Some(Self(TokenVerificationErrorReason::TokenVerificationFailed.as_str())),
            SignInError::ProvisioningFailed(_) | SignInError::Denied(_) | SignInError::Store(_) => None,
        }
    }

    fn text(reason: &AuthReason) -> Self {
        match reason.as_str() {
            Cow::Borrowed(text) => Self(text),
            // The provider may have chosen its end.
            Cow::Owned(_) => Self("session-token-expired-refresh"),
        }
    }
}

/// What was not told yet.
#[derive(Debug, Clone)]
struct Untold {
    times: u64,
    first: Provenance,
}

/// The use case, with what it needs.
pub struct FailedSignIns {
    store: Arc<AccountsStore>,
    facts: Arc<Facts>,
    untold: Mutex<BTreeMap<SignInFailure, Untold>>,
}

impl FailedSignIns {
    /// Nothing has failed yet.
    pub fn new(store: Arc<AccountsStore>, facts: Arc<Facts>) -> Self {
        Self { store, facts, untold: Mutex::default() }
    }

    /// Counts one. Of all that are told together the first one's provenance is kept.
    pub fn count(&self, failure: SignInFailure, provenance: impl FnOnce() -> Provenance) {
        let mut untold = self.untold();
        let counted = untold.entry(failure).or_insert_with(|| Untold { times: 0, first: provenance() });
        counted.times = counted.times.saturating_add(1);
    }

    /// Writes one record per reason that occurred since it was last called. If that fails, all of it is told the next time.
    pub async fn tell(&self) -> Result<(), StoreError> {
        let told = std::mem::take(&mut *self.untold());
        if told.is_empty() {
            return Ok(());
        }
        let outcome = self.write(&told).await;
        if outcome.is_err() {
            let mut untold = self.untold();
            for (failure, before) in told {
                let since = untold.insert(failure, before.clone()).map_or(0, |since| since.times);
                untold.insert(failure, Untold { times: before.times.saturating_add(since), ..before });
            }
        }
        outcome
    }

    async fn write(&self, told: &BTreeMap<SignInFailure, Untold>) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.write_in(&mut *tx, told).await;
        finish(tx, outcome).await
    }

    async fn write_in(
        &self,
        tx: &mut dyn AccountsTx,
        told: &BTreeMap<SignInFailure, Untold>,
    ) -> Result<(), StoreError> {
        let source = (&*self.facts.ids, &*self.facts.clock);
        for (SignInFailure(text), Untold { times, first }) in told {
            let reason = Some(format!("{text}, {times} times"));
            let provenance = Provenance { reason, ..first.clone() };
            let caller = Caller { principal: Principal::System(Job::SignIn), provenance };
            let record = AuditRecord::now(source, &caller, None, AuditAction::SignInFailed, Subject::Platform);
            tx.audit().record(record).await?;
        }
        Ok(())
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<SignInFailure, Untold>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portal_identity::{Refresh, RefreshFailure};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::RoleMap;
    use crate::testing::memory::MemoryStore;
    use crate::testing::{MockAccountsStore, MockTx};

    fn failed(store: Arc<AccountsStore>) -> FailedSignIns {
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        FailedSignIns::new(store, Arc::new(Facts { role_map: RoleMap::default(), ids, clock }))
    }

    fn from(network: &str) -> Provenance {
        Provenance { address_prefix: Some(network.to_owned()), ..Provenance::default() }
    }

    fn expired() -> SignInFailure {
        SignInFailure::of_verdict(&AuthReason::Token(TokenVerificationErrorReason::TokenExpired)).unwrap()
    }

    #[test]
    fn what_presents_no_session_and_what_an_outage_refuses_is_no_failure() {
        for reason in [
            AuthReason::SessionTokenAndUatMissing,
            AuthReason::DevBrowserMissing,
            AuthReason::NoTokenInHeader,
            AuthReason::UnexpectedError,
            AuthReason::Token(TokenVerificationErrorReason::RemoteJwkFailedToLoad),
            AuthReason::SessionTokenExpiredRefresh(Refresh::Failed(RefreshFailure::FetchError)),
        ] {
            assert_eq!(SignInFailure::of_verdict(&reason), None, "{reason}");
        }
        let away = || StoreError::Unavailable("gone".into());
        for error in [SignInError::Store(away()), SignInError::ProvisioningFailed(away())] {
            assert_eq!(SignInFailure::of_error(&error), None);
        }
    }

    #[test]
    fn a_text_that_the_provider_or_a_caller_chooses_is_no_reason() {
        let chosen = |code: &str| AuthReason::SessionTokenExpiredRefresh(Refresh::Refused(code.into()));
        let failures = ["a", "b"].map(|code| SignInFailure::of_verdict(&chosen(code)));
        assert_eq!(failures, [Some(SignInFailure("session-token-expired-refresh")); 2]);
        assert_eq!(expired(), SignInFailure("token-expired"));
        assert_eq!(SignInFailure::of_error(&SignInError::SessionEnded), Some(SignInFailure("session-ended")));
    }

    #[tokio::test]
    async fn many_failures_of_a_reason_are_one_record_that_says_how_many() {
        let store = MemoryStore::default();
        let failed = failed(Arc::new(store.clone()));
        for number in 0..1_000 {
            failed.count(expired(), || from(&format!("192.0.{number}.0/24")));
        }
        failed.count(SignInFailure("session-ended"), || from("198.51.100.0/24"));
        for _ in 0..2 {
            failed.tell().await.unwrap();
        }
        let records = store.rows.lock().await.records.clone();
        let told: Vec<_> = records
            .iter()
            .map(|record| {
                assert_eq!((record.action, record.account), (AuditAction::SignInFailed, None));
                let Provenance { reason, address_prefix, .. } = &record.provenance;
                (reason.as_deref().unwrap(), address_prefix.as_deref().unwrap())
            })
            .collect();
        assert_eq!(
            told,
            [("session-ended, 1 times", "198.51.100.0/24"), ("token-expired, 1000 times", "192.0.0.0/24")]
        );
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_with_the_next() {
        let (mut away, mut back) = (MockTx::default(), MockTx::default());
        away.audit.expect_record().once().returning(|_| Err(StoreError::Unavailable("gone".into())));
        let is_all = |record: &AuditRecord| {
            record.provenance.reason.as_deref() == Some("token-expired, 3 times")
                && record.provenance.address_prefix.as_deref() == Some("192.0.2.0/24")
        };
        back.audit.expect_record().withf(is_all).once().returning(|_| Ok(()));
        let failed = failed(Arc::new(MockAccountsStore::new([away, back])));
        failed.count(expired(), || from("192.0.2.0/24"));
        failed.tell().await.unwrap_err();
        for _ in 0..2 {
            failed.count(expired(), || from("198.51.100.0/24"));
        }
        failed.tell().await.unwrap();
        failed.tell().await.unwrap();
    }
}
