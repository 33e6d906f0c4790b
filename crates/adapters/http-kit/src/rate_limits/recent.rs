//! What was spent by whoever came of late, in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;

/// Locks, so that threads hardly ever wait for each other.
const SHARDS: usize = 16;

/// After so long nothing that was spent matters any more: as long as a quota takes to come back.
const WINDOW: Duration = Duration::from_mins(1);

/// Two generations of keys: whoever comes is in the younger. When that one is full, or as old as the window, the older is forgotten and the
/// younger takes its place. So those who stay away for a window are swept, at no cost for each, and a flood of keys pushes others out,
/// who then have all of their quota again: it never makes anybody wait.
pub(super) struct Recent<K>(Arc<Memory<K>>);

struct Memory<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
    /// In one generation of a shard.
    most: usize,
}

struct Shard<K> {
    young: HashMap<K, Nanos>,
    old: HashMap<K, Nanos>,
    /// The theoretical arrival time with which the younger generation began.
    began: Nanos,
}

impl<K: Eq + Hash + Copy> Recent<K> {
    /// Keeps at most so many keys.
    pub(super) fn new(most: usize) -> Self {
        let shard = || Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), began: Nanos::new(0) });
        let most = (most / (2 * SHARDS)).max(1);
        Self(Arc::new(Memory { shards: std::array::from_fn(|_| shard()), hasher: RandomState::new(), most }))
    }

    /// How many it keeps.
    pub(super) fn len(&self) -> usize {
        self.0.shards.iter().map(locked).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let place = usize::try_from(self.0.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        locked(&self.0.shards[place])
    }
}

impl<K> Clone for Recent<K> {
    /// The same memory.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A thread that panicked left whole entries behind.
fn locked<K>(shard: &Mutex<Shard<K>>) -> MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash + Copy> Shard<K> {
    fn keep(&mut self, key: K, arrival: Nanos, most: usize) {
        if self.is_over(arrival) || self.young.len() >= most {
            self.turn(arrival);
        }
        self.young.insert(key, arrival);
    }

    /// An arrival lies ahead of the time of its request by one window at most: twice the window between two of them is a window between
    /// the requests.
    fn is_over(&self, arrival: Nanos) -> bool {
        arrival.saturating_sub(self.began) >= Nanos::from(2 * WINDOW)
    }

    fn turn(&mut self, arrival: Nanos) {
        self.old = std::mem::take(&mut self.young);
        self.began = arrival;
    }
}

impl<K: Eq + Hash + Copy> StateStore for Recent<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(key);
        if let Some(arrival) = shard.young.get_mut(key) {
            let (outcome, next) = decide(Some(*arrival))?;
            *arrival = next;
            if shard.is_over(next) {
                shard.turn(next);
            }
            return Ok(outcome);
        }
        let known = shard.old.remove(key);
        match decide(known) {
            Ok((outcome, next)) => {
                shard.keep(*key, next, self.0.most);
                Ok(outcome)
            }
            Err(refusal) => {
                if let Some(arrival) = known {
                    shard.keep(*key, arrival, self.0.most);
                }
                Err(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(recent: &Recent<u32>, key: u32, arrival: Duration) -> Option<Nanos> {
        let known = std::cell::Cell::new(None);
        let decide = |before| {
            known.set(before);
            Ok::<_, ()>(((), Nanos::from(arrival)))
        };
        recent.measure_and_replace(&key, decide).unwrap();
        known.get()
    }

    #[test]
    fn whoever_comes_within_the_window_is_known() {
        let recent = Recent::new(10_000);
        for second in (0..600).step_by(59) {
            let known = visit(&recent, 1, Duration::from_secs(second));
            assert_eq!(known.is_some(), second > 0, "{second}");
            // Somebody else, with whom generations pass.
            visit(&recent, 2, Duration::from_secs(second + 30));
        }
    }

    #[test]
    fn whoever_stays_away_is_swept() {
        let recent = Recent::new(100_000);
        for key in 0..1_000 {
            visit(&recent, key, Duration::from_secs(1));
        }
        assert_eq!(recent.len(), 1_000);
        // Few others are enough to reach every shard.
        for minute in 2..8 {
            for key in 1_000..1_200 {
                visit(&recent, key, Duration::from_mins(minute));
            }
        }
        assert!(recent.len() <= 400, "{}", recent.len());
    }
}
