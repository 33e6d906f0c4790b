//! What happens again and again is said once a minute.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portal_kernel::Timestamp;

const PAUSE: Duration = Duration::from_mins(1);

/// Beyond so many different things a minute, nothing new is said.
const MOST: usize = 1_000;

/// When each thing was said, and how often it happened since.
pub(crate) struct Sparingly<K>(Mutex<HashMap<K, (Timestamp, u64)>>);

impl<K> Default for Sparingly<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Sparingly<K> {
    /// Notes that it happened; how often it did since it was last said, if it is to be said now.
    pub(crate) fn note(&self, what: K, now: Timestamp) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, since)) = said.get_mut(&what) {
            *since += 1;
            if now.since(*at) < PAUSE {
                return None;
            }
            *at = now;
            return Some(std::mem::take(since));
        }
        if said.len() >= MOST {
            said.retain(|_, (at, _)| now.since(*at) < PAUSE);
        }
        if said.len() >= MOST {
            return None;
        }
        said.insert(what, (now, 0));
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use portal_kernel::Clock;
    use portal_testkit::FixedClock;

    use super::*;

    #[test]
    fn what_happens_again_is_said_once_a_minute_with_how_often() {
        let (clock, sparingly) = (FixedClock::default(), Sparingly::default());
        assert_eq!(sparingly.note("a", clock.now()), Some(1));
        assert_eq!(sparingly.note("b", clock.now()), Some(1), "something else is said at once");
        for _ in 0..3 {
            clock.advance(Duration::from_secs(19));
            assert_eq!(sparingly.note("a", clock.now()), None);
        }
        clock.advance(Duration::from_secs(3));
        assert_eq!(sparingly.note("a", clock.now()), Some(4));
        assert_eq!(sparingly.note("a", clock.now()), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_after_a_minute() {
        let (clock, sparingly) = (FixedClock::default(), Sparingly::default());
        let said = |clock: &FixedClock| (0..5_000).filter_map(|what| sparingly.note(what, clock.now())).count();
        assert_eq!(said(&clock), MOST);
        clock.advance(PAUSE);
        assert_eq!(said(&clock), MOST);
    }
}
