//! What was read of the store a moment ago, and holds until the change feed tells otherwise.
//!
//! A memory is bounded in number and keeps what is used. It answers only while the feed is current. What the feed tells is found through an
//! index, however much is remembered; and what was read before the news came is not remembered after it.
#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_kernel::{Change, ChangeFeed, ChangeListener};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};

/// How many different topics are told apart for reads that are under way. With one more, those reads are remembered no more than if
/// everything had changed.
const MOST_TOPICS: usize = 4096;

/// Something that was read, and what of the feed's news end it.
pub trait Remembered: Send + Sync + 'static {
    /// What it is looked up by.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;

    /// What the feed may have news about.
    type Topic: Clone + Ord + Send + Sync + 'static;

    /// What it depends on. Always the same for the same value.
    fn topics(&self) -> Vec<Self::Topic>;

    /// What a change is about; nothing if no value of this kind depends on it.
    fn topics_of(change: &Change) -> Vec<Self::Topic>;

    /// Whether the other one, under the same key, was certainly read later. The older one is not remembered over it.
    fn is_older_than(&self, _other: &Self) -> bool {
        false
    }
}

/// A bounded memory on the change feed.
pub struct Memory<V: Remembered> {
    feed: Arc<dyn ChangeFeed>,
    kept: Arc<Kept<V>>,
}

/// When a read began, in what had been heard of by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since(u64);

impl<V: Remembered> Memory<V> {
    /// Remembers so many at most.
    pub fn new(feed: Arc<dyn ChangeFeed>, most: usize) -> Self {
        let weight = u64::try_from(most).unwrap_or(u64::MAX);
        let entries = Cache::with(most, weight, UnitWeighter, DefaultHashBuilder::default(), HandOver);
        let kept = Arc::new(Kept { entries, book: Mutex::new(Book::default()) });
        feed.subscribe(kept.clone());
        Self { feed, kept }
    }

    /// What is remembered, while the feed is current.
    pub fn get(&self, key: &V::Key) -> Option<Arc<V>> {
        if !self.feed.is_current() {
            return None;
        }
        self.kept.entries.get(key).map(|entry| entry.value)
    }

    /// To be called before the store is read.
    pub fn now(&self) -> Since {
        Since(self.kept.book().heard)
    }

    /// Remembers what was read, unless something that it depends on was heard of since the read began: it might be from before that.
    pub fn remember(&self, key: V::Key, value: Arc<V>, since: Since) {
        self.kept.remember(key, value, since);
    }

    /// Forgets what is remembered under a key.
    pub fn forget(&self, key: &V::Key) {
        let mut book = self.kept.book();
        if let Some((_, entry)) = self.kept.entries.remove(key) {
            book.strike(&entry);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.kept.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct Kept<V: Remembered> {
    /// Written only by who holds the book, so that both say the same.
    entries: Cache<V::Key, Entry<V>, UnitWeighter, DefaultHashBuilder, HandOver>,
    book: Mutex<Book<V>>,
}

struct Entry<V> {
    value: Arc<V>,
    number: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), number: self.number }
    }
}

/// Hands what had to give way to whoever inserted.
#[derive(Clone, Copy)]
struct HandOver;

impl<K, V> Lifecycle<K, Entry<V>> for HandOver {
    type RequestState = Vec<Entry<V>>;

    fn on_evict(&self, evicted: &mut Self::RequestState, _: K, entry: Entry<V>) {
        evicted.push(entry);
    }
}

struct Book<V: Remembered> {
    /// Counts what was heard of.
    heard: u64,
    /// What was heard of each topic last; complete for reads that began at `complete` or later.
    last: BTreeMap<V::Topic, u64>,
    complete: u64,
    /// The number of the last entry. No two have the same.
    number: u64,
    /// Where the entries on a topic are, by their numbers.
    index: BTreeMap<(V::Topic, u64), V::Key>,
}

impl<V: Remembered> Default for Book<V> {
    fn default() -> Self {
        Self { heard: 0, last: BTreeMap::new(), complete: 0, number: 0, index: BTreeMap::new() }
    }
}

impl<V: Remembered> Book<V> {
    fn strike(&mut self, entry: &Entry<V>) {
        for topic in entry.value.topics() {
            self.index.remove(&(topic, entry.number));
        }
    }

    fn hear(&mut self, topics: &[V::Topic]) {
        self.heard += 1;
        if self.last.len() + topics.len() > MOST_TOPICS {
            self.last.clear();
            self.complete = self.heard;
        }
        self.last.extend(topics.iter().cloned().map(|topic| (topic, self.heard)));
    }

    /// Whether something on one of the topics may have been heard of since.
    fn has_heard(&self, topics: &[V::Topic], since: Since) -> bool {
        since.0 < self.complete || topics.iter().any(|topic| self.last.get(topic).is_some_and(|last| *last > since.0))
    }
}

impl<V: Remembered> Kept<V> {
    fn book(&self) -> MutexGuard<'_, Book<V>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: V::Key, value: Arc<V>, since: Since) {
        let topics = value.topics();
        let mut book = self.book();
        if book.has_heard(&topics, since) {
            return;
        }
        if let Some(known) = self.entries.peek(&key) {
            if value.is_older_than(&known.value) {
                return;
            }
            self.entries.remove(&key);
            book.strike(&known);
        }
        book.number += 1;
        let number = book.number;
        book.index.extend(topics.into_iter().map(|topic| ((topic, number), key.clone())));
        let mut evicted = Vec::new();
        self.entries.insert_with_lifecycle(key, Entry { value, number }, &mut evicted);
        for entry in &evicted {
            book.strike(entry);
        }
    }
}

impl<V: Remembered> ChangeListener for Kept<V> {
    fn changed(&self, change: &Change) {
        let topics = V::topics_of(change);
        if topics.is_empty() {
            return;
        }
        let mut book = self.book();
        book.hear(&topics);
        for topic in topics {
            let meant = book.index.range((topic.clone(), 0)..=(topic, u64::MAX));
            let keys: Vec<_> = meant.map(|(_, key)| key.clone()).collect();
            for key in keys {
                if let Some((_, entry)) = self.entries.remove(&key) {
                    book.strike(&entry);
                }
            }
        }
    }

    fn missed(&self) {
        let mut book = self.book();
        let heard = book.heard + 1;
        *book = Book { heard, complete: heard, number: book.number, ..Book::default() };
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests;
