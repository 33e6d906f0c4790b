//! How many people signed in, for the metrics of this process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct SignInHealth {
    all: AtomicU64,
    first: AtomicU64,
}

impl SignInHealth {
    pub(super) fn note(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_first(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a session counted.
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// How many people were made by their own first request.
    pub fn first(&self) -> u64 {
        self.first.load(Ordering::Relaxed)
    }
}
