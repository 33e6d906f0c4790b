//! Counting the uses of keys against their limits, in memory and without waiting for anybody.
//!
//! A limit lets so many requests through at once, and gives back one after the other, so that all are back when its window is over (GCRA).
//! What was counted belongs to the key and the id of the limit: it outlives secrets, and changes of the key but for the limits that go.

mod bucket;
mod shares;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portal_kernel::{ApiKeyId, Timestamp};
use quick_cache::sync::Cache;

use self::bucket::{Bucket, Terms};
use self::shares::Shares;
pub use self::shares::{Heard, HeardOf, LIVE_FOR, LimitOf, Told};
use crate::{RateLimit, RateLimits, StoredKey};

/// The part of each limit that may be used here, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000);

    /// The least that there is.
    const LEAST: u32 = 10;

    /// So many millionths; no more than all, and never nothing.
    pub fn millionths(millionths: u64) -> Self {
        let capped = u32::try_from(millionths).unwrap_or(Self::WHOLE.0);
        Self(capped.clamp(Self::LEAST, Self::WHOLE.0))
    }

    /// In millionths.
    pub fn as_millionths(self) -> u64 {
        self.0.into()
    }
}

/// Where a key stands with one of its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which limit.
    pub limit: RateLimit,
    /// How many requests would be let through now.
    pub remaining: u32,
    /// When one more would be.
    pub reset_at: Timestamp,
}

/// Where a key stands with all of its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Whether no limit refuses.
    pub allowed: bool,
    /// One for each limit, in the order of the key.
    pub standings: Vec<Standing>,
}

impl Rates {
    /// How long to wait until no limit refuses; nothing if none does.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let refusing = self.standings.iter().filter(|standing| standing.remaining == 0);
        if self.allowed { None } else { refusing.map(|standing| standing.reset_at.since(now)).max() }
    }
}

/// What was counted of one key.
#[derive(Default)]
struct Counted(Mutex<Vec<(String, Bucket)>>);

impl Counted {
    /// A thread that panicked left whole entries behind.
    fn locked(&self) -> MutexGuard<'_, Vec<(String, Bucket)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts uses of keys. The one place where a limit of a key is applied.
pub struct KeyRates {
    counted: Cache<ApiKeyId, Arc<Counted>>,
    shares: Shares,
}

impl KeyRates {
    /// Counts so many keys at a time. One that has to give way has all of its limits again when it comes back.
    pub fn new(most: usize) -> Self {
        Self { counted: Cache::new(most), shares: Shares::default() }
    }

    /// Counts a request against all limits, or, if one of them refuses it, against none.
    ///
    /// To be called for who knows the key's secret, once nothing else speaks against the request.
    pub fn charge(&self, of: &StoredKey, now: Timestamp) -> Rates {
        let StoredKey { key, account, policy, .. } = of;
        let limits = &policy.rate_limits;
        if limits.is_empty() {
            return Rates { allowed: true, standings: Vec::new() };
        }
        let terms = |limit: &RateLimit| Terms::new(limit, self.shares.demanded(*account, *key, limit.id(), now));
        let terms: Vec<_> = limits.iter().map(terms).collect();
        let counted = self.counted.get(key).unwrap_or_else(|| {
            let made = self.counted.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(Arc::default()));
            made.unwrap_or_else(|never| match never {})
        });
        let mut known = counted.locked();
        let mut buckets = on_terms(&known, limits, &terms, now);
        let after: Option<Vec<_>> = buckets.iter().map(|bucket| bucket.charged(now)).collect();
        let allowed = after.is_some();
        buckets = after.unwrap_or(buckets);
        let standings = limits.iter().zip(&buckets).map(|(limit, bucket)| bucket.standing(limit, now)).collect();
        *known = limits.iter().map(|limit| limit.id().to_owned()).zip(buckets).collect();
        Rates { allowed, standings }
    }

    /// What [`Self::charge`] would come to, without counting anything: how many requests are left before one is made.
    pub fn standing(&self, key: ApiKeyId, limits: &RateLimits, now: Timestamp) -> Rates {
        let terms: Vec<_> = limits.iter().map(|limit| Terms::new(limit, self.shares.of(key, limit.id()))).collect();
        let counted = self.counted.get(&key);
        let known = counted.as_deref().map(Counted::locked);
        let buckets = on_terms(known.as_deref().map_or(&[], Vec::as_slice), limits, &terms, now);
        let standings = limits.iter().zip(&buckets).map(|(limit, bucket)| bucket.standing(limit, now)).collect();
        Rates { allowed: buckets.iter().all(|bucket| bucket.charged(now).is_some()), standings }
    }

    /// Begins a round with the other replicas: what to tell them.
    pub fn tell(&self, now: Timestamp) -> Vec<Told> {
        self.shares.tell(now)
    }

    /// Ends the round that began then. One that nothing was heard in needs no end.
    pub fn hear(&self, heard: &Heard, began: Timestamp) {
        self.shares.hear(heard, began);
    }
}

/// What is known of each limit, on the terms of now.
fn on_terms(known: &[(String, Bucket)], limits: &RateLimits, terms: &[Terms], now: Timestamp) -> Vec<Bucket> {
    let of = |(limit, terms): (&RateLimit, &Terms)| match known.iter().find(|(id, _)| id == limit.id()) {
        Some((_, bucket)) => bucket.on(*terms, now),
        None => Bucket::full(*terms),
    };
    limits.iter().zip(terms).map(of).collect()
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
