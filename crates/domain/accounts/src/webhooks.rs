//! What the provider sends on its own: each message takes effect once, whatever comes of it is committed before it is acknowledged, and
//! one that makes no sense is put aside and holds nobody up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::ManageWebhooks;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_identity::{
    ProviderEvent, ProviderMembershipId, WebhookHeaders, WebhookMessage, WebhookNews, WebhookRefused, WebhookVerifier,
};
use portal_kernel::{Clock, IdGen, StoreError, Timestamp, finish};

use crate::facts::{Facts, Merge};
use crate::ports::{AccountsStore, AccountsTx, Merging, ParkedWebhooks};
use crate::{Source, Stay};

/// What became of a delivery. All of these are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It took effect, or an older version of what is known.
    Applied,
    /// It had come before.
    Repeated,
    /// It tells nothing that is kept.
    Ignored,
    /// It was put aside: a person has to look.
    Parked,
}

impl WebhookOutcome {
    /// The text in answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Repeated => "repeated",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }
}

/// Why a delivery is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveWebhookError {
    /// Nobody knows who sent it.
    #[error(transparent)]
    Refused(#[from] WebhookRefused),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed in a way that passes: the provider repeats the delivery.
    #[error("the delivery was not stored")]
    Store(#[from] StoreError),
}

/// A message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The provider's id, the same for every attempt and replay.
    pub id: String,
    /// What it tells, in the provider's words.
    pub kind: String,
    /// When it came first.
    pub received_at: Timestamp,
}

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedWebhook {
    /// Which.
    pub entry: InboxEntry,
    /// Why.
    pub reason: String,
}

/// Why a message was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayWebhookError {
    /// There is no such message, or it is not parked.
    #[error("no message of this id is parked")]
    NotParked,
    /// It still makes no sense.
    #[error("the message is parked again: {0}")]
    ParkedAgain(String),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed in a way that passes.
    #[error("the message was not replayed")]
    Store(#[from] StoreError),
}

/// The use cases, with what they need.
pub struct Webhooks {
    /// Tells the provider's deliveries from others.
    pub verifier: Arc<dyn WebhookVerifier>,
    /// Where messages and their effects are stored.
    pub store: Arc<AccountsStore>,
    /// What was put aside.
    pub parked: Arc<dyn ParkedWebhooks>,
    /// Writes what messages tell.
    pub facts: Arc<Facts>,
    /// What became of deliveries.
    pub health: Arc<WebhookHealth>,
}

