//! What was spent of one limit: the generic cell rate algorithm of `governor`, asked first and written down later.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use portal_kernel::Timestamp;

use super::{Share, Standing};
use crate::RateLimit;

/// A limit, and how much of it may be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    limit: u32,
    window: Duration,
    share: Share,
}

impl Terms {
    pub(super) fn new(limit: &RateLimit, share: Share) -> Self {
        Self { limit: limit.limit(), window: limit.window(), share }
    }

    /// How many requests at once: the share, rounded up, so that it is never none.
    fn burst(self) -> u32 {
        let millionths = u64::from(self.limit) * self.share.as_millionths();
        u32::try_from(millionths.div_ceil(Share::WHOLE.as_millionths())).unwrap_or(self.limit)
    }

    /// After how many nanoseconds one comes back: the share, rounded in favour of the limit.
    fn interval(self) -> u64 {
        let millionths = u128::from(self.limit) * u128::from(self.share.as_millionths());
        let window = self.window.as_nanos() * u128::from(Share::WHOLE.as_millionths());
        u64::try_from(window.div_ceil(millionths.max(1))).unwrap_or(u64::MAX)
    }

    /// How many nanoseconds it takes until all are back.
    fn whole(self) -> u128 {
        u128::from(self.burst()) * u128::from(self.interval())
    }
}

/// What was spent of a limit, as the time at which everything is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    terms: Terms,
    /// In nanoseconds since 1970.
    back_at: u128,
}

impl Bucket {
    /// Nothing is spent.
    pub(super) fn full(terms: Terms) -> Self {
        Self { terms, back_at: 0 }
    }

    /// With one more request, if one is left.
    pub(super) fn charged(self, now: Timestamp) -> Option<Self> {
        let quota = Quota::with_period(Duration::from_nanos(self.terms.interval()))?;
        let quota = quota.allow_burst(NonZeroU32::new(self.terms.burst())?);
        let spent = Spent(Cell::new(Nanos::new(u64::try_from(self.spent(now)).unwrap_or(u64::MAX))));
        let limiter: RateLimiter<(), Spent, Now, NoOpMiddleware<Nanos>> = RateLimiter::new(quota, spent, Now);
        limiter.check_key(&()).ok()?;
        let Spent(spent) = limiter.into_state_store();
        Some(Self { back_at: nanos(now) + u128::from(spent.get().as_u64()), ..self })
    }

    /// The same on other terms. Of a limit that was changed as much is spent as before; with another share as much is left as before, and no
    /// more than the share.
    pub(super) fn on(self, terms: Terms, now: Timestamp) -> Self {
        if terms == self.terms {
            return Self { back_at: nanos(now) + self.spent(now), ..self };
        }
        let changed = Terms { share: self.terms.share, ..terms };
        let spent = scaled(self.spent(now), self.terms, changed).min(changed.whole());
        let left = scaled(changed.whole() - spent, changed, terms);
        Self { terms, back_at: nanos(now) + terms.whole().saturating_sub(left) }
    }

    pub(super) fn standing(self, limit: &RateLimit, now: Timestamp) -> Standing {
        let (spent, interval) = (self.spent(now), u128::from(self.terms.interval()));
        let left = self.terms.whole() - spent;
        let remaining = left / interval;
        let missing = if spent == 0 { 0 } else { (remaining + 1) * interval - left };
        let micros = u64::try_from(missing.div_ceil(1_000)).unwrap_or(u64::MAX);
        Standing {
            limit: limit.clone(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_at: now.plus(Duration::from_micros(micros)),
        }
    }

    /// In nanoseconds until everything is back. By a clock that was set back no more is spent than there is.
    fn spent(self, now: Timestamp) -> u128 {
        self.back_at.saturating_sub(nanos(now)).min(self.terms.whole())
    }
}

fn nanos(moment: Timestamp) -> u128 {
    u128::from(u64::try_from(moment.unix_micros()).unwrap_or_default()) * 1_000
}

/// As many requests, in the time that they take on other terms.
fn scaled(time: u128, from: Terms, to: Terms) -> u128 {
    time * u128::from(to.interval()) / u128::from(from.interval())
}

/// What is spent at one moment; written to nothing else.
struct Spent(Cell<Nanos>);

impl StateStore for Spent {
    type Key = ();

    fn measure_and_replace<T, F, E>(&self, (): &(), decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, next) = decide(Some(self.0.get()))?;
        self.0.set(next);
        Ok(outcome)
    }
}

/// The moment from which everything is measured.
#[derive(Clone)]
struct Now;

impl Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(0)
    }
}
