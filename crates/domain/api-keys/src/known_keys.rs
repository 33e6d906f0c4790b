//! Keys that were looked up a moment ago, and texts that are no key's.

use std::sync::Arc;

use async_trait::async_trait;
use portal_authz::action::LookUpCredential;
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, ApiKeyId, Change, ChangeFeed, Clock, StoreError};
use portal_memory::Remembered;

use crate::known::Known;
use crate::{CredentialReader, Kid, StoredKey};

/// A [`CredentialReader`] that remembers keys, and answers from memory while the change feed is current.
pub struct KnownKeys {
    store: Arc<dyn CredentialReader>,
    keys: Known<StoredKey>,
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

impl KnownKeys {
    /// Remembers so many keys at most.
    pub fn new(
        store: Arc<dyn CredentialReader>,
        feed: Arc<dyn ChangeFeed>,
        clock: Arc<dyn Clock>,
        most: usize,
    ) -> Self {
        Self { store, keys: Known::new(feed, clock, most) }
    }
}

#[async_trait]
impl CredentialReader for KnownKeys {
    async fn key(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError> {
        if let Some(known) = self.keys.get(&kid) {
            return Ok(known);
        }
        let since = self.keys.look_up();
        let found = self.store.key(cleared, kid).await?;
        self.keys.remember(kid, found.as_ref(), since);
        Ok(found)
    }

    async fn keys(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError> {
        let (mut found, mut cold) = (Vec::with_capacity(kids.len()), Vec::new());
        for kid in kids {
            match self.keys.get(&kid) {
                Some(known) => found.extend(known.map(|key| (kid, key))),
                None => cold.push(kid),
            }
        }
        if cold.is_empty() {
            return Ok(found);
        }
        let since = self.keys.look_up();
        let read = self.store.keys(cleared, cold.clone()).await?;
        for kid in cold {
            let found = read.iter().find(|(of, _)| *of == kid).map(|(_, key)| key);
            self.keys.remember(kid, found, since);
        }
        found.extend(read);
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
