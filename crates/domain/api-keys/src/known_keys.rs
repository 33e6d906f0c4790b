//! Keys that were looked up a moment ago, and texts that are no key's.
//!
//! Both are remembered apart: whoever asks for many keys that there are not pushes no key out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portal_authz::action::LookUpCredential;
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, ApiKeyId, Change, ChangeFeed, Clock, StoreError, Timestamp};
use portal_memory::{Memory, Remembered};

use crate::{CredentialReader, Kid, StoredKey, StoredServiceToken};

/// How long it is remembered that there is no key, at most: any news of a key or an account end it before.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// How many texts that are no key's are remembered at most.
const MOST_UNKNOWN: usize = 10_000;

/// A [`CredentialReader`] that remembers keys, and answers from memory while the change feed is current.
pub struct KnownKeys {
    store: Arc<dyn CredentialReader>,
    clock: Arc<dyn Clock>,
    keys: Memory<StoredKey>,
    unknown: Memory<Unknown>,
}

/// What a stored key depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The key.
    Key(ApiKeyId),
    /// Its owner.
    Account(AccountId),
}

impl Remembered for StoredKey {
    type Key = Kid;
    type Topic = Topic;

    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Key(self.key), Topic::Account(self.account)]
    }

    fn topics_of(change: &Change) -> Vec<Topic> {
        match change {
            Change::Key(key) => vec![Topic::Key(*key)],
            Change::Account(account) => vec![Topic::Account(*account)],
            Change::User(_) | Change::ServiceToken(_) | Change::Session(_) | Change::Tokens { .. } => Vec::new(),
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        self.revision < other.revision
    }
}

/// There was no such key.
struct Unknown {
    at: Timestamp,
}

impl Unknown {
    fn still_counts(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.plus(UNKNOWN_FOR)
    }
}

impl Remembered for Unknown {
    type Key = Kid;
    type Topic = ();

    fn topics(&self) -> Vec<()> {
        vec![()]
    }

    /// The feed names keys and accounts, and which of them a kid would belong to nobody knows.
    fn topics_of(change: &Change) -> Vec<()> {
        match change {
            Change::Key(_) | Change::Account(_) => vec![()],
            Change::User(_) | Change::ServiceToken(_) | Change::Session(_) | Change::Tokens { .. } => Vec::new(),
        }
    }
}

impl KnownKeys {
    /// Remembers so many keys at most.
    pub fn new(
        store: Arc<dyn CredentialReader>,
        feed: Arc<dyn ChangeFeed>,
        clock: Arc<dyn Clock>,
        most: usize,
    ) -> Self {
        let (keys, unknown) = (Memory::new(feed.clone(), most), Memory::new(feed, MOST_UNKNOWN));
        Self { store, clock, keys, unknown }
    }

    /// What is remembered of a kid; none in it if there is no such key.
    #[expect(clippy::option_option, reason = "the outer one is whether anything is remembered")]
    fn known(&self, kid: &Kid) -> Option<Option<Arc<StoredKey>>> {
        match self.keys.get(kid) {
            Some(key) => Some(Some(key)),
            None => self.unknown.get(kid).filter(|unknown| unknown.still_counts(self.clock.now())).map(|_| None),
        }
    }
}

#[async_trait]
impl CredentialReader for KnownKeys {
    async fn key(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError> {
        if let Some(known) = self.known(&kid) {
            return Ok(known);
        }
        let (since, none_since, at) = (self.keys.now(), self.unknown.now(), self.clock.now());
        let found = self.store.key(cleared, kid).await?;
        match &found {
            Some(key) => self.keys.remember(kid, key.clone(), since),
            None => self.unknown.remember(kid, Arc::new(Unknown { at }), none_since),
        }
        Ok(found)
    }

    async fn keys(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError> {
        let (mut found, mut cold) = (Vec::with_capacity(kids.len()), Vec::new());
        for kid in kids {
            match self.known(&kid) {
                Some(known) => found.extend(known.map(|key| (kid, key))),
                None => cold.push(kid),
            }
        }
        if cold.is_empty() {
            return Ok(found);
        }
        let (since, none_since, at) = (self.keys.now(), self.unknown.now(), self.clock.now());
        let read = self.store.keys(cleared, cold.clone()).await?;
        for kid in cold {
            match read.iter().find(|(of, _)| *of == kid) {
                Some((_, key)) => self.keys.remember(kid, key.clone(), since),
                None => self.unknown.remember(kid, Arc::new(Unknown { at }), none_since),
            }
        }
        found.extend(read);
        Ok(found)
    }

    async fn service_token(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<StoredServiceToken>, StoreError> {
        self.store.service_token(cleared, kid).await
    }
}

#[cfg(test)]
mod tests;
