//! When a credential was last used, without a write for each use: the latest moments are kept in memory, and written now and then.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portal_kernel::{Entropy, StoreError, Timestamp};

use crate::ports::ActivityLog;
use crate::verify::look_up;

/// The latest use of each credential that is not written yet. Holds credentials that exist and nothing else, so it is as bounded as
/// they are.
pub struct LastUsed<I>(Mutex<HashMap<I, Timestamp>>);

impl<I> Default for LastUsed<I> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<I: Copy + Eq + Hash + Ord> LastUsed<I> {
    /// Notes a use that succeeded; one before the latest changes nothing.
    pub fn note(&self, id: I, at: Timestamp) {
        let mut latest = self.latest();
        let noted = latest.entry(id).or_insert(at);
        *noted = at.max(*noted);
    }

    /// All that was noted, in one order for all processes, so that none waits for another that waits for it.
    fn take(&self) -> Vec<(I, Timestamp)> {
        let mut taken: Vec<_> = std::mem::take(&mut *self.latest()).into_iter().collect();
        taken.sort_unstable();
        taken
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<I, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what was noted.
pub struct Activity<I: Send + Sync + 'static> {
    /// What was noted.
    pub last_used: Arc<LastUsed<I>>,
    /// Where it is written.
    pub log: Arc<dyn ActivityLog<I>>,
}

impl<I: Copy + Eq + Hash + Ord + Send + Sync + 'static> Activity<I> {
    /// Writes all that was noted, in one statement; none where there is nothing. What could not be written is noted again.
    pub async fn write(&self) -> Result<(), StoreError> {
        let uses = self.last_used.take();
        if uses.is_empty() {
            return Ok(());
        }
        let cleared = look_up().map_err(|denied| StoreError::Other(denied.into()))?;
        let written = self.log.used(&cleared, &uses).await;
        if written.is_err() {
            for (id, at) in uses {
                self.last_used.note(id, at);
            }
        }
        written
    }
}

/// How long to wait until the next write: 10 to 60 seconds, so that processes that began together do not write together.
pub fn pause(entropy: &dyn Entropy) -> Duration {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    Duration::from_millis(10_000 + u64::from(u32::from_be_bytes(bytes)) % 50_001)
}

#[cfg(test)]
mod tests {
    use portal_kernel::{Clock, ServiceTokenId};
    use portal_testkit::{CountingEntropy, FixedClock};

    use super::*;
    use crate::MockActivityLog;

    fn id(number: u32) -> ServiceTokenId {
        format!("svc_{number:026}").parse().unwrap()
    }

    fn at(second: u64) -> Timestamp {
        FixedClock::default().now().plus(Duration::from_secs(second))
    }

    fn activity(log: MockActivityLog<ServiceTokenId>) -> Activity<ServiceTokenId> {
        Activity { last_used: Arc::default(), log: Arc::new(log) }
    }

    #[tokio::test]
    async fn many_uses_are_one_write_of_the_latest_of_each() {
        let mut log = MockActivityLog::new();
        let expected = [(id(1), at(3)), (id(2), at(1))];
        log.expect_used().withf(move |_, uses| *uses == expected).once().returning(|_, _| Ok(()));
        let activity = activity(log);
        for (number, second) in [(2, 1), (1, 2), (1, 3), (1, 1), (2, 0)] {
            activity.last_used.note(id(number), at(second));
        }
        activity.write().await.unwrap();
        activity.write().await.unwrap();
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later_with_what_came_since() {
        let mut log = MockActivityLog::new();
        log.expect_used().once().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
        let expected = [(id(1), at(5)), (id(2), at(1)), (id(3), at(6))];
        log.expect_used().withf(move |_, uses| *uses == expected).once().returning(|_, _| Ok(()));
        let activity = activity(log);
        activity.last_used.note(id(1), at(5));
        activity.last_used.note(id(2), at(1));
        activity.write().await.unwrap_err();
        activity.last_used.note(id(1), at(4));
        activity.last_used.note(id(3), at(6));
        activity.write().await.unwrap();
    }

    #[test]
    fn writes_are_10_to_60_seconds_apart_and_not_always_the_same() {
        let entropy = CountingEntropy::default();
        let pauses: Vec<_> = (0..1_000).map(|_| pause(&entropy)).collect();
        assert!(pauses.iter().all(|pause| (10..=60).contains(&pause.as_secs())));
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
