//! Ends that the provider did not confirm: it is asked again until it does.

use std::sync::Arc;
use std::time::Duration;

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::{Job, Platform, Principal, Unchecked};
use portal_identity::{DirectoryError, ProviderSessionId, SessionControl};
use portal_kernel::{AccountId, Clock, IdGen, StoreError, Timestamp, finish};

use super::{RevocationHealth, SessionsError, close_in, known_result};
use crate::facts::Facts;
use crate::ports::{AccountsStore, AccountsTx, EndedSessionReader, Merging};

/// How many are asked for in one round.
const AT_ONCE: usize = 100;

/// So many failures in a row end a round: the others would fail the same way.
const MOST_FAILURES: usize = 3;

/// The pause before the first attempt, which doubles with each one. Whoever ended the session asks for it meanwhile.
const FIRST_REST: Duration = Duration::from_mins(1);

/// The longest pause.
const LONGEST_REST: Duration = Duration::from_hours(1);

/// A session that ended here and may go on at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedEnd {
    /// The provider's id.
    pub session: ProviderSessionId,
    /// Whose trail tells of it.
    pub account: AccountId,
    /// How often the provider was asked again.
    pub attempts: u32,
}

/// How many such sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnconfirmedEndCount {
    /// All of them.
    pub all: u64,
    /// When the provider may be asked for the first of them; none if there is none.
    pub first_due: Option<Timestamp>,
}

/// What a round brought.
#[derive(Debug, Default)]
pub struct RevokedAgain {
    /// How many ends the provider confirmed.
    pub confirmed: usize,
    /// Why it did not confirm the last one that it did not.
    pub failure: Option<DirectoryError>,
}

/// The pause after so many attempts.
pub(super) fn rest(attempts: u32) -> Duration {
    FIRST_REST.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_REST)
}

/// The use case, with what it needs.
pub struct RevokeAgain {
    /// Ends sessions at the provider.
    pub control: Arc<dyn SessionControl>,
    /// Counts what is not confirmed.
    pub reader: Arc<dyn EndedSessionReader>,
    /// Where attempts and their ends are stored.
    pub store: Arc<AccountsStore>,
    /// The time, and new ids.
    pub facts: Arc<Facts>,
    /// What is not confirmed.
    pub health: Arc<RevocationHealth>,
}

impl RevokeAgain {
    /// Learns what is not confirmed, on whichever replica it ended.
    pub async fn recall(&self) -> Result<(), SessionsError> {
        let merge: Merging = Unchecked::new(Platform).authorize(&Principal::System(Job::Sessions))?;
        self.health.note(self.reader.unconfirmed(&merge).await?);
        Ok(())
    }

    /// Asks for what is due, whatever waited longest first. For a job on every replica, as often as it likes: no store is asked while
    /// nothing is known to be due. After a failure this replica rests.
    pub async fn run_if_due(&self) -> Result<RevokedAgain, SessionsError> {
        let now = self.facts.clock.now();
        if !self.health.is_due(now) {
            return Ok(RevokedAgain::default());
        }
        let round = self.round().await;
        let recalled = self.recall().await;
        let outcome = round.and_then(|round| recalled.map(|()| round));
        if !matches!(outcome, Ok(RevokedAgain { failure: None, .. })) {
            self.health.rest_until(now.plus(FIRST_REST));
        }
        outcome
    }

    async fn round(&self) -> Result<RevokedAgain, SessionsError> {
        let caller = Caller { principal: Principal::System(Job::Sessions), provenance: Provenance::default() };
        let merge: Merging = Unchecked::new(Platform).authorize(&caller.principal)?;
        let (mut round, mut in_a_row) = (RevokedAgain::default(), 0);
        for _ in 0..AT_ONCE {
            let mut tx = self.store.begin().await?;
            let claimed = self.claim_in(&mut *tx, &merge, &caller).await;
            let Some((id, opened)) = finish(tx, claimed).await? else { break };
            let revoked = self.control.revoke(&id).await;
            let mut tx = self.store.begin().await?;
            let closed = self.conclude_in(&mut *tx, &merge, &id, &opened, &revoked).await;
            finish(tx, closed).await?;
            let Err(error) = revoked else {
                (round.confirmed, in_a_row) = (round.confirmed + 1, 0);
                continue;
            };
            in_a_row += 1;
            let is_of_all = matches!(error, DirectoryError::RateLimited { .. } | DirectoryError::SecretKeyInvalid);
            round.failure = Some(error);
            if is_of_all || in_a_row == MOST_FAILURES {
                break;
            }
        }
        Ok(round)
    }

    /// Puts off the one that is due before anybody asks for it, so that others take another one.
    async fn claim_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        caller: &Caller,
    ) -> Result<Option<(ProviderSessionId, AuditRecord)>, StoreError> {
        let now = self.facts.clock.now();
        let Some(end) = tx.unconfirmed_ends().claim(cleared, now).await? else { return Ok(None) };
        let end = UnconfirmedEnd { attempts: end.attempts.saturating_add(1), ..end };
        tx.unconfirmed_ends().put_off(cleared, end.clone(), now.plus(rest(end.attempts))).await?;
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        let (account, subject) = (Some(end.account), Subject::Session(end.session.to_string()));
        let opened = AuditRecord::opened(source, caller, account, AuditAction::SessionRevoked, subject);
        tx.audit().record(opened.clone()).await?;
        Ok(Some((end.session, opened)))
    }

    async fn conclude_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        id: &ProviderSessionId,
        opened: &AuditRecord,
        revoked: &Result<(), DirectoryError>,
    ) -> Result<(), StoreError> {
        if let Some(result) = known_result(revoked) {
            let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
            let closed = AuditRecord::closed(source, opened, result);
            close_in(tx, &self.facts, cleared, id, closed, revoked.is_ok()).await?;
        }
        if let Err(DirectoryError::RateLimited { retry_after }) = revoked {
            let pause = retry_after.unwrap_or(FIRST_REST).min(LONGEST_REST);
            tx.unconfirmed_ends().put_off_all(cleared, self.facts.clock.now().plus(pause)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
