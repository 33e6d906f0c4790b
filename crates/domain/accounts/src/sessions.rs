//! The sessions of a person: seen, and ended, here at once and at the provider.

mod health;
mod revoke_again;

use std::sync::Arc;
use std::time::Duration;

use portal_audit::{AuditAction, AuditRecord, Caller, EffectResult, Subject};
use portal_authz::action::{EndSessions, ReadSessions};
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_identity::{DirectoryError, ProviderSession, ProviderSessionId, SessionControl};
use portal_kernel::{Change, Clock, IdGen, StoreError, finish};

use crate::User;
use crate::facts::Facts;
use crate::ports::{AccountsStore, AccountsTx, Merging};

pub use health::RevocationHealth;
pub use revoke_again::{RevokeAgain, RevokedAgain, UnconfirmedEnd, UnconfirmedEndCount};

/// Why sessions were not read or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// No session of the person has this id.
    #[error("no such session")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The provider did not answer. Sessions that were meant and known have ended here all the same.
    #[error("the identity provider could not be asked")]
    Provider(#[from] DirectoryError),
    /// The store failed.
    #[error("the end of a session could not be stored")]
    Store(#[from] StoreError),
}

/// The use cases, with what they need.
pub struct Sessions {
    /// Lists and ends sessions.
    pub control: Arc<dyn SessionControl>,
    /// Where ends are stored.
    pub store: Arc<AccountsStore>,
    /// Stores them.
    pub facts: Arc<Facts>,
    /// Knows when the provider is to be asked again.
    pub health: Arc<RevocationHealth>,
}

impl Sessions {
    /// The sessions of the caller for which tokens are still made, the last used first.
    pub async fn list(&self, caller: &Caller, user: &User) -> Result<Vec<ProviderSession>, SessionsError> {
        let _: Authorized<ReadSessions, Platform> = Unchecked::new(Platform).authorize(&caller.principal)?;
        let mut sessions = self.control.sessions(&user.provider_id).await?;
        sessions.retain(|session| session.is_active);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.last_active_at));
        Ok(sessions)
    }

    /// Ends a session of the caller, here whether or not it is over at the provider. Repeating it succeeds.
    pub async fn revoke(&self, caller: &Caller, user: &User, id: &ProviderSessionId) -> Result<(), SessionsError> {
        let cleared = may_end(caller)?;
        let sessions = self.control.sessions(&user.provider_id).await?;
        sessions.iter().find(|session| session.id == *id).ok_or(SessionsError::NotFound)?;
        self.end(&cleared, caller, user, std::slice::from_ref(id), false).await
    }

    /// Ends the session that the caller came with.
    pub async fn sign_out(
        &self,
        caller: &Caller,
        user: &User,
        current: &ProviderSessionId,
    ) -> Result<(), SessionsError> {
        let cleared = may_end(caller)?;
        self.end(&cleared, caller, user, std::slice::from_ref(current), false).await
    }

    /// Ends all sessions of the caller, and answers how many. The current one ends even if the provider cannot list the others, and so does
    /// every token that was made for any of them until now.
    pub async fn sign_out_everywhere(
        &self,
        caller: &Caller,
        user: &User,
        current: Option<&ProviderSessionId>,
    ) -> Result<usize, SessionsError> {
        let cleared = may_end(caller)?;
        let listed = self.control.sessions(&user.provider_id).await;
        let others = listed.as_ref().map(Vec::as_slice).unwrap_or_default().iter();
        let others = others.filter(|session| session.is_active).map(|session| &session.id);
        let mut ids: Vec<_> = current.into_iter().chain(others).cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        self.end(&cleared, caller, user, &ids, true).await?;
        listed?;
        Ok(ids.len())
    }

    /// Here first, and all at once: whatever the provider answers, and if it never does, the sessions count nowhere any more.
    async fn end(
        &self,
        _: &Authorized<EndSessions, Platform>,
        caller: &Caller,
        user: &User,
        ids: &[ProviderSessionId],
        everywhere: bool,
    ) -> Result<(), SessionsError> {
        let merge: Merging = Unchecked::new(Platform).authorize(&Principal::System(Job::Sessions))?;
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        let account = Some(user.personal_account);
        let attempts: Vec<_> = ids
            .iter()
            .map(|id| {
                let subject = Subject::Session(id.to_string());
                (id, AuditRecord::opened(source, caller, account, AuditAction::SessionRevoked, subject))
            })
            .collect();
        let mut tx = self.store.begin().await?;
        let outcome = self.end_in(&mut *tx, &merge, caller, &attempts, everywhere.then_some(user)).await;
        finish(tx, outcome).await?;

        let mut failed = None;
        for (id, opened) in attempts {
            let revoked = self.control.revoke(id).await;
            if let Some(result) = known_result(&revoked) {
                let mut tx = self.store.begin().await?;
                let closed = AuditRecord::closed(source, &opened, result);
                let outcome = close_in(&mut *tx, &self.facts, &merge, id, closed, revoked.is_ok()).await;
                finish(tx, outcome).await?;
            }
            // The others are asked for whatever becomes of this one.
            failed = failed.or(revoked.err());
        }
        let Some(error) = failed else { return Ok(()) };
        self.health.expect_by(self.facts.clock.now().plus(revoke_again::rest(0)));
        Err(error.into())
    }

    async fn end_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        caller: &Caller,
        attempts: &[(&ProviderSessionId, AuditRecord)],
        everywhere: Option<&User>,
    ) -> Result<(), StoreError> {
        let ids = attempts.iter().map(|(id, _)| id.to_string()).collect();
        let ended = tx.provider_ids().lock(cleared, ids).await?;
        for (id, opened) in attempts {
            if !ended.contains(&id.to_string()) {
                // Until the provider confirms it, it goes on making tokens for the session.
                let remembered_until = self.facts.clock.now().plus(LONGEST_SESSION);
                tx.provider_ids().bury(cleared, id.to_string(), remembered_until).await?;
                self.expect_confirmation(tx, cleared, id, opened).await?;
                tx.changes().changed(Change::Session(id.to_string())).await?;
                let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
                let (action, subject) = (AuditAction::SessionEnded, opened.subject.clone());
                tx.audit().record(AuditRecord::now(source, caller, opened.account, action, subject)).await?;
            }
            tx.audit().record(opened.clone()).await?;
        }
        let Some(user) = everywhere else { return Ok(()) };
        let before = tx.epochs().now().await?;
        tx.epochs().advance(cleared, user.provider_id.clone(), before).await?;
        tx.changes().changed(Change::Tokens { of: Some(user.provider_id.to_string()), before }).await?;
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        let (account, subject) = (Some(user.personal_account), Subject::User(user.id));
        tx.audit().record(AuditRecord::now(source, caller, account, AuditAction::SessionsEnded, subject)).await
    }

    /// So that the provider is asked again if it does not answer, or this process ends before it does.
    async fn expect_confirmation(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Merging,
        id: &ProviderSessionId,
        opened: &AuditRecord,
    ) -> Result<(), StoreError> {
        let Some(account) = opened.account else { return Ok(()) };
        let end = UnconfirmedEnd { session: id.clone(), account, attempts: 0 };
        let try_at = self.facts.clock.now().plus(revoke_again::rest(end.attempts));
        tx.unconfirmed_ends().add(cleared, end, try_at).await
    }
}

