use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use portal_testkit::SteeredFeed;

use super::*;

/// A value on topics, at a revision.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    on: Vec<String>,
    revision: u32,
}

impl Remembered for Read {
    type Key = u32;
    type Topic = String;

    fn topics(&self) -> Vec<String> {
        self.on.clone()
    }

    fn topics_of(change: &Change) -> Vec<String> {
        match change {
            Change::Session(topic) => vec![topic.clone()],
            _ => Vec::new(),
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        self.revision < other.revision
    }
}

fn read(on: &[&str], revision: u32) -> Arc<Read> {
    Arc::new(Read { on: on.iter().map(|&topic| topic.to_owned()).collect(), revision })
}

fn news(topic: &str) -> Change {
    Change::Session(topic.to_owned())
}

fn memory(most: usize) -> (Memory<Read>, Arc<SteeredFeed>) {
    let feed = SteeredFeed::current();
    (Memory::new(feed.clone(), most), feed)
}

impl Memory<Read> {
    fn put(&self, key: u32, value: &Arc<Read>) {
        self.remember(key, value.clone(), self.now());
    }

    fn indexed(&self) -> usize {
        self.kept.book().index.len()
    }
}

#[test]
fn what_was_read_is_answered_only_while_the_feed_is_current() {
    let (memory, feed) = memory(10);
    memory.put(1, &read(&["a"], 1));
    assert_eq!(memory.get(&1), Some(read(&["a"], 1)));
    assert_eq!(memory.get(&2), None);
    feed.set_current(false);
    assert_eq!(memory.get(&1), None);
    feed.set_current(true);
    assert_eq!(memory.get(&1), Some(read(&["a"], 1)));
}

#[test]
fn news_end_everything_on_their_topic_and_nothing_else() {
    let (memory, feed) = memory(10);
    memory.put(1, &read(&["a", "b"], 1));
    memory.put(2, &read(&["b"], 1));
    memory.put(3, &read(&["c"], 1));
    feed.tell(&news("b"));
    assert_eq!([1, 2, 3].map(|key| memory.get(&key).is_some()), [false, false, true]);
    feed.tell(&Change::Key("key_00000000000000000000000001".parse().unwrap()));
    assert_eq!((memory.len(), memory.indexed()), (1, 1));
    memory.forget(&3);
    assert_eq!((memory.is_empty(), memory.indexed()), (true, 0));
}

#[test]
fn a_read_that_was_under_way_when_news_of_it_came_is_not_remembered() {
    let (memory, feed) = memory(10);
    let before = memory.now();
    feed.tell(&news("a"));
    memory.remember(1, read(&["a"], 1), before);
    memory.remember(2, read(&["b", "a"], 1), before);
    assert!(memory.is_empty() && memory.indexed() == 0);
    // News of something else do not matter, and a read that began after them is as good as any.
    memory.remember(3, read(&["b"], 1), before);
    memory.put(1, &read(&["a"], 2));
    assert_eq!([1, 2, 3].map(|key| memory.get(&key).is_some()), [true, false, true]);
}

#[test]
fn a_read_that_was_under_way_for_more_news_than_are_told_apart_is_not_remembered() {
    let (memory, feed) = memory(10);
    let before = memory.now();
    for number in 0..MOST_TOPICS {
        feed.tell(&news(&format!("other {number}")));
    }
    memory.remember(1, read(&["a"], 1), before);
    assert_eq!(memory.len(), 1, "all of them are told apart");
    feed.tell(&news("one more"));
    memory.remember(2, read(&["b"], 1), before);
    assert_eq!(memory.len(), 1);
    memory.put(2, &read(&["b"], 1));
    assert_eq!(memory.len(), 2);
}

#[test]
fn when_changes_were_missed_everything_is_forgotten_and_nothing_under_way_is_remembered() {
    let (memory, feed) = memory(10);
    memory.put(1, &read(&["a"], 1));
    let before = memory.now();
    feed.miss();
    memory.remember(2, read(&["b"], 1), before);
    assert_eq!((memory.get(&1), memory.len(), memory.indexed()), (None, 0, 0));
    memory.put(2, &read(&["b"], 1));
    assert_eq!(memory.len(), 1);
}

#[test]
fn an_older_read_is_not_remembered_over_a_newer_one() {
    let (memory, feed) = memory(10);
    memory.put(1, &read(&["a"], 8));
    memory.put(1, &read(&["b"], 7));
    assert_eq!(memory.get(&1), Some(read(&["a"], 8)));
    memory.put(1, &read(&["b"], 9));
    feed.tell(&news("a"));
    assert_eq!(memory.get(&1), Some(read(&["b"], 9)), "it does not depend on that any more");
    feed.tell(&news("b"));
    assert_eq!((memory.get(&1), memory.indexed()), (None, 0));
}

#[test]
fn what_gives_way_leaves_nothing_behind() {
    let (memory, feed) = memory(100);
    for key in 0..10_000 {
        memory.put(key, &read(&[&format!("of {key}"), "all"], 1));
    }
    assert!(memory.len() <= 100);
    assert_eq!(memory.indexed(), 2 * memory.len());
    feed.tell(&news("all"));
    assert_eq!((memory.len(), memory.indexed()), (0, 0));
}

#[test]
fn whatever_happens_at_once_no_read_outlives_the_news_of_it() {
    let (memory, feed) = memory(64);
    let stored: Vec<_> = (0..128).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..20_000_u32 {
                    let key = round.wrapping_mul(2_654_435_761) >> 25;
                    if memory.get(&key).is_none() {
                        let before = memory.now();
                        let revision = stored[key as usize].load(Ordering::SeqCst);
                        memory.remember(key, read(&[&key.to_string()], revision), before);
                    }
                }
            });
        }
        scope.spawn(|| {
            for round in 0..20_000_u32 {
                let key = round % 128;
                stored[key as usize].fetch_add(1, Ordering::SeqCst);
                feed.tell(&news(&key.to_string()));
                let told = stored[key as usize].load(Ordering::SeqCst);
                assert!(memory.get(&key).is_none_or(|known| known.revision == told));
            }
        });
    });
    assert_eq!(memory.indexed(), memory.len());
}
