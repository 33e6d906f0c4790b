//! What the provider sends on its own: each message takes effect once, whatever comes of it is committed before it is acknowledged, and
//! one that makes no sense is put aside and holds nobody up. Messages that come at the same moment share a transaction.

mod together;

use std::collections::BTreeMap;
use std::error::Error;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::ManageWebhooks;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_identity::{
    ProviderEvent, ProviderMembershipId, WebhookHeaders, WebhookMessage, WebhookNews, WebhookRefused, WebhookVerifier,
};
use portal_kernel::{Clock, IdGen, StoreError, Timestamp, finish};

use crate::facts::{Fact, Facts, Merge};
use crate::ports::{AccountsStore, AccountsTx, Merging, ParkedWebhooks};
use crate::{Source, Stay};

use self::together::Together;

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

/// A message that is genuine and makes sense.
struct Delivery {
    entry: InboxEntry,
    news: WebhookNews,
    caller: Caller,
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
    /// Those that came while others were stored.
    pub intake: Intake,
}

/// Deliveries that wait to be stored together.
#[derive(Default)]
pub struct Intake(Together<Arc<Delivery>, Result<bool, StoreError>>);

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
        let cleared = Self::may_merge()?;
        let outcome = match news {
            WebhookNews::Event(_) | WebhookNews::MembershipDeleted(_) => WebhookOutcome::Applied,
            WebhookNews::Nothing => WebhookOutcome::Ignored,
            WebhookNews::Unreadable(reason) => return Ok(self.park(&cleared, entry, body, reason.to_owned()).await?),
        };
        let caller = Caller { principal: Principal::System(Job::Webhooks), provenance };
        let delivery = Arc::new(Delivery { entry, news, caller });
        match self.take(&cleared, &delivery).await {
            Ok(true) => Ok(outcome),
            Ok(false) => Ok(WebhookOutcome::Repeated),
            Err(error) if error.never_passes() => {
                Ok(self.park(&cleared, delivery.entry.clone(), body, error.to_string()).await?)
            }
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
        let merging = Self::may_merge()?;
        let mut tx = self.store.begin().await?;
        let mut merge = Merge::new(&mut *tx, &merging, caller);
        let outcome = self.replay_in(&mut merge, &manage, id).await;
        finish(tx, outcome).await
    }

    async fn replay_in(
        &self,
        merge: &mut Merge<'_>,
        manage: &Authorized<ManageWebhooks, Platform>,
        id: &str,
    ) -> Result<(), ReplayWebhookError> {
        let body = merge.tx.inbox().unpark(manage, id.to_owned()).await?.ok_or(ReplayWebhookError::NotParked)?;
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        let subject = Subject::Webhook(id.to_owned());
        let replayed = AuditRecord::now(source, merge.caller, None, AuditAction::WebhookReplayed, subject);
        merge.tx.audit().record(replayed).await?;
        let applied = match self.verifier.read(&body).news {
            WebhookNews::Event(event) => self.facts.apply(merge, vec![*event], Source::Told).await,
            WebhookNews::MembershipDeleted(id) => self.end_stay(merge, id).await,
            WebhookNews::Nothing => Ok(()),
            WebhookNews::Unreadable(reason) => return Err(ReplayWebhookError::ParkedAgain(reason.to_owned())),
        };
        applied.map_err(|error| match error {
            error if error.never_passes() => ReplayWebhookError::ParkedAgain(error.to_string()),
            error => error.into(),
        })
    }

    /// Ends a membership of which nothing but its own id was told.
    async fn end_stay(&self, merge: &mut Merge<'_>, id: ProviderMembershipId) -> Result<(), StoreError> {
        if let Some(stay) = merge.tx.accounts().find_stay(merge.cleared, id.clone()).await? {
            let Stay { membership, organization, user } = stay;
            let ended = ProviderEvent::MembershipDeleted { id: membership, organization, user };
            return self.facts.apply(merge, vec![ended], Source::Told).await;
        }
        // One that is not here will not come any more, either.
        merge.tx.provider_ids().lock(merge.cleared, vec![id.to_string()]).await?;
        // It came between the question and the lock: the next attempt finds it.
        if merge.tx.accounts().find_stay(merge.cleared, id.clone()).await?.is_some() {
            return Err(StoreError::Stale);
        }
        merge.tx.provider_ids().bury(merge.cleared, id.to_string(), self.facts.clock.now()).await
    }

    fn may_manage(caller: &Caller) -> Result<Authorized<ManageWebhooks, Platform>, Denied> {
        Unchecked::new(Platform).authorize(&caller.principal)
    }

    /// The right to merge is the job's, whoever set it to work; the trail names who did.
    fn may_merge() -> Result<Merging, Denied> {
        Unchecked::new(Platform).authorize(&Principal::System(Job::Webhooks))
    }

    /// False if the message had come before.
    async fn take(&self, cleared: &Merging, delivery: &Arc<Delivery>) -> Result<bool, StoreError> {
        let alone = async || Ok(self.take_all(cleared, slice::from_ref(delivery)).await? == [true]);
        // Which ids it is about is not known before its transaction has begun, and all ids of one are locked at once.
        if matches!(delivery.news, WebhookNews::MembershipDeleted(_)) {
            return alone().await;
        }
        match self.intake.0.go(delivery.clone(), |group| self.take_group(cleared, group)).await {
            Some(outcome) => outcome,
            None => alone().await,
        }
    }

    /// None if something failed of which nobody knows whose it is. In an outage all of them fail.
    async fn take_group(&self, cleared: &Merging, group: Vec<Arc<Delivery>>) -> Option<Vec<Result<bool, StoreError>>> {
        match self.take_all(cleared, &group).await {
            Ok(taken) => Some(taken.into_iter().map(Ok).collect()),
            Err(StoreError::Unavailable(cause)) => {
                let cause: Arc<dyn Error + Send + Sync> = cause.into();
                Some(group.iter().map(|_| Err(StoreError::Unavailable(cause.clone().into()))).collect())
            }
            Err(error) if group.len() == 1 => Some(vec![Err(error)]),
            Err(_) => None,
        }
    }

    async fn take_all(&self, cleared: &Merging, deliveries: &[Arc<Delivery>]) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.take_all_in(&mut *tx, cleared, deliveries).await;
        finish(tx, outcome).await
    }

    async fn take_all_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        deliveries: &[Arc<Delivery>],
    ) -> Result<Vec<bool>, StoreError> {
        let entries = deliveries.iter().map(|delivery| delivery.entry.clone()).collect();
        let taken = tx.inbox().take(cleared, entries).await?;
        let news = deliveries.iter().zip(&taken).filter(|(_, is_new)| **is_new).map(|(delivery, _)| &**delivery);
        let (mut facts, mut ended) = (Vec::new(), None);
        for Delivery { news, caller, .. } in news {
            match news {
                WebhookNews::Event(event) => facts.push(Fact { event, caller }),
                WebhookNews::MembershipDeleted(id) => ended = Some((id, caller)),
                WebhookNews::Nothing | WebhookNews::Unreadable(_) => {}
            }
        }
        if let Some((id, caller)) = ended {
            self.end_stay(&mut Merge::new(tx, cleared, caller), id.clone()).await?;
        } else if let Some(Fact { caller, .. }) = facts.first() {
            self.facts.apply_each(&mut Merge::new(tx, cleared, caller), &facts, Source::Told).await?;
        }
        Ok(taken)
    }

    async fn park(
        &self,
        cleared: &Merging,
        entry: InboxEntry,
        body: &[u8],
        reason: String,
    ) -> Result<WebhookOutcome, StoreError> {
        tracing::error!(webhook.id = entry.id, webhook.kind = entry.kind, reason, "a webhook was put aside");
        let mut tx = self.store.begin().await?;
        let outcome = tx.inbox().park(cleared, entry, body.to_vec(), reason).await;
        let is_new = finish(tx, outcome).await?;
        Ok(if is_new { WebhookOutcome::Parked } else { WebhookOutcome::Repeated })
    }
}

#[cfg(test)]
mod tests;
