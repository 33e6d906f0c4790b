//! A limit of requests to the Backend API, as Clerk has one for each instance.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portal_kernel::Timestamp;

/// The time that a limit counts over.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    limit: Option<u32>,
    /// When the requests of the last ten seconds came.
    moments: VecDeque<Timestamp>,
}

impl RateLimit {
    pub(crate) fn set(&self, limit: Option<u32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Spent { limit, moments: VecDeque::new() };
    }

    /// Counts one request, or says after how many seconds to ask again. What is refused does not count.
    pub(crate) fn spend(&self, now: Timestamp) -> Result<(), u64> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(limit) = spent.limit else { return Ok(()) };
        while spent.moments.front().is_some_and(|first| now.since(*first) >= WINDOW) {
            spent.moments.pop_front();
        }
        if spent.moments.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
            spent.moments.push_back(now);
            return Ok(());
        }
        let waited = spent.moments.front().map_or(Duration::ZERO, |first| now.since(*first));
        Err(WINDOW.saturating_sub(waited).as_millis().div_ceil(1_000).try_into().unwrap_or(WINDOW.as_secs()))
    }
}