/// Tells what became of an attempt, and settles the id if the session is over at the provider.
async fn close_in(
    tx: &mut dyn AccountsTx,
    facts: &Facts,
    cleared: &Merging,
    id: &ProviderSessionId,
    closed: AuditRecord,
    is_over: bool,
) -> Result<(), StoreError> {
    tx.audit().record(closed).await?;
    if is_over {
        tx.provider_ids().settle(cleared, id.to_string(), facts.clock.now()).await?;
    }
    Ok(())
}

/// Longer than any session at the provider lasts.
const LONGEST_SESSION: Duration = Duration::from_hours(24 * 365 * 10);

/// Whether it happened at the provider; none if nobody knows, as after an answer that got lost.
fn known_result(revoked: &Result<(), DirectoryError>) -> Option<EffectResult> {
    match revoked {
        Ok(()) => Some(EffectResult::Succeeded),
        Err(DirectoryError::RateLimited { .. } | DirectoryError::SecretKeyInvalid) => Some(EffectResult::Failed),
        Err(DirectoryError::Unavailable(_) | DirectoryError::Malformed(_)) => None,
    }
}

fn may_end(caller: &Caller) -> Result<Authorized<EndSessions, Platform>, Denied> {
    Unchecked::new(Platform).authorize(&caller.principal)
}

