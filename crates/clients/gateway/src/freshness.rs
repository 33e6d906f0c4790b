//! Whether what is known is known for sure, and what time it is at the database.
//!
//! The age of what was heard is measured by the monotonic clock of this process; no clock of this machine is compared with that of another.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portal_kernel::Timestamp;

/// What was heard counts for so long.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(5);

const MICROS_PER_SECOND: i64 = 1_000_000;

pub(crate) struct Freshness {
    epoch: Instant,
    /// Microseconds after the epoch.
    fresh_until: AtomicU64,
    /// Microseconds from the epoch of this process to the time of the database.
    ahead: AtomicI64,
}

impl Freshness {
    /// Nothing was heard yet.
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), fresh_until: AtomicU64::new(0), ahead: AtomicI64::new(0) }
    }

    /// At `instant` or later it was that time at the database, and everything before is known.
    pub(crate) fn heard(&self, at: Timestamp, instant: Instant) {
        let since = instant.saturating_duration_since(self.epoch);
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        self.ahead.store(at.unix_micros().saturating_sub(micros), Ordering::Release);
        let until = u64::try_from((since + FRESH_FOR).as_micros()).unwrap_or(u64::MAX);
        self.fresh_until.store(until, Ordering::Release);
    }

    /// As [`Self::heard`], and nothing more has to be.
    #[cfg(feature = "testing")]
    pub(crate) fn believe_for_ever(&self, at: Timestamp) {
        self.heard(at, Instant::now());
        self.fresh_until.store(u64::MAX, Ordering::Release);
    }

    /// Something may have been missed: nothing counts until more is heard.
    pub(crate) fn doubt(&self) {
        self.fresh_until.store(0, Ordering::Release);
    }

    /// The time of the database, and ahead of it by no more than an answer takes; none if what is known is too old.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        self.at(self.epoch.elapsed())
    }

    fn at(&self, elapsed: Duration) -> Option<Timestamp> {
        let micros = u64::try_from(elapsed.as_micros()).ok()?;
        if micros >= self.fresh_until.load(Ordering::Acquire) {
            return None;
        }
        let now = self.ahead.load(Ordering::Acquire).checked_add(i64::try_from(micros).ok()?)?;
        let below_a_second = u64::try_from(now.rem_euclid(MICROS_PER_SECOND)).ok()?;
        let second = Timestamp::from_unix_seconds(now.div_euclid(MICROS_PER_SECOND))?;
        Some(second.plus(Duration::from_micros(below_a_second)))
    }
}

#[cfg(test)]
mod tests {
    use portal_kernel::Clock;
    use portal_testkit::FixedClock;

    use super::*;

    #[test]
    fn what_was_heard_counts_for_five_seconds_and_time_goes_on_meanwhile() {
        let (freshness, at) = (Freshness::new(), FixedClock::default().now());
        let second = Duration::from_secs(1);
        assert_eq!(freshness.at(Duration::ZERO), None, "nothing was heard");
        freshness.heard(at, freshness.epoch + second);
        assert_eq!(freshness.at(second), Some(at));
        let almost = Duration::from_micros(4_999_999);
        assert_eq!(freshness.at(second + almost), Some(at.plus(almost)));
        assert_eq!(freshness.at(second * 6), None);
        freshness.heard(at.plus(second), freshness.epoch + second * 7);
        assert_eq!(freshness.at(second * 8), Some(at.plus(second * 2)), "it heals by itself");
        freshness.doubt();
        assert_eq!(freshness.at(second * 8), None);
    }
}
