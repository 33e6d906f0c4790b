//! The first sign-in of each session goes into the trail of the person.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_identity::{ProviderSessionId, SessionAuth};
use portal_kernel::{StoreError, finish};

use super::{Clearance, SignIn, SignedIn};
use crate::ports::AccountsTx;

impl SignIn {
    /// Tells the trail if the session was never seen by any replica. A store that is away keeps nobody out: a later request tells.
    pub(super) async fn tell_once(&self, cleared: &Clearance, auth: &SessionAuth, signed_in: &SignedIn) {
        let Some(session) = auth.session_id.as_ref().filter(|session| session.is_well_formed()) else { return };
        let Some(sight) = self.seen.look(session) else { return };
        match self.tell(cleared, session, signed_in).await {
            Ok(()) => sight.written(),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(user.id = %signed_in.known.user.id, %error, cause, "a sign-in is not in the trail yet");
            }
        }
    }

    async fn tell(
        &self,
        cleared: &Clearance,
        session: &ProviderSessionId,
        signed_in: &SignedIn,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.tell_in(&mut *tx, cleared, session, signed_in).await;
        finish(tx, outcome).await
    }

    async fn tell_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        session: &ProviderSessionId,
        signed_in: &SignedIn,
    ) -> Result<(), StoreError> {
        if !tx.sightings().see(&cleared.merge, session.clone(), self.facts.clock.now()).await? {
            return Ok(());
        }
        let source = (&*self.facts.ids, &*self.facts.clock);
        let provenance = cleared.caller.provenance.clone();
        let caller = Caller { principal: signed_in.principal.clone(), provenance };
        let (account, subject) = (signed_in.known.user.personal_account, Subject::Session(session.to_string()));
        let record = AuditRecord::now(source, &caller, Some(account), AuditAction::SignInSucceeded, subject);
        tx.audit().record(record).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_audit::Provenance;
    use portal_identity::{Actor, ActorKind};
    use portal_testkit::{CountingIds, FixedClock, SteeredFeed};

    use super::*;
    use crate::testing::{Ending, MockAccountsStore, MockTx, known, session};
    use crate::{EndedSessions, Facts, MockEndedSessionReader, MockSignInReader, RoleMap, SeenSessions, SignIn, Turns};

    fn sign_in(store: Arc<MockAccountsStore>) -> SignIn {
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        let (mut ended, mut reader) = (MockEndedSessionReader::new(), MockSignInReader::new());
        ended.expect_ended_since().returning(|_, _| Ok(Vec::new()));
        ended.expect_epochs_since().returning(|_, _| Ok(Vec::new()));
        reader.expect_find().returning(|_, _| Ok(Some(Arc::new(known(true)))));
        SignIn {
            ended_sessions: Arc::new(EndedSessions::new(Arc::new(ended), SteeredFeed::current(), clock.clone())),
            reader: Arc::new(reader),
            store,
            directory: Arc::new(portal_identity::MockIdentityDirectory::new()),
            facts: Arc::new(Facts { role_map: RoleMap::default(), ids, clock }),
            turns: Turns::default(),
            seen: SeenSessions::new(10),
            health: Arc::default(),
            step_up: true,
            clock_skew: std::time::Duration::from_secs(5),
        }
    }

    fn provenance() -> Provenance {
        Provenance { credential: Some("sess_alice".to_owned()), ..Provenance::default() }
    }

    #[tokio::test]
    async fn the_first_sign_in_of_a_session_is_recorded_and_no_other() {
        let mut tx = MockTx::default();
        tx.sightings.expect_see().once().returning(|_, _, _| Ok(true));
        let is_complete = |record: &AuditRecord| {
            let told = (record.action, record.actor.kind, &record.subject);
            told == (AuditAction::SignInSucceeded, "user", &Subject::Session("sess_alice".to_owned()))
                && record.account == Some(known(true).user.personal_account)
                && record.provenance == provenance()
        };
        tx.audit.expect_record().withf(is_complete).once().returning(|_| Ok(()));
        let store = Arc::new(MockAccountsStore::new([tx]));
        let sign_in = sign_in(store.clone());
        for _ in 0..3 {
            sign_in.sign_in(&session(), &provenance()).await.unwrap();
        }
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn a_session_that_another_replica_saw_is_not_recorded_again() {
        let mut tx = MockTx::default();
        tx.sightings.expect_see().once().returning(|_, _, _| Ok(false));
        tx.audit.expect_record().never();
        let store = Arc::new(MockAccountsStore::new([tx]));
        let sign_in = sign_in(store.clone());
        for _ in 0..3 {
            sign_in.sign_in(&session(), &provenance()).await.unwrap();
        }
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn a_store_that_is_away_keeps_nobody_out_and_is_told_later() {
        let (mut away, mut back) = (MockTx::default(), MockTx::default());
        away.sightings.expect_see().once().returning(|_, _, _| Err(StoreError::Unavailable("gone".into())));
        back.sightings.expect_see().once().returning(|_, _, _| Ok(true));
        back.audit.expect_record().once().returning(|_| Ok(()));
        let store = Arc::new(MockAccountsStore::new([away, back]));
        let sign_in = sign_in(store.clone());
        for _ in 0..3 {
            sign_in.sign_in(&session(), &provenance()).await.unwrap();
        }
        assert_eq!(store.endings(), [Ending::RolledBack, Ending::Committed]);
    }

    #[tokio::test]
    async fn whoever_acts_for_a_person_is_named() {
        let mut tx = MockTx::default();
        tx.sightings.expect_see().once().returning(|_, _, _| Ok(true));
        let is_theirs = |record: &AuditRecord| record.actor.behind.as_deref() == Some("user_support");
        tx.audit.expect_record().withf(is_theirs).once().returning(|_| Ok(()));
        let sign_in = sign_in(Arc::new(MockAccountsStore::new([tx])));
        let actor = Some(Actor { subject: "user_support".to_owned(), kind: ActorKind::Impersonator });
        sign_in.sign_in(&SessionAuth { actor, ..session() }, &provenance()).await.unwrap();
    }
}
