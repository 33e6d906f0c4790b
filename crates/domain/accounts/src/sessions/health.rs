//! What is known of ends that the provider did not confirm, for the job and the metrics of this process.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use portal_kernel::Timestamp;

use super::UnconfirmedEndCount;

/// No moment is later.
const NEVER: i64 = i64::MAX;

/// How many there are, and when the provider is to be asked again, so that the store need not be asked about that all the time.
#[derive(Debug)]
pub struct RevocationHealth {
    unconfirmed: AtomicU64,
    /// In milliseconds since 1970, as all moments here.
    due_at: AtomicI64,
    rests_until: AtomicI64,
}

impl Default for RevocationHealth {
    fn default() -> Self {
        Self { unconfirmed: AtomicU64::new(0), due_at: AtomicI64::new(NEVER), rests_until: AtomicI64::new(0) }
    }
}

impl RevocationHealth {
    /// What the store says.
    pub(super) fn note(&self, count: UnconfirmedEndCount) {
        self.unconfirmed.store(count.all, Ordering::Relaxed);
        self.due_at.store(count.first_due.map_or(NEVER, Timestamp::unix_millis), Ordering::Relaxed);
    }

    /// There is something to ask for at that moment.
    pub(super) fn expect_by(&self, at: Timestamp) {
        self.due_at.fetch_min(at.unix_millis(), Ordering::Relaxed);
    }

    /// Nothing is to be asked for before that moment.
    pub(super) fn rest_until(&self, at: Timestamp) {
        self.rests_until.store(at.unix_millis(), Ordering::Relaxed);
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let now = now.unix_millis();
        now >= self.due_at.load(Ordering::Relaxed) && now >= self.rests_until.load(Ordering::Relaxed)
    }

    /// How many sessions ended here that the provider may still make tokens for.
    pub fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }
}
