//! What the library did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the authenticator was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClerkStats {
    /// Signatures checked.
    pub signature_checks: u64,
    /// Times the key set was asked for; the tries of one fetch count once.
    pub jwks_fetches: u64,
    /// Fetches that brought no key set.
    pub jwks_failures: u64,
    /// Tokens answered from memory.
    pub cache_hits: u64,
    /// Tokens that had to be verified.
    pub cache_misses: u64,
}

macro_rules! counters {
    ($($name:ident)+) => {
        #[derive(Default)]
        pub(crate) struct Counters { $($name: AtomicU64,)+ }

        impl Counters {
            $(pub(crate) fn $name(&self) { self.$name.fetch_add(1, Ordering::Relaxed); })+

            pub(crate) fn read(&self) -> ClerkStats {
                ClerkStats { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! { signature_checks jwks_fetches jwks_failures cache_hits cache_misses }
