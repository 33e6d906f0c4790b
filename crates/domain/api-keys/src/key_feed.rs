//! Keys as gateways hold them: all that count, and then what changes of them.
//!
//! A gateway that reads pages from a position on, and then every change since that position, lacks nothing that was committed. Ended
//! secrets are among the changes with their ends, so that a gateway says of them what [`crate::Verifier`] says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use portal_authz::action::ReadKeyFeed;
use portal_authz::{Denied, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, StoreError, Timestamp};

use crate::{KeyFeedReader, Kid, StoredKey};

/// How far somebody has read. The text is the store's, and means nothing to anybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPosition(String);

/// No store gave such a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is a text that the feed gave")]
pub struct InvalidFeedPosition;

impl FeedPosition {
    /// The longest text.
    pub const LONGEST: usize = 8_192;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FeedPosition {
    type Err = InvalidFeedPosition;

    fn from_str(text: &str) -> Result<Self, InvalidFeedPosition> {
        let clean = text.bytes().all(|c| c.is_ascii_digit() || c == b':' || c == b',');
        if clean && (1..=Self::LONGEST).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFeedPosition)
        }
    }
}

impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the feed stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedHead {
    /// What was committed until then has been read.
    pub position: FeedPosition,
    /// The store's time, not later than the moment of the position.
    pub at: Timestamp,
}

/// A secret with what decides about its use, whatever its account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRecord {
    /// Its public part.
    pub kid: Kid,
    /// What is stored of it.
    pub stored: StoredKey,
    /// Whether its account was active. Keys of other accounts are nobody's.
    pub account_is_active: bool,
}

/// What became of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountStanding {
    /// Which one.
    pub account: AccountId,
    /// Whether its keys count.
    pub is_active: bool,
}

/// What changed: everything as it was at the end, read later than the position that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChanges {
    /// All secrets of the keys that changed.
    pub keys: Vec<FeedRecord>,
    /// The accounts that changed; each counts for more than what a record says of it.
    pub accounts: Vec<AccountStanding>,
    /// Where to go on.
    pub head: FeedHead,
    /// How long the answer was waited for before the store was asked for the last time.
    pub waited: Duration,
}

/// A page of all keys that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of their kids.
    pub keys: Vec<FeedRecord>,
    /// Behind which kid the next page begins; none on the last page.
    pub next: Option<Kid>,
    /// Of the first page alone: from where on changes are missing in this page and in those that follow.
    pub head: Option<FeedHead>,
}

/// Why the feed could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFeedError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Changes since that position are missing: all keys have to be read again.
    #[error("not everything since that position is kept")]
    PositionTooOld,
    /// The store failed.
    #[error("the keys could not be read")]
    Store(#[from] StoreError),
}

/// The use cases of gateways that hold the keys.
pub struct KeyFeed {
    /// Reads them.
    pub reader: Arc<dyn KeyFeedReader>,
}

impl KeyFeed {
    /// As many records as a page has at most.
    pub const MOST_RECORDS: usize = 1_000;

    /// As long as a change is waited for at most.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

    /// The page behind that kid, the first one without.
    pub async fn snapshot(&self, who: &Principal, after: Option<Kid>, most: usize) -> Result<Snapshot, KeyFeedError> {
        let cleared = Unchecked::new(Platform).authorize::<ReadKeyFeed>(who)?;
        // Before the page: what is committed meanwhile is told as a change, whether it is in the page or not.
        let head = if after.is_none() { Some(self.reader.head(&cleared).await?) } else { None };
        let most = most.clamp(1, Self::MOST_RECORDS);
        let mut keys = self.reader.live(&cleared, after, most + 1).await?;
        let more = keys.len() > most;
        keys.truncate(most);
        let next = if more { keys.last().map(|record| record.kid) } else { None };
        Ok(Snapshot { keys, next, head })
    }

    /// What changed since that position, as soon as there is something, and at the latest after that wait. Without a position: from now
    /// on.
    pub async fn changes(
        &self,
        who: &Principal,
        since: Option<FeedPosition>,
        wait: Duration,
    ) -> Result<KeyChanges, KeyFeedError> {
        let cleared = Unchecked::new(Platform).authorize::<ReadKeyFeed>(who)?;
        let Some(since) = since else {
            let head = self.reader.head(&cleared).await?;
            return Ok(KeyChanges { keys: Vec::new(), accounts: Vec::new(), head, waited: Duration::ZERO });
        };
        let changes = self.reader.changes(&cleared, since, wait.min(Self::LONGEST_WAIT)).await?;
        changes.ok_or(KeyFeedError::PositionTooOld)
    }
}

