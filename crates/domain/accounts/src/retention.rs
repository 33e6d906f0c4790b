//! What is not kept for good.

use std::sync::Arc;
use std::time::Duration;

use portal_authz::{Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{Clock, StoreError, Timestamp, finish};

use crate::ports::{AccountsStore, AccountsTx, Merging};

/// How long sessions are remembered: which of them were seen, from the first time on, and which of them ended, from their end on. No token
/// of theirs lives nearly as long. One that is still alive then is in the trail once more.
const SESSIONS_REMEMBERED: Duration = Duration::from_hours(24 * 366);

/// So many rows of a kind are deleted in one transaction.
const AT_ONCE: usize = 1_000;

/// Why what is old is still there.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("what is old could not be deleted")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct Retention {
    /// Where it is deleted.
    pub store: Arc<AccountsStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Retention {
    /// Deletes what is too old, and answers how many rows those were. Safe to repeat, to break off, and to do in several places at once.
    pub async fn forget(&self) -> Result<usize, RetentionError> {
        let cleared: Merging = Unchecked::new(Platform).authorize(&Principal::System(Job::Sessions))?;
        let before = self.clock.now().minus(SESSIONS_REMEMBERED);
        let mut forgotten = 0;
        loop {
            let mut tx = self.store.begin().await?;
            let outcome = forget_in(&mut *tx, &cleared, before).await;
            let (ended, seen) = finish(tx, outcome).await?;
            forgotten += ended + seen;
            if ended < AT_ONCE && seen < AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

async fn forget_in(
    tx: &mut dyn AccountsTx,
    cleared: &Merging,
    before: Timestamp,
) -> Result<(usize, usize), StoreError> {
    let ended = tx.provider_ids().forget_sessions(cleared, before, AT_ONCE).await?;
    Ok((ended, tx.sightings().forget(cleared, before, AT_ONCE).await?))
}

#[cfg(test)]
mod tests {
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::{Ending, MockAccountsStore, MockTx};

    #[tokio::test]
    async fn what_is_older_than_any_session_is_deleted_part_by_part() {
        let clock = Arc::new(FixedClock::default());
        let long_ago = clock.now().minus(SESSIONS_REMEMBERED);
        let parts = [(AT_ONCE, 3), (7, AT_ONCE), (0, 5)].map(|(ended, seen)| {
            let mut tx = MockTx::default();
            let is_old = move |before: Timestamp, most: usize| (before, most) == (long_ago, AT_ONCE);
            tx.provider_ids.expect_forget_sessions().once().returning(move |_, before, most| {
                assert!(is_old(before, most));
                Ok(ended)
            });
            tx.sightings.expect_forget().once().returning(move |_, before, most| {
                assert!(is_old(before, most));
                Ok(seen)
            });
            tx
        });
        let store = Arc::new(MockAccountsStore::new(parts));
        let retention = Retention { store: store.clone(), clock };
        assert_eq!(retention.forget().await.unwrap(), 2 * AT_ONCE + 15);
        assert_eq!(store.endings(), [Ending::Committed; 3]);
    }
}
