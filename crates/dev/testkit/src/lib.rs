//! Clocks, ids, entropy and feeds that a test controls, and load for measurements.

pub mod load;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portal_kernel::{Change, ChangeFeed, ChangeListener, Clock, Entropy, IdGen, Timestamp};
use time::macros::datetime;
use uuid::Uuid;

/// A clock that stands still until it is moved. Starts at 2026-01-01T00:00:00Z.
pub struct FixedClock(Mutex<Timestamp>);

impl Default for FixedClock {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::new(datetime!(2026-01-01 00:00:00 UTC))))
    }
}

impl FixedClock {
    /// # Panics
    /// If another thread panicked while it moved the clock.
    pub fn advance(&self, span: Duration) {
        let mut now = self.0.lock().expect("the clock is not poisoned");
        *now = now.plus(span);
    }

    /// # Panics
    /// If another thread panicked while it moved the clock.
    pub fn set(&self, moment: Timestamp) {
        *self.0.lock().expect("the clock is not poisoned") = moment;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("the clock is not poisoned")
    }
}

/// Ids that count up from one, so that an assertion can name them.
#[derive(Default)]
pub struct CountingIds(AtomicU64);

impl IdGen for CountingIds {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// Bytes that count up, so that secrets differ from each other and repeat from run to run.
#[derive(Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let [low, high, ..] = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(151).to_le_bytes();
            *byte = low ^ high;
        }
    }
}

/// A change feed that is steered by hand.
pub struct SteeredFeed {
    current: AtomicBool,
    listeners: Mutex<Vec<Arc<dyn ChangeListener>>>,
}

impl SteeredFeed {
    /// Everything has been told.
    pub fn current() -> Arc<Self> {
        Arc::new(Self { current: AtomicBool::new(true), listeners: Mutex::default() })
    }

    /// Nothing may be answered from memory.
    pub fn behind() -> Arc<Self> {
        Arc::new(Self { current: AtomicBool::new(false), listeners: Mutex::default() })
    }

    /// From now on.
    pub fn set_current(&self, current: bool) {
        self.current.store(current, Ordering::Relaxed);
    }

    /// Something changed.
    pub fn tell(&self, change: &Change) {
        self.each(|listener| listener.changed(change));
    }

    /// Changes were missed.
    pub fn miss(&self) {
        self.each(|listener| listener.missed());
    }

    fn each(&self, news: impl Fn(&dyn ChangeListener)) {
        let listeners = self.listeners.lock().expect("no listener panicked");
        listeners.iter().for_each(|listener| news(&**listener));
    }
}

impl ChangeFeed for SteeredFeed {
    fn is_current(&self) -> bool {
        self.current.load(Ordering::Relaxed)
    }

    fn subscribe(&self, listener: Arc<dyn ChangeListener>) {
        self.listeners.lock().expect("no listener panicked").push(listener);
    }
}