/// What became of the deliveries to this process, for its metrics.
#[derive(Debug, Default)]
pub struct WebhookHealth {
    accepted: AtomicU64,
    refused: AtomicU64,
    parked: AtomicU64,
    last_accepted: AtomicU64,
    /// Not logged yet, by their reasons.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl WebhookHealth {
    fn note(&self, outcome: &Result<WebhookOutcome, ReceiveWebhookError>, now: Timestamp) {
        match outcome {
            Ok(outcome) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                self.note_last(now);
                if *outcome == WebhookOutcome::Parked {
                    self.parked.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(ReceiveWebhookError::Refused(refused)) => {
                *self.refusals().entry(refused.0).or_default() += 1;
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(ReceiveWebhookError::Denied(_) | ReceiveWebhookError::Store(_)) => {}
        }
    }

    fn note_last(&self, at: Timestamp) {
        self.last_accepted.fetch_max(u64::try_from(at.unix_seconds()).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Logs what was refused since it was last called, in one line per reason: whoever sends what nobody signed must not choose how
    /// much is written.
    pub fn log_refusals(&self) {
        for (reason, times) in std::mem::take(&mut *self.refusals()) {
            tracing::info!(reason, times, "deliveries to the webhook were refused");
        }
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were acknowledged, those that were put aside included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were not the provider's.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were put aside.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// When the last one was acknowledged, by whichever process that is known of, in seconds since 1970; 0 before the first.
    pub fn last_accepted(&self) -> u64 {
        self.last_accepted.load(Ordering::Relaxed)
    }
}

struct Clearance {
    merge: Merging,
    caller: Caller,
}

impl Webhooks {
    /// Refuses a delivery whose headers already say that it is not the provider's, before anybody waits for its body.
    pub fn screen(&self, headers: &WebhookHeaders<'_>) -> Result<(), ReceiveWebhookError> {
        let now = self.facts.clock.now();
        let refused = self.verifier.screen(headers, now).err();
        refused.map_or(Ok(()), |refused| {
            let outcome = Err(ReceiveWebhookError::Refused(refused));
            self.health.note(&outcome, now);
            outcome.map(drop)
        })
    }

    /// Verifies, reads and applies a delivery. When this returns, the effect is committed, or the message is parked, or it is as if it
    /// had never come.
    pub async fn receive(
        &self,
        headers: &WebhookHeaders<'_>,
        body: &[u8],
        provenance: Provenance,
    ) -> Result<WebhookOutcome, ReceiveWebhookError> {
        let now = self.facts.clock.now();
        let outcome = self.receive_at(headers, body, provenance, now).await;
        self.health.note(&outcome, now);
        outcome
    }

    async fn receive_at(
        &self,
        headers: &WebhookHeaders<'_>,
        body: &[u8],
        provenance: Provenance,
        received_at: Timestamp,
    ) -> Result<WebhookOutcome, ReceiveWebhookError> {
        let id = self.verifier.verify(headers, body, received_at)?;
        let WebhookMessage { kind, news } = self.verifier.read(body);
        let entry = InboxEntry { id, kind, received_at };
        let cleared = Self::clearance(Caller { principal: Principal::System(Job::Webhooks), provenance })?;
        let outcome = match news {
            WebhookNews::Event(_) | WebhookNews::MembershipDeleted(_) => WebhookOutcome::Applied,
            WebhookNews::Nothing => WebhookOutcome::Ignored,
            WebhookNews::Unreadable(reason) => return Ok(self.park(&cleared, entry, body, reason.to_owned()).await?),
        };
        match self.take(&cleared, entry.clone(), news).await {
            Ok(true) => Ok(outcome),
            Ok(false) => Ok(WebhookOutcome::Repeated),
            Err(error) if error.never_passes() => Ok(self.park(&cleared, entry, body, error.to_string()).await?),
            // The provider repeats it for days: also a defect may be mended meanwhile.
            Err(error) => Err(error.into()),
        }
    }

    /// Learns when the last message came, also to other processes and before this one began.
    pub async fn recall(&self) -> Result<(), StoreError> {
        let Ok(cleared) = Unchecked::new(Platform).authorize(&Principal::System(Job::Webhooks)) else { return Ok(()) };
        if let Some(at) = self.parked.last_received(&cleared).await? {
            self.health.note_last(at);
        }
        Ok(())
    }

    /// All messages that were put aside, the oldest first.
    pub async fn parked(&self, caller: &Caller) -> Result<Vec<ParkedWebhook>, ReplayWebhookError> {
        let cleared = Self::may_manage(caller)?;
        Ok(self.parked.all(&cleared).await?)
    }

    /// Reads a parked message again and applies it. It was verified when it came. What it tells is as old as it is: newer facts stay.
    pub async fn replay(&self, caller: &Caller, id: &str) -> Result<(), ReplayWebhookError> {
        let manage = Self::may_manage(caller)?;
        let merge = Self::clearance(caller.clone())?;
        let mut tx = self.store.begin().await?;
        let outcome = self.replay_in(&mut *tx, &manage, &merge, id).await;
        finish(tx, outcome).await
    }

    async fn replay_in(
        &self,
        tx: &mut dyn AccountsTx,
        manage: &Authorized<ManageWebhooks, Platform>,
        cleared: &Clearance,
        id: &str,
    ) -> Result<(), ReplayWebhookError> {
        let body = tx.inbox().unpark(manage, id.to_owned()).await?.ok_or(ReplayWebhookError::NotParked)?;
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        let subject = Subject::Webhook(id.to_owned());
        let replayed = AuditRecord::now(source, &cleared.caller, None, AuditAction::WebhookReplayed, subject);
        tx.audit().record(replayed).await?;
        let news = self.verifier.read(&body).news;
        if let WebhookNews::Unreadable(reason) = news {
            return Err(ReplayWebhookError::ParkedAgain(reason.to_owned()));
        }
        self.apply(tx, cleared, news).await.map_err(|error| match error {
            error if error.never_passes() => ReplayWebhookError::ParkedAgain(error.to_string()),
            error => error.into(),
        })
    }

    async fn apply(&self, tx: &mut dyn AccountsTx, cleared: &Clearance, news: WebhookNews) -> Result<(), StoreError> {
        let event = match news {
            WebhookNews::Event(event) => *event,
            WebhookNews::MembershipDeleted(id) => match tx.accounts().find_stay(&cleared.merge, id.clone()).await? {
                Some(Stay { membership, organization, user }) => {
                    ProviderEvent::MembershipDeleted { id: membership, organization, user }
                }
                None => return self.bury(tx, cleared, id).await,
            },
            WebhookNews::Nothing | WebhookNews::Unreadable(_) => return Ok(()),
        };
        let mut merge = Merge::new(tx, &cleared.merge, &cleared.caller);
        self.facts.apply(&mut merge, vec![event], Source::Told).await
    }

    /// A membership that is not here will not come any more, either.
    async fn bury(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        id: ProviderMembershipId,
    ) -> Result<(), StoreError> {
        tx.provider_ids().lock(&cleared.merge, vec![id.to_string()]).await?;
        // It came between the question and the lock: the next attempt finds it.
        if tx.accounts().find_stay(&cleared.merge, id.clone()).await?.is_some() {
            return Err(StoreError::Stale);
        }
        tx.provider_ids().bury(&cleared.merge, id.to_string(), self.facts.clock.now()).await
    }

    fn may_manage(caller: &Caller) -> Result<Authorized<ManageWebhooks, Platform>, Denied> {
        Unchecked::new(Platform).authorize(&caller.principal)
    }

    /// The right to merge is the job's, whoever set it to work; the trail names who did.
    fn clearance(caller: Caller) -> Result<Clearance, Denied> {
        let merge = Unchecked::new(Platform).authorize(&Principal::System(Job::Webhooks))?;
        Ok(Clearance { merge, caller })
    }

    /// False if the message had come before.
    async fn take(&self, cleared: &Clearance, entry: InboxEntry, news: WebhookNews) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.take_in(&mut *tx, cleared, entry, news).await;
        finish(tx, outcome).await
    }

    async fn take_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        entry: InboxEntry,
        news: WebhookNews,
    ) -> Result<bool, StoreError> {
        if !tx.inbox().take(&cleared.merge, entry).await? {
            return Ok(false);
        }
        self.apply(tx, cleared, news).await?;
        Ok(true)
    }

    async fn park(
        &self,
        cleared: &Clearance,
        entry: InboxEntry,
        body: &[u8],
        reason: String,
    ) -> Result<WebhookOutcome, StoreError> {
        tracing::error!(webhook.id = entry.id, webhook.kind = entry.kind, reason, "a webhook was put aside");
        let mut tx = self.store.begin().await?;
        let outcome = tx.inbox().park(&cleared.merge, entry, body.to_vec(), reason).await;
        let is_new = finish(tx, outcome).await?;
        Ok(if is_new { WebhookOutcome::Parked } else { WebhookOutcome::Repeated })
    }
}

#[cfg(test)]
mod tests;
