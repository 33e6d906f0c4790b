//! A key of the program's own that is made and revoked again and again, so that it is known how long servers go on with a revoked key.
//!
//! It is one row in a table of its own, which is used again each time: it belongs to no account, stands in no list, and no text is good for
//! it. Everything behind its row is what customers' keys have: the change feed, the memory of each server, and the judgement. One
//! server at a time lets it live and revokes it; every server measures for itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portal_authz::action::{KeepCanary, LookUpCredential};
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Change, ChangeFeed, Clock, StoreError, Timestamp, finish};

use crate::ports::{ApiKeysStore, CanaryReader};
use crate::verify::look_up;
use crate::{
    Code, CredentialReader, Digest, KeyEnvironment, KeyPolicy, KeyUse, Kid, KnownKeys, PepperVersion, RevocationDelays,
    StoredKey,
};

/// How often a server looks whether the key still counts, while it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often it looks whether the key counts again.
const WAIT_EVERY: Duration = Duration::from_millis(250);

/// How long the key lives at most. Every server has looked by then.
const LONGEST_LIFE: Duration = Duration::from_secs(5);

/// The row of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryKey {
    /// What the change feed calls it.
    pub key: ApiKeyId,
    /// Of no account: this is nobody's id.
    pub account: AccountId,
    /// Counts its beginnings and ends.
    pub revision: i64,
    /// When it was revoked; none while it lives.
    pub revoked_at: Option<Timestamp>,
    /// How long ago that was, by the clock of the store.
    pub revoked_for: Option<Duration>,
}

/// A life of the key that this server began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryLife {
    /// What the change feed calls the key.
    pub key: ApiKeyId,
    /// The revision that it began with.
    pub revision: i64,
}

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the key that measures revocations could not be changed")]
    Store(#[from] StoreError),
}

/// The use cases, with what they need.
pub struct Canary {
    store: Arc<ApiKeysStore>,
    reader: Arc<dyn CanaryReader>,
    feed: Arc<dyn ChangeFeed>,
    clock: Arc<dyn Clock>,
    known: KnownKeys,
    every: Duration,
    /// What was measured.
    pub delays: Arc<RevocationDelays>,
}

/// What a server knows of the key between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// It did not count when it was looked at last, and what there was to measure is measured.
    #[default]
    Over,
    /// It counted.
    Counts,
    /// It counted, and has not since that moment. Why is not known yet.
    Refused(Timestamp),
}

/// The row as the record of a key.
struct AsKey(Arc<dyn CanaryReader>);

#[async_trait]
impl CredentialReader for AsKey {
    async fn key(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        _: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError> {
        let CanaryKey { key, account, revision, revoked_at, .. } = self.0.canary(cleared).await?;
        Ok(Some(Arc::new(StoredKey {
            key,
            account,
            environment: KeyEnvironment::Test,
            // No text has it.
            digest: Digest::NOTHING,
            pepper_version: PepperVersion::FIRST,
            policy: KeyPolicy::default(),
            secret_expires_at: None,
            secret_revoked_at: None,
            expires_at: None,
            disabled_at: None,
            revoked_at,
            revision,
        })))
    }

    async fn keys(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError> {
        let mut found = Vec::with_capacity(kids.len());
        for kid in kids {
            found.extend(self.key(cleared, kid).await?.map(|key| (kid, key)));
        }
        Ok(found)
    }
}

impl Canary {
    /// Lives and is revoked once in the given time.
    pub fn new(
        store: Arc<ApiKeysStore>,
        reader: Arc<dyn CanaryReader>,
        feed: Arc<dyn ChangeFeed>,
        clock: Arc<dyn Clock>,
        every: Duration,
    ) -> Self {
        let known = KnownKeys::new(Arc::new(AsKey(reader.clone())), feed.clone(), clock.clone(), 1);
        let delays = Arc::new(RevocationDelays::new(clock.clone()));
        Self { store, reader, feed, clock, known, every, delays }
    }

    /// How long the key lives.
    pub fn life(&self) -> Duration {
        LONGEST_LIFE.min(self.every / 2)
    }

    /// How long it is over until it begins again.
    pub fn rest(&self) -> Duration {
        self.every.saturating_sub(self.life())
    }

    /// Lets the key live, if its rest is over and no other server did so first. Whoever does has to [`Self::end`] it; if they cannot, another
    /// server takes it over after a while.
    pub async fn begin(&self) -> Result<Option<CanaryLife>, CanaryError> {
        let cleared = keeping()?;
        let mut tx = self.store.begin().await?;
        let outcome = async {
            let life = tx.canary().begin(&cleared, self.rest()).await?;
            if let Some(life) = &life {
                tx.changes().changed(Change::Key(life.key)).await?;
            }
            Ok(life)
        };
        let outcome = outcome.await;
        finish(tx, outcome).await
    }

    /// Revokes the key, unless another server took it over meanwhile.
    pub async fn end(&self, life: CanaryLife) -> Result<(), CanaryError> {
        let cleared = keeping()?;
        let mut tx = self.store.begin().await?;
        let outcome = async {
            if tx.canary().end(&cleared, life).await? {
                tx.changes().changed(Change::Key(life.key)).await?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        finish(tx, outcome).await
    }

    /// Asks about the key as a gateway's request would, and measures when it has stopped to count. What is noted is no less than how long it
    /// counted after the revocation: until the first look at which it did not. Answers when to look again.
    pub async fn look(&self, watch: &mut Watch) -> Duration {
        let now = self.clock.now();
        match (self.counts(now).await, *watch) {
            (true, _) => *watch = Watch::Counts,
            (false, Watch::Counts) => *watch = self.measured(now).await,
            (false, Watch::Refused(since)) => *watch = self.measured(since).await,
            (false, Watch::Over) => {}
        }
        // While nothing is answered from memory each look costs a query.
        if *watch == Watch::Counts && self.feed.is_current() { LOOK_EVERY } else { WAIT_EVERY }
    }

    async fn counts(&self, now: Timestamp) -> bool {
        let Ok(cleared) = look_up() else { return false };
        match self.known.key(&cleared, Kid::CANARY).await {
            Ok(Some(key)) => key.judge(now, &KeyUse::default()).code() == Code::Valid,
            Ok(None) | Err(_) => false,
        }
    }

    /// By the clock of the store alone, which knows when the revocation was: this server's tells how long ago the refusal was.
    async fn measured(&self, refused: Timestamp) -> Watch {
        let asked = self.clock.now();
        let Ok(cleared) = look_up() else { return Watch::Refused(refused) };
        match self.reader.canary(&cleared).await {
            Ok(CanaryKey { revoked_for: Some(revoked_for), .. }) => {
                self.delays.note(revoked_for.saturating_sub(asked.since(refused)));
                Watch::Over
            }
            // It lives: there was an outage, or it began again already.
            Ok(CanaryKey { revoked_for: None, .. }) => Watch::Over,
            Err(_) => Watch::Refused(refused),
        }
    }
}

fn keeping() -> Result<Authorized<KeepCanary, Platform>, Denied> {
    Unchecked::new(Platform).authorize(&Principal::System(Job::Canary))
}

#[cfg(test)]
mod tests;