#[cfg(test)]
mod tests {
    use mockall::Sequence;
    use portal_authz::{Role, Scope, ServicePrincipal};
    use portal_kernel::Clock;
    use portal_testkit::FixedClock;

    use super::*;
    use crate::MockKeyFeedReader;
    use crate::testing::{member, stored};

    fn service(scope: Scope) -> Principal {
        Principal::Service(ServicePrincipal {
            token: None,
            name: "gateway".to_owned(),
            scopes: [scope].into_iter().collect(),
        })
    }

    fn head() -> FeedHead {
        FeedHead { position: "10:10:".parse().unwrap(), at: FixedClock::default().now() }
    }

    fn kid(number: usize) -> Kid {
        Kid::parse(&format!("{number:012}")).unwrap()
    }

    fn records(numbers: std::ops::Range<usize>) -> Vec<FeedRecord> {
        numbers.map(|number| FeedRecord { kid: kid(number), stored: stored(), account_is_active: true }).collect()
    }

    fn feed(reader: MockKeyFeedReader) -> KeyFeed {
        KeyFeed { reader: Arc::new(reader) }
    }

    #[tokio::test]
    async fn the_position_is_taken_before_the_first_page_and_for_no_other() {
        let (mut reader, mut order) = (MockKeyFeedReader::new(), Sequence::new());
        reader.expect_head().once().in_sequence(&mut order).returning(|_| Ok(head()));
        let first = |_: &_, after: Option<Kid>, most: usize| {
            assert_eq!((after, most), (None, 3));
            Ok(records(0..3))
        };
        reader.expect_live().once().in_sequence(&mut order).returning(first);
        reader.expect_live().once().in_sequence(&mut order).returning(|_, _, _| Ok(records(2..4)));
        let (feed, who) = (feed(reader), service(Scope::KeysFeed));
        let page = feed.snapshot(&who, None, 2).await.unwrap();
        assert_eq!(page, Snapshot { keys: records(0..2), next: Some(kid(1)), head: Some(head()) });
        let page = feed.snapshot(&who, Some(kid(1)), 2).await.unwrap();
        assert_eq!(page, Snapshot { keys: records(2..4), next: None, head: None });
    }

    #[tokio::test]
    async fn what_is_asked_for_is_bounded() {
        let mut reader = MockKeyFeedReader::new();
        reader.expect_live().withf(|_, _, most| *most == 1_001).once().returning(|_, _, _| Ok(Vec::new()));
        let longest = |_: &_, _: &_, wait: &Duration| *wait == Duration::from_secs(10);
        reader.expect_changes().withf(longest).once().returning(|_, _, _| Ok(None));
        let (feed, who) = (feed(reader), service(Scope::KeysFeed));
        feed.snapshot(&who, Some(kid(1)), usize::MAX).await.unwrap();
        let outcome = feed.changes(&who, Some(head().position), Duration::MAX).await;
        assert!(matches!(outcome, Err(KeyFeedError::PositionTooOld)));
    }

    #[tokio::test]
    async fn nobody_reads_the_keys_but_services_that_may() {
        let feed = feed(MockKeyFeedReader::new());
        for who in [service(Scope::KeysVerify), member(Role::Owner).principal] {
            assert!(matches!(feed.snapshot(&who, None, 1).await, Err(KeyFeedError::Denied(Denied::Forbidden))));
            let outcome = feed.changes(&who, None, Duration::ZERO).await;
            assert!(matches!(outcome, Err(KeyFeedError::Denied(Denied::Forbidden))));
        }
    }

    #[test]
    fn a_position_is_short_and_of_digits() {
        assert_eq!("7:9:7,8".parse::<FeedPosition>().unwrap().to_string(), "7:9:7,8");
        for text in ["", "7:9:'", "latest", "7 9", "é"] {
            assert_eq!(text.parse::<FeedPosition>(), Err(InvalidFeedPosition), "{text:?}");
        }
        assert!("1".repeat(8_192).parse::<FeedPosition>().is_ok());
        assert!("1".repeat(8_193).parse::<FeedPosition>().is_err());
    }
}
