//! How often a key may be used.

use std::time::Duration;

/// So many requests in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    id: String,
    limit: u32,
    window: Duration,
}

/// Why these are not the rate limits of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRateLimits {
    /// Not an id.
    #[error("the id of a limit has 1 to 32 lower-case letters, digits and hyphens")]
    Id,
    /// No such number of requests.
    #[error("a limit is 1 to 1000000 requests")]
    Limit,
    /// No such span of time.
    #[error("the window of a limit has 1 to 86400 seconds")]
    Window,
    /// Two limits with one id.
    #[error("each limit of a key has an id of its own")]
    Repeated,
    /// The list is too long.
    #[error("a key has at most {} limits", RateLimits::MOST)]
    TooMany,
}

impl RateLimit {
    /// Checks the values: an id of 1 to 32 lower-case letters, digits and hyphens, 1 to 1,000,000 requests, and a second to a day.
    pub fn new(id: &str, limit: u64, window_seconds: u64) -> Result<Self, InvalidRateLimits> {
        let clean = id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if !clean || !(1..=32).contains(&id.len()) {
            return Err(InvalidRateLimits::Id);
        }
        let limit = u32::try_from(limit).ok().filter(|limit| (1..=1_000_000).contains(limit));
        let limit = limit.ok_or(InvalidRateLimits::Limit)?;
        if !(1..=86_400).contains(&window_seconds) {
            return Err(InvalidRateLimits::Window);
        }
        Ok(Self { id: id.to_owned(), limit, window: Duration::from_secs(window_seconds) })
    }

    /// Together with the key it says which limit it is, wherever in the list it stands and whatever it allows.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many requests.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// In which time; whole seconds.
    pub fn window(&self) -> Duration {
        self.window
    }
}

/// The limits of one key; all of them hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimits(Vec<RateLimit>);

impl RateLimits {
    /// The longest list.
    pub const MOST: usize = 8;

    /// Checks that there are not too many, and that no two have the same id.
    pub fn new(limits: impl IntoIterator<Item = RateLimit>) -> Result<Self, InvalidRateLimits> {
        let mut kept: Vec<RateLimit> = Vec::new();
        for limit in limits {
            if kept.len() == Self::MOST {
                return Err(InvalidRateLimits::TooMany);
            }
            if kept.iter().any(|other| other.id == limit.id) {
                return Err(InvalidRateLimits::Repeated);
            }
            kept.push(limit);
        }
        Ok(Self(kept))
    }

    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &RateLimit> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(id: &str) -> RateLimit {
        RateLimit::new(id, 10, 60).unwrap()
    }

    #[test]
    fn a_limit_is_checked_at_its_borders() {
        let longest = "x".repeat(32);
        for (id, requests, seconds) in [("a", 1, 1), ("per-day-0", 1_000_000, 86_400), (longest.as_str(), 2, 2)] {
            let limit = RateLimit::new(id, requests, seconds).unwrap();
            let told = (limit.id(), u64::from(limit.limit()), limit.window().as_secs());
            assert_eq!(told, (id, requests, seconds));
        }
        let too_long = "x".repeat(33);
        for id in ["", "A", "a_b", "a b", "é", too_long.as_str()] {
            assert_eq!(RateLimit::new(id, 1, 1), Err(InvalidRateLimits::Id), "{id:?}");
        }
        for requests in [0, 1_000_001, u64::MAX] {
            assert_eq!(RateLimit::new("a", requests, 1), Err(InvalidRateLimits::Limit), "{requests}");
        }
        for seconds in [0, 86_401, u64::MAX] {
            assert_eq!(RateLimit::new("a", 1, seconds), Err(InvalidRateLimits::Window), "{seconds}");
        }
    }

    #[test]
    fn a_key_has_eight_limits_at_most_each_with_an_id_of_its_own() {
        let limits = |count: usize| (0..count).map(|number| limit(&format!("limit-{number}")));
        assert_eq!(RateLimits::new(limits(8)).unwrap().iter().count(), 8);
        assert_eq!(RateLimits::new(limits(9)), Err(InvalidRateLimits::TooMany));
        let twice = [limit("a"), limit("b"), RateLimit::new("a", 99, 1).unwrap()];
        assert_eq!(RateLimits::new(twice), Err(InvalidRateLimits::Repeated));
        assert!(RateLimits::new([]).unwrap().is_empty());
    }
}
