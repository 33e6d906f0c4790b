//! Which share of each limit this replica may use, so that all replicas together use no more than the limit.
//!
//! A replica has the same share as all others of whatever it told nothing about. Of a limit that is in demand it wants a share by its part of
//! the demand. What it gives up it gives up before it tells. What it takes it tells first, and takes in a later round, if what the others
//! told of themselves by then leaves room for it. So what a replica uses is never more than what it told, and of two who take the same the
//! later one sees what the earlier one told: all shares together are never more than the limit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portal_kernel::{AccountId, ApiKeyId, Timestamp};

use super::Share;

/// How long a replica counts that tells nothing any more.
pub const LIVE_FOR: Duration = Duration::from_secs(5);

/// How long a replica believes what it heard: it has its own share by itself before the others forget it.
const BELIEVED_FOR: Duration = Duration::from_secs(4);

/// How much of a limit all replicas have the same share of, whatever the demand: so a replica that a key comes to first lets it in. In
/// millionths.
const EVEN: u64 = 100_000;

/// What one request adds to the demand, which halves with each round: one is forgotten after five, a million after 24.
const ONE: u64 = 16;

/// How many limits have shares by demand at most; of any others all replicas have the same.
const MOST: usize = 20_000;

/// One limit of one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitOf {
    /// The key's owner.
    pub account: AccountId,
    /// The key.
    pub key: ApiKeyId,
    /// The id of the limit.
    pub limit: String,
}

/// What a replica tells the others of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which limit.
    pub of: LimitOf,
    /// How many requests came of late.
    pub demand: u64,
    /// How many millionths of it the replica uses at most.
    pub share: u64,
}

/// What the others told of a limit, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardOf {
    /// What they told.
    pub told: Told,
    /// How many of them told anything.
    pub replicas: usize,
}

/// What the others told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// How many told anything at all within [`LIVE_FOR`].
    pub others: usize,
    /// What of which limit; each once.
    pub limits: Vec<HeardOf>,
}

/// What is known of one limit.
struct Entry {
    limit: String,
    /// Requests since the last round.
    counted: u64,
    demand: u64,
    demand_of_others: u64,
    /// What is used here.
    share: u64,
    /// What the others surely know of.
    told: u64,
    /// What they are being told.
    telling: u64,
}

impl Entry {
    /// As one that nothing was told of.
    fn even(limit: &str, even: u64) -> Self {
        let limit = limit.to_owned();
        Self { limit, counted: 0, demand: 0, demand_of_others: 0, share: even, told: even, telling: even }
    }

    fn wanted(&self, replicas: u64) -> u64 {
        let all = self.demand.saturating_add(self.demand_of_others);
        if all == 0 {
            return Share::WHOLE.as_millionths() / replicas;
        }
        let by_demand = u128::from(Share::WHOLE.as_millionths() - EVEN) * u128::from(self.demand) / u128::from(all);
        EVEN / replicas + u64::try_from(by_demand).unwrap_or_default()
    }
}

#[derive(Default)]
struct Book {
    others: usize,
    heard_at: Option<Timestamp>,
    /// Nothing was heard for long.
    is_silent: bool,
    /// When that ended, and how many others there were before.
    returned: Option<(Timestamp, usize)>,
    limits: HashMap<ApiKeyId, (AccountId, Vec<Entry>)>,
    number: usize,
}

impl Book {
    fn replicas(&self) -> u64 {
        u64::try_from(self.others).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The share of a replica that told nothing.
    fn even(&self) -> u64 {
        Share::WHOLE.as_millionths() / self.replicas()
    }

    /// Whoever hears nothing for so long is not heard either: it keeps to what it has by itself, until the others know of it again.
    fn settle(&mut self, now: Timestamp) {
        let is_current = self.heard_at.is_none_or(|at| now < at.plus(BELIEVED_FOR));
        if is_current || std::mem::replace(&mut self.is_silent, true) {
            return;
        }
        let even = self.even();
        for entry in self.limits.values_mut().flat_map(|(_, entries)| entries) {
            (entry.share, entry.told) = (even, 0);
        }
    }

    fn entry(&mut self, account: AccountId, key: ApiKeyId, limit: &str) -> Option<&mut Entry> {
        let even = self.even();
        let is_full = self.number >= MOST;
        let known = self.limits.get(&key).and_then(|(_, known)| known.iter().position(|entry| entry.limit == limit));
        if known.is_none() && is_full {
            return None;
        }
        let (_, entries) = self.limits.entry(key).or_insert_with(|| (account, Vec::new()));
        let place = known.unwrap_or_else(|| {
            self.number += 1;
            entries.push(Entry::even(limit, even));
            entries.len() - 1
        });
        entries.get_mut(place)
    }
}

/// The shares of this replica.
#[derive(Default)]
pub(super) struct Shares(Mutex<Book>);

impl Shares {
    /// The share of a limit that a request is about to be counted against.
    pub(super) fn demanded(&self, account: AccountId, key: ApiKeyId, limit: &str, now: Timestamp) -> Share {
        let mut book = self.book();
        book.settle(now);
        let even = book.even();
        // Alone there is nobody to share with.
        let entry = if book.others == 0 { None } else { book.entry(account, key, limit) };
        let Some(entry) = entry else { return Share::millionths(even) };
        entry.counted += 1;
        Share::millionths(entry.share)
    }