#[cfg(test)]
mod tests {
    use portal_audit::{Effect, Provenance};
    use portal_authz::{Delegate, Roles, UserPrincipal};
    use portal_identity::{MockSessionControl, SessionActivity};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::RoleMap;
    use crate::testing::known;
    use crate::testing::memory::MemoryStore;

    fn id(number: u8) -> ProviderSessionId {
        ProviderSessionId::parse(&format!("sess_{number}")).unwrap()
    }

    fn session(number: u8, is_active: bool) -> ProviderSession {
        ProviderSession {
            id: id(number),
            is_active,
            created_at: None,
            last_active_at: portal_kernel::Timestamp::from_unix_seconds(number.into()),
            expires_at: None,
            activity: SessionActivity::default(),
        }
    }

    fn caller() -> Caller {
        let principal = Principal::User(UserPrincipal::new(known(true).user.id, Roles::default()));
        Caller { principal, provenance: Provenance::default() }
    }

    fn down() -> DirectoryError {
        DirectoryError::Unavailable("down".into())
    }

    /// A person with three sessions, of which the third ended.
    fn control() -> MockSessionControl {
        let mut control = MockSessionControl::new();
        control.expect_sessions().returning(|_| Ok(vec![session(1, true), session(2, true), session(3, false)]));
        control
    }

    fn sessions(control: MockSessionControl) -> (Sessions, MemoryStore) {
        let store = MemoryStore::default();
        let facts = Facts {
            role_map: RoleMap::default(),
            ids: Arc::new(CountingIds::default()),
            clock: Arc::new(FixedClock::default()),
        };
        let sessions = Sessions {
            control: Arc::new(control),
            store: Arc::new(store.clone()),
            facts: Arc::new(facts),
            health: Arc::default(),
        };
        (sessions, store)
    }

