//! The outside world: the clock, ids and randomness of the operating system. Nothing else in the program reads them.

use portal_kernel::{Clock, Entropy, IdGen, Timestamp};
use uuid::Uuid;

/// The system clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from(std::time::SystemTime::now())
    }
}

/// Ids that sort by the time they were made.
pub struct V7Ids;

impl IdGen for V7Ids {
    #[expect(clippy::disallowed_methods, reason = "this is the IdGen")]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The operating system's random generator.
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the Entropy")]
    #[expect(clippy::expect_used, reason = "without randomness nothing may go on")]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

/// The current time, for whoever has no [`Clock`] at hand: tools and tests.
pub fn now() -> Timestamp {
    SystemClock.now()
}
