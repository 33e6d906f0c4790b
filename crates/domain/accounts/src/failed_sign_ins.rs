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

/// Records that are being told. They stay what they are until they are known to be in the trail, so that none is there twice.
#[derive(Debug, Clone)]
struct Batch {
    records: Vec<AuditRecord>,
    /// Whether they may be there.
    is_tried: bool,
}

#[derive(Default)]
struct Counts {
    untold: BTreeMap<SignInFailure, Untold>,
    batch: Option<Batch>,
}

/// The use case, with what it needs.
pub struct FailedSignIns {
    store: Arc<AccountsStore>,
    facts: Arc<Facts>,
    counts: Mutex<Counts>,
}

impl FailedSignIns {
    /// Nothing has failed yet.
    pub fn new(store: Arc<AccountsStore>, facts: Arc<Facts>) -> Self {
        Self { store, facts, counts: Mutex::default() }
    }

    /// Counts one. Of all that are told together the first one's provenance is kept.
    pub fn count(&self, failure: SignInFailure, provenance: impl FnOnce() -> Provenance) {
        let mut counts = self.counts();
        let counted = counts.untold.entry(failure).or_insert_with(|| Untold { times: 0, first: provenance() });
        counted.times = counted.times.saturating_add(1);
    }

    /// Writes one record per reason that occurred since it was last called. What fails, or is broken off, is told by the next call,
    /// once, whatever became of it.
    pub async fn tell(&self) -> Result<(), StoreError> {
        // What the last call left, and what came since.
        for _ in 0..2 {
            let Some(Batch { records, is_tried }) = self.next_batch() else { return Ok(()) };
            match self.write(&records).await {
                // An attempt whose answer was lost.
                Err(StoreError::Duplicate { .. }) if is_tried => {}
                Err(error @ StoreError::Duplicate { .. }) => {
                    self.keep(&records, Some(Batch { records: records.clone(), is_tried: false }));
                    return Err(error);
                }
                outcome => outcome?,
            }
            self.keep(&records, None);
        }
        Ok(())
    }

    /// As it was before this call.
    fn next_batch(&self) -> Option<Batch> {
        let mut counts = self.counts();
        if counts.batch.is_none() && !counts.untold.is_empty() {
            let records =
                std::mem::take(&mut counts.untold).into_iter().map(|(failure, untold)| self.record(failure, untold));
            counts.batch = Some(Batch { records: records.collect(), is_tried: false });
        }
        let batch = counts.batch.clone();
        if let Some(batch) = &mut counts.batch {
            batch.is_tried = true;
        }
        batch
    }

    /// In place of the batch of these records, unless another call was faster.
    fn keep(&self, records: &[AuditRecord], batch: Option<Batch>) {
        let mut counts = self.counts();
        if counts.batch.as_ref().is_some_and(|current| current.records == records) {
            counts.batch = batch;
        }
    }

    fn record(&self, SignInFailure(text): SignInFailure, Untold { times, first }: Untold) -> AuditRecord {
        let provenance = Provenance { reason: Some(format!("{text}, {times} times")), ..first };
        let caller = Caller { principal: Principal::System(Job::SignIn), provenance };
        let source = (&*self.facts.ids, &*self.facts.clock);
        AuditRecord::now(source, &caller, None, AuditAction::SignInFailed, Subject::Platform)
    }

    async fn write(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = Self::write_in(&mut *tx, records).await;
        finish(tx, outcome).await
    }

    async fn write_in(tx: &mut dyn AccountsTx, records: &[AuditRecord]) -> Result<(), StoreError> {
        for record in records {
            tx.audit().record(record.clone()).await?;
        }
        Ok(())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use futures_util::FutureExt;
    use portal_identity::{Refresh, RefreshFailure};
    use portal_kernel::Begin;
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
        assert!(records.iter().all(|record| (record.action, record.account) == (AuditAction::SignInFailed, None)));
        let told: Vec<_> = records.iter().map(says).collect();
        assert_eq!(
            told,
            [("session-ended, 1 times", "198.51.100.0/24"), ("token-expired, 1000 times", "192.0.0.0/24")]
        );
    }

    /// What one record says.
    fn says(record: &AuditRecord) -> (&str, &str) {
        let Provenance { reason, address_prefix, .. } = &record.provenance;
        (reason.as_deref().unwrap(), address_prefix.as_deref().unwrap())
    }

    const ONE: (&str, &str) = ("token-expired, 1 times", "192.0.2.0/24");
    const TWO: (&str, &str) = ("token-expired, 2 times", "198.51.100.0/24");

    /// A transaction that is given one record, and what it says to it.
    fn answering(expected: (&'static str, &'static str), answer: fn() -> Result<(), StoreError>) -> MockTx {
        let mut tx = MockTx::default();
        let is_it = move |record: &AuditRecord| says(record) == expected;
        tx.audit.expect_record().withf(is_it).once().returning(move |_| answer());
        tx
    }

    fn gone() -> Result<(), StoreError> {
        Err(StoreError::Unavailable("gone".into()))
    }

    fn duplicate() -> Result<(), StoreError> {
        Err(StoreError::Duplicate { constraint: "a constraint".to_owned() })
    }

    /// Counts one, tells it in vain, and counts two more.
    async fn failed_before(transactions: impl IntoIterator<Item = MockTx>) -> FailedSignIns {
        let failed = failed(Arc::new(MockAccountsStore::new(transactions)));
        failed.count(expired(), || from(ONE.1));
        failed.tell().await.unwrap_err();
        for _ in 0..2 {
            failed.count(expired(), || from(TWO.1));
        }
        failed
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_by_the_next_call_before_what_came_since() {
        let failed = failed_before([answering(ONE, gone), answering(ONE, || Ok(())), answering(TWO, || Ok(()))]).await;
        for _ in 0..2 {
            failed.tell().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_told_by_an_attempt_whose_answer_was_lost_is_not_told_again() {
        let failed = failed_before([answering(ONE, gone), answering(ONE, duplicate), answering(TWO, || Ok(()))]).await;
        for _ in 0..2 {
            failed.tell().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_record_that_nobody_can_have_told_is_not_taken_for_told() {
        let refused = [answering(ONE, duplicate), answering(ONE, duplicate)];
        let told = [answering(ONE, || Ok(())), answering(TWO, || Ok(()))];
        let failed = failed_before(refused.into_iter().chain(told)).await;
        failed.tell().await.unwrap_err();
        failed.tell().await.unwrap();
    }

    /// Its first transaction never begins.
    struct StuckOnce(AtomicBool, MemoryStore);

    #[async_trait]
    impl Begin<dyn AccountsTx> for StuckOnce {
        async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
            if !self.0.swap(true, Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.1.begin().await
        }
    }

    #[tokio::test]
    async fn what_is_broken_off_is_told_by_the_next_call() {
        let store = MemoryStore::default();
        let failed = failed(Arc::new(StuckOnce(AtomicBool::default(), store.clone())));
        failed.count(expired(), || from(ONE.1));
        assert!(failed.tell().now_or_never().is_none());
        for _ in 0..2 {
            failed.tell().await.unwrap();
        }
        let records = store.rows.lock().await.records.clone();
        assert_eq!(records.iter().map(says).collect::<Vec<_>>(), [ONE]);
    }
}
