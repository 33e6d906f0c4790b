//! What scans found, for the metrics of every replica.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ScanCursor;

/// The last scan that read and mended everything, on whichever replica.
#[derive(Debug, Default)]
pub struct ReconcileHealth {
    drift: AtomicU64,
    last_complete: AtomicU64,
}

impl ReconcileHealth {
    pub(super) fn note(&self, cursor: &ScanCursor) {
        if let Some(scan) = cursor.last_complete {
            self.drift.store(scan.drift.into(), Ordering::Relaxed);
            let ended_at = u64::try_from(scan.ended_at.unix_seconds()).unwrap_or_default();
            self.last_complete.store(ended_at, Ordering::Relaxed);
        }
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
