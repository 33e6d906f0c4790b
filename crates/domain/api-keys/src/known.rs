//! Credentials that were looked up a moment ago, and texts that are none.
//!
//! Both are remembered apart: whoever asks for many that there are not pushes none out that there is.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use portal_kernel::{Change, ChangeFeed, Clock, Timestamp};
use portal_memory::{Memory, Remembered, Since};

/// How long it is remembered that there is no such credential, at most: any news of one end it before.
pub(crate) const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// How many texts that are no credential are remembered at most.
const MOST_UNKNOWN: usize = 10_000;

/// Answers from memory while the change feed is current.
pub(crate) struct Known<V: Remembered> {
    clock: Arc<dyn Clock>,
    found: Memory<V>,
    unknown: Memory<Unknown<V>>,
}

/// There was no such credential.
struct Unknown<V> {
    at: Timestamp,
    of: PhantomData<fn() -> V>,
}

impl<V> Unknown<V> {
    fn still_counts(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.plus(UNKNOWN_FOR)
    }
}

impl<V: Remembered> Remembered for Unknown<V> {
    type Key = V::Key;
    type Topic = ();

    fn topics(&self) -> Vec<()> {
        vec![()]
    }

    /// The feed names credentials and their owners, and which of them a kid would belong to nobody knows.
    fn topics_of(change: &Change) -> Vec<()> {
        if V::topics_of(change).is_empty() { Vec::new() } else { vec![()] }
    }
}

/// When a look-up began.
#[derive(Clone, Copy)]
pub(crate) struct LookUp {
    found: Since,
    unknown: Since,
    at: Timestamp,
}

impl<V: Remembered> Known<V> {
    /// Remembers so many credentials at most.
    pub(crate) fn new(feed: Arc<dyn ChangeFeed>, clock: Arc<dyn Clock>, most: usize) -> Self {
        Self { clock, found: Memory::new(feed.clone(), most), unknown: Memory::new(feed, MOST_UNKNOWN) }
    }

    /// What is remembered of a credential; none in it if there is no such one.
    #[expect(clippy::option_option, reason = "the outer one is whether anything is remembered")]
    pub(crate) fn get(&self, key: &V::Key) -> Option<Option<Arc<V>>> {
        match self.found.get(key) {
            Some(found) => Some(Some(found)),
            None => self.unknown.get(key).filter(|unknown| unknown.still_counts(self.clock.now())).map(|_| None),
        }
    }

    /// To be called before the store is read.
    pub(crate) fn look_up(&self) -> LookUp {
        LookUp { found: self.found.now(), unknown: self.unknown.now(), at: self.clock.now() }
    }

    /// Remembers what was found, unless something that it depends on was heard of since the look-up began.
    pub(crate) fn remember(&self, key: V::Key, found: Option<&Arc<V>>, since: LookUp) {
        match found {
            Some(found) => self.found.remember(key, found.clone(), since.found),
            None => self.unknown.remember(key, Arc::new(Unknown { at: since.at, of: PhantomData }), since.unknown),
        }
    }
}