    /// The share of a limit.
    pub(super) fn of(&self, key: ApiKeyId, limit: &str) -> Share {
        let book = self.book();
        let known = book.limits.get(&key).and_then(|(_, known)| known.iter().find(|entry| entry.limit == limit));
        let known = known.filter(|_| book.others > 0);
        Share::millionths(known.map_or_else(|| book.even(), |entry| entry.share))
    }

    /// Begins a round: gives up what is not wanted, and says what to tell. Whatever a round before did not hear may have been told or not.
    pub(super) fn tell(&self, now: Timestamp) -> Vec<Told> {
        let mut book = self.book();
        book.settle(now);
        let (replicas, even) = (book.replicas(), book.even());
        let mut all = Vec::new();
        let Book { limits, number, is_silent, .. } = &mut *book;
        limits.retain(|key, (account, entries)| {
            entries.retain_mut(|entry| {
                entry.demand =
                    (entry.demand / 2).saturating_add(std::mem::take(&mut entry.counted).saturating_mul(ONE));
                entry.told = entry.told.min(entry.telling);
                let wanted = if *is_silent { even } else { entry.wanted(replicas) };
                let is_over = entry.demand == 0 && entry.demand_of_others == 0;
                if is_over && entry.share == even && entry.told == even && entry.telling == even {
                    *number -= 1;
                    return false;
                }
                entry.share = entry.share.min(wanted);
                entry.telling = wanted;
                let of = LimitOf { account: *account, key: *key, limit: entry.limit.clone() };
                all.push(Told { of, demand: entry.demand, share: wanted });
                true
            });
            !entries.is_empty()
        });
        all.sort_unstable_by(|one, other| one.of.cmp(&other.of));
        all
    }

    /// Ends a round that began then: takes what was told in the round before, as far as the others leave room.
    pub(super) fn hear(&self, heard: &Heard, began: Timestamp) {
        let mut book = self.book();
        if std::mem::replace(&mut book.is_silent, false) {
            book.returned = Some((began, book.others));
        }
        book.heard_at = Some(began);
        // The others share without it until they heard of it, too: meanwhile it has no more than it had.
        let unheard = book.returned.filter(|(at, _)| began < at.plus(BELIEVED_FOR));
        book.others = heard.others.max(unheard.map_or(0, |(_, others)| others));
        let even = book.even();
        for of in &heard.limits {
            let LimitOf { account, key, limit } = &of.told.of;
            book.entry(*account, *key, limit);
        }
        let told: HashMap<_, _> =
            heard.limits.iter().map(|of| ((of.told.of.key, of.told.of.limit.as_str()), of)).collect();
        for (key, (_, entries)) in &mut book.limits {
            for entry in entries {
                let of_others = told.get(&(*key, entry.limit.as_str()));
                entry.demand_of_others = of_others.map_or(0, |of| of.told.demand);
                let silent = heard.others - of_others.map_or(0, |of| of.replicas).min(heard.others);
                let silent = even * u64::try_from(silent).unwrap_or(u64::MAX);
                let used = of_others.map_or(0, |of| of.told.share).saturating_add(silent);
                let room = Share::WHOLE.as_millionths().saturating_sub(used);
                // Somebody who heard nothing for long may use more than they are telling.
                entry.share = entry.share.max(room.min(entry.told)).min(entry.telling);
                entry.told = entry.telling;
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
