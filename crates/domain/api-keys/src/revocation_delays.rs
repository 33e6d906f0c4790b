//! How long this process went on with keys that were revoked, as the canary measures it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portal_kernel::{Clock, Timestamp};

/// Upper bounds of the counts, in milliseconds.
const BOUNDS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

/// The time over which percentiles are told.
const RECENT: Duration = Duration::from_hours(1);

/// How many measurements of that time are kept at most.
const MOST_RECENT: usize = 4_096;

/// All that was measured since the process began. Bounded.
pub struct RevocationDelays {
    clock: Arc<dyn Clock>,
    measured: Mutex<Measured>,
}

#[derive(Default)]
struct Measured {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
    recent: VecDeque<(Timestamp, Duration)>,
    last: Option<(Timestamp, Duration)>,
}

/// How many measurements were how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayCounts {
    /// An upper bound in milliseconds, and how many were that long at most.
    pub up_to: Vec<(u64, u64)>,
    /// How many there were.
    pub all: u64,
    /// All of them together.
    pub sum: Duration,
}

/// What is told of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelaySummary {
    /// The last one.
    pub last: Duration,
    /// When that was.
    pub measured_at: Timestamp,
    /// Those of the last hour, if there are any.
    pub last_hour: Option<LastHour>,
}

/// Measurements of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastHour {
    /// How many.
    pub measurements: usize,
    /// Half of them were no longer than this.
    pub median: Duration,
    /// 99 of 100 were no longer than this.
    pub p99: Duration,
}

impl RevocationDelays {
    /// Nothing is measured yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, measured: Mutex::default() }
    }

    /// Adds a measurement.
    pub fn note(&self, delay: Duration) {
        let now = self.clock.now();
        let mut measured = self.measured();
        let place = BOUNDS.iter().position(|bound| delay <= Duration::from_millis(*bound)).unwrap_or(BOUNDS.len());
        measured.counts[place] += 1;
        measured.sum += delay;
        measured.last = Some((now, delay));
        if measured.recent.len() == MOST_RECENT {
            measured.recent.pop_front();
        }
        measured.recent.push_back((now, delay));
    }

    /// For a histogram.
    pub fn counts(&self) -> DelayCounts {
        let measured = self.measured();
        let mut all = 0;
        let counted = BOUNDS.iter().zip(&measured.counts).map(|(bound, count)| {
            all += count;
            (*bound, all)
        });
        let up_to = counted.collect();
        DelayCounts { up_to, all: measured.counts.iter().sum(), sum: measured.sum }
    }

    /// What is known; nothing before the first measurement.
    pub fn summary(&self) -> Option<DelaySummary> {
        let now = self.clock.now();
        let measured = self.measured();
        let (measured_at, last) = measured.last?;
        let recent = measured.recent.iter().filter(|(at, _)| now.since(*at) < RECENT);
        let mut recent: Vec<_> = recent.map(|(_, delay)| *delay).collect();
        drop(measured);
        recent.sort_unstable();
        // The smallest that so many of a hundred do not exceed.
        let at = |percent: usize| recent.get((recent.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let last_hour = at(50).zip(at(99)).map(|(median, p99)| LastHour { measurements: recent.len(), median, p99 });
        Some(DelaySummary { last, measured_at, last_hour })
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portal_testkit::FixedClock;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn percentiles_are_those_of_the_last_hour_and_the_last_one_stays() {
        let clock = Arc::new(FixedClock::default());
        let delays = RevocationDelays::new(clock.clone());
        assert_eq!(delays.summary(), None);
        delays.note(ms(4_000));
        clock.advance(RECENT);
        for delay in 1..=100 {
            delays.note(ms(delay));
        }
        let measured_at = clock.now();
        let last_hour = LastHour { measurements: 100, median: ms(50), p99: ms(99) };
        let expected = DelaySummary { last: ms(100), measured_at, last_hour: Some(last_hour) };
        assert_eq!(delays.summary(), Some(expected));
        clock.advance(RECENT);
        assert_eq!(delays.summary(), Some(DelaySummary { last_hour: None, ..expected }));
    }

    #[test]
    fn one_measurement_is_every_percentile() {
        let delays = RevocationDelays::new(Arc::new(FixedClock::default()));
        delays.note(ms(7));
        let summary = delays.summary().unwrap().last_hour.unwrap();
        assert_eq!((summary.measurements, summary.median, summary.p99), (1, ms(7), ms(7)));
    }

    #[test]
    fn counts_add_up_from_bound_to_bound() {
        let delays = RevocationDelays::new(Arc::new(FixedClock::default()));
        for delay in [0, 5, 6, 1_000, 1_001, 60_000] {
            delays.note(ms(delay));
        }
        let counts = delays.counts();
        assert_eq!(counts.up_to.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 3, 3, 3, 3, 3, 3, 4, 5, 5]);
        assert_eq!((counts.all, counts.sum), (6, ms(62_012)));
    }

    #[test]
    fn no_more_is_kept_than_tells_an_hour() {
        let delays = RevocationDelays::new(Arc::new(FixedClock::default()));
        for _ in 0..=MOST_RECENT {
            delays.note(ms(1));
        }
        assert_eq!(delays.summary().unwrap().last_hour.unwrap().measurements, MOST_RECENT);
    }
}
