//! The clock of the limits, which never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock as LimitClock;
use governor::nanos::Nanos;
use portal_kernel::Clock;

/// Differences between threads that read the clock at the same time are below this; more means that it was set.
const SET_BACK: u64 = 1_000_000;

/// The program's clock in microseconds, going on from where it was when somebody sets it back. Without that, whoever spent
/// something before would have to wait for the old time to come again.
#[derive(Clone)]
pub(super) struct Steady(Arc<Time>);

struct Time {
    clock: Arc<dyn Clock>,
    latest: AtomicU64,
    set_back_by: AtomicU64,
}

impl Steady {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Time { clock, latest: AtomicU64::new(0), set_back_by: AtomicU64::new(0) }))
    }
}

impl LimitClock for Steady {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let Time { clock, latest, set_back_by: correction } = &*self.0;
        let set_back_by = correction.load(Ordering::Relaxed);
        let now = u64::try_from(clock.now().unix_micros()).unwrap_or_default() + set_back_by;
        let latest = latest.fetch_max(now, Ordering::Relaxed);
        if now + SET_BACK < latest {
            // One of those who see it at the same time is enough.
            let behind = set_back_by + (latest - now);
            let _ = correction.compare_exchange(set_back_by, behind, Ordering::Relaxed, Ordering::Relaxed);
        }
        Nanos::new(latest.max(now) * 1_000)
    }
}
