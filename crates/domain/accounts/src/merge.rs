//! How what the identity provider tells becomes what is stored: one pure function for every road on which it arrives.
//!
//! Facts arrive twice, late and in any order: with the first request of a person, by webhook, from the reconciler. Applied in any order
//! and any number of times, the same facts end in the same state:
//!
//! - A newer version replaces an older one; an older one changes nothing.
//! - Two different contents of one version: the greater one is kept, so that the order does not matter, and the copy is in doubt until it
//!   was read again.
//! - What is gone is gone for good: the provider never gives an id twice ([`crate::ports::ProviderIds::bury`]).

use std::cmp::Ordering;

use portal_kernel::Timestamp;

/// A copy of one record of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// What it says.
    pub content: T,
    /// The provider's time of its last change.
    pub version: Timestamp,
    /// Another content was told for the same version: to be read again.
    pub doubtful: bool,
}

/// How a fact was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The provider sent it.
    Told,
    /// We asked, and this is how it was at that moment: it settles doubts about its version.
    Read,
}

impl<T: Ord> Versioned<T> {
    /// The copy to keep when `content` is learnt; none to keep what is stored. Pure and total.
    pub fn merged(stored: Option<Self>, content: T, version: Timestamp, source: Source) -> Option<Self> {
        let settled = |content| Some(Self { content, version, doubtful: false });
        let Some(stored) = stored else { return settled(content) };
        match version.cmp(&stored.version) {
            Ordering::Less => None,
            Ordering::Greater => settled(content),
            Ordering::Equal if source == Source::Read && (stored.doubtful || content != stored.content) => {
                settled(content)
            }
            Ordering::Equal if content == stored.content || (stored.doubtful && content < stored.content) => None,
            Ordering::Equal => Some(Self { content: content.max(stored.content), version, doubtful: true }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    fn copy(content: &str, version: i64, doubtful: bool) -> Versioned<String> {
        Versioned { content: content.to_owned(), version: at(version), doubtful }
    }

    #[test]
    fn newer_wins_and_a_tie_is_in_doubt_until_it_is_read() {
        use Source::{Read, Told};
        let stored = copy("m", 5, false);
        let doubt = copy("m", 5, true);
        for (stored, content, version, source, expected) in [
            (None, "a", 1, Told, Some(copy("a", 1, false))),
            (Some(&stored), "a", 4, Told, None),
            (Some(&stored), "a", 4, Read, None),
            (Some(&stored), "a", 6, Told, Some(copy("a", 6, false))),
            (Some(&doubt), "a", 6, Told, Some(copy("a", 6, false))),
            (Some(&stored), "m", 5, Told, None),
            (Some(&stored), "m", 5, Read, None),
            (Some(&stored), "z", 5, Told, Some(copy("z", 5, true))),
            (Some(&stored), "a", 5, Told, Some(copy("m", 5, true))),
            (Some(&doubt), "a", 5, Told, None),
            (Some(&doubt), "m", 5, Told, None),
            (Some(&doubt), "z", 5, Told, Some(copy("z", 5, true))),
            (Some(&stored), "a", 5, Read, Some(copy("a", 5, false))),
            (Some(&doubt), "a", 5, Read, Some(copy("a", 5, false))),
            (Some(&doubt), "m", 5, Read, Some(copy("m", 5, false))),
        ] {
            let merged = Versioned::merged(stored.cloned(), content.to_owned(), at(version), source);
            assert_eq!(merged, expected, "{stored:?} {content} {version} {source:?}");
        }
    }
}