    async fn effects(store: &MemoryStore) -> Vec<&'static str> {
        store.rows.lock().await.records.iter().map(|record| record.effect.as_str()).collect()
    }

    #[tokio::test]
    async fn the_last_used_session_is_first_and_ended_ones_are_not_listed() {
        let (sessions, _) = sessions(control());
        let listed = sessions.list(&caller(), &known(true).user).await.unwrap();
        assert_eq!(listed.iter().map(|session| session.id.clone()).collect::<Vec<_>>(), [id(2), id(1)]);
    }

    #[tokio::test]
    async fn a_session_ends_here_before_the_provider_is_asked() {
        let (mut control, store) = (control(), MemoryStore::default());
        let seen = store.clone();
        control.expect_revoke().once().returning(move |_| {
            let rows = seen.rows.try_lock().unwrap();
            assert!(rows.buried.contains("sess_1"), "it ended here");
            assert_eq!(rows.changes, [Change::Session("sess_1".to_owned())]);
            let told: Vec<_> = rows.records.iter().map(|record| (record.action, record.effect)).collect();
            assert_eq!(
                told,
                [(AuditAction::SessionEnded, Effect::Done), (AuditAction::SessionRevoked, Effect::Opened)]
            );
            Ok(())
        });
        let (sessions, _) = sessions(control);
        let sessions = Sessions { store: Arc::new(store.clone()), ..sessions };
        sessions.revoke(&caller(), &known(true).user, &id(1)).await.unwrap();
        assert_eq!(effects(&store).await, ["done", "opened", "succeeded"]);
    }

    #[tokio::test]
    async fn a_session_that_is_over_at_the_provider_ends_here_and_somebody_elses_does_not() {
        let mut control = control();
        control.expect_revoke().times(2).returning(|_| Ok(()));
        let (sessions, store) = sessions(control);
        for _ in 0..2 {
            sessions.revoke(&caller(), &known(true).user, &id(3)).await.unwrap();
        }
        assert_eq!(effects(&store).await, ["done", "opened", "succeeded", "opened", "succeeded"], "it ends here once");
        let refused = sessions.revoke(&caller(), &known(true).user, &id(9)).await.unwrap_err();
        assert!(matches!(refused, SessionsError::NotFound));
        assert_eq!(store.rows.lock().await.buried.iter().collect::<Vec<_>>(), ["sess_3"]);
    }

    #[tokio::test]
    async fn a_provider_that_is_down_keeps_nobody_signed_in() {
        let mut control = MockSessionControl::new();
        control.expect_sessions().returning(|_| Err(down()));
        control.expect_revoke().returning(|_| Err(down()));
        let (sessions, store) = sessions(control);
        let user = known(true).user;
        let failed = sessions.sign_out(&caller(), &user, &id(1)).await.unwrap_err();
        assert!(matches!(failed, SessionsError::Provider(_)));
        let failed = sessions.sign_out_everywhere(&caller(), &user, Some(&id(2))).await.unwrap_err();
        assert!(matches!(failed, SessionsError::Provider(_)));
        assert_eq!(store.rows.lock().await.buried.iter().collect::<Vec<_>>(), ["sess_1", "sess_2"]);
        assert_eq!(
            effects(&store).await,
            ["done", "opened", "done", "opened", "done"],
            "nobody knows what the provider did"
        );
        let epochs = store.rows.lock().await.epochs.clone();
        let now = FixedClock::default().now();
        assert_eq!(epochs.into_iter().collect::<Vec<_>>(), [(Some("user_alice".to_owned()), now)], "of all tokens");
    }

    #[tokio::test]
    async fn what_the_provider_refuses_is_recorded_as_failed() {
        let mut control = control();
        control.expect_revoke().returning(|_| Err(DirectoryError::RateLimited { retry_after: None }));
        let (sessions, store) = sessions(control);
        sessions.revoke(&caller(), &known(true).user, &id(1)).await.unwrap_err();
        assert_eq!(effects(&store).await, ["done", "opened", "failed"]);
    }

    #[tokio::test]
    async fn everywhere_means_every_session_once() {
        let mut control = control();
        control.expect_revoke().times(2).returning(|_| Ok(()));
        let (sessions, store) = sessions(control);
        assert_eq!(sessions.sign_out_everywhere(&caller(), &known(true).user, Some(&id(1))).await.unwrap(), 2);
        let rows = store.rows.lock().await;
        assert_eq!(rows.buried.iter().collect::<Vec<_>>(), ["sess_1", "sess_2"]);
        let before = FixedClock::default().now();
        assert_eq!(rows.changes.last(), Some(&Change::Tokens { of: Some("user_alice".to_owned()), before }));
        let told = rows.records.iter().find(|record| record.action == AuditAction::SessionsEnded).unwrap();
        let user = known(true).user;
        assert_eq!((told.account, &told.subject), (Some(user.personal_account), &Subject::User(user.id)));
    }

    #[tokio::test]
    async fn whoever_acts_for_a_person_sees_and_ends_none() {
        let (sessions, _) = sessions(MockSessionControl::new());
        let user = UserPrincipal::new(known(true).user.id, Roles::default());
        let delegate = Delegate { user, actor: "user_support".to_owned() };
        for principal in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
            let caller = Caller { principal, provenance: Provenance::default() };
            let user = known(true).user;
            assert!(matches!(sessions.list(&caller, &user).await, Err(SessionsError::Denied(_))));
            assert!(matches!(sessions.revoke(&caller, &user, &id(1)).await, Err(SessionsError::Denied(_))));
            assert!(matches!(sessions.sign_out(&caller, &user, &id(1)).await, Err(SessionsError::Denied(_))));
        }
    }
}
