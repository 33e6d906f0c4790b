//! Forgetting the names of requests that nobody repeats any more.

use std::sync::Arc;

use portal_authz::action::ForgetRequests;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{Clock, NamedRequest, StoreError, finish};

use crate::ports::ApiKeysStore;

/// So many are deleted in one transaction.
const AT_ONCE: usize = 1_000;

/// Why names that are too old are still there.
#[derive(Debug, thiserror::Error)]
pub enum ForgetRequestsError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("old names of requests could not be deleted")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct OldRequests {
    /// Where they are deleted.
    pub store: Arc<ApiKeysStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl OldRequests {
    /// Deletes the names that count no more, and answers how many those were. Safe to repeat, to break off, and to do in several places at
    /// once.
    pub async fn forget(&self) -> Result<usize, ForgetRequestsError> {
        let _cleared: Authorized<ForgetRequests, Platform> =
            Unchecked::new(Platform).authorize(&Principal::System(Job::Retention))?;
        let before = self.clock.now().minus(NamedRequest::REMEMBERED);
        let mut forgotten = 0;
        loop {
            let mut tx = self.store.begin().await?;
            let outcome = tx.requests().forget(before, AT_ONCE).await;
            let part = finish(tx, outcome).await?;
            forgotten += part;
            if part < AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::memory::MemoryStore;
    use crate::testing::named_request;

    #[tokio::test]
    async fn what_is_older_than_a_day_is_deleted_part_by_part() {
        let store = MemoryStore::default();
        let clock = Arc::new(FixedClock::default());
        let day_ago = clock.now().minus(Duration::from_hours(24));
        let older = day_ago.minus(Duration::from_micros(1));
        let requests = (0..2_500).map(|number| named_request(&format!("name-{number}"), older));
        let young = named_request("young", day_ago);
        store.rows.lock().await.requests.0 = requests.chain([young.clone()]).collect();
        let old = OldRequests { store: Arc::new(store.clone()), clock };
        assert_eq!(old.forget().await.unwrap(), 2_500);
        assert_eq!(store.rows.lock().await.requests.0, [young]);
        assert_eq!(old.forget().await.unwrap(), 0);
    }
}
