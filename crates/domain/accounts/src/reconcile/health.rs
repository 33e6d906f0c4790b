//! What scans found, for the metrics of every replica.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ScanCursor;

/// The last scan that read and mended everything, on whichever replica, and what the last one of this process could not use.
#[derive(Debug, Default)]
pub struct ReconcileHealth {
    drift: AtomicU64,
    last_complete: AtomicU64,
    unusable: AtomicU64,
}

impl ReconcileHealth {
    pub(super) fn note(&self, cursor: &ScanCursor) {
        if let Some(scan) = cursor.last_complete {
            self.drift.store(scan.drift.into(), Ordering::Relaxed);
            let ended_at = u64::try_from(scan.ended_at.unix_seconds()).unwrap_or_default();
            if self.last_complete.swap(ended_at, Ordering::Relaxed) < ended_at {
                self.unusable.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn could_not_use(&self, records: usize) {
        self.unusable.store(u64::try_from(records).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many records the last scan of this process could not use; 0 once any replica's scan is complete.
    pub fn unusable(&self) -> u64 {
        self.unusable.load(Ordering::Relaxed)
    }

    /// How many records it had to mend.
    pub fn drift(&self) -> u64 {
        self.drift.load(Ordering::Relaxed)
    }

    /// When it ended, in seconds since 1970; 0 before the first.
    pub fn last_complete(&self) -> u64 {
        self.last_complete.load(Ordering::Relaxed)
    }
}
