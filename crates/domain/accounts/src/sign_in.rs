//! A verified session becomes a principal; the first one of a person also makes user, personal account and ownership.

mod first_sight;
mod health;
mod provider;

use std::sync::Arc;
use std::time::Duration;

use portal_audit::{Caller, Provenance};
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Delegate, Denied, Job, Platform, Principal, Roles, Unchecked, UserPrincipal};
use portal_identity::{ActorKind, Has, IdentityDirectory, ProviderUserId, Reverification, SessionAuth};
use portal_kernel::{AccountId, StoreError, finish};

use crate::facts::{Facts, Found, Merge};
use crate::ports::{AccountsStore, AccountsTx, Merging, SignInReader};
use crate::{EndedSessions, KnownUser, SeenSessions, Turns, UserState};

pub use health::SignInHealth;

/// How recently somebody must have proved who they are for what matters most: the second factor, or the first where there is no
/// second, in the last ten minutes.
pub const STEP_UP: Reverification = Reverification::Strict;

/// Why a verified session did not become a principal.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// An impersonator or agent acts for a person who never signed in: only the person can be provisioned, by signing in.
    #[error("the person was never here, and only their own sign-in can change that")]
    DelegateOfStranger,
    /// The session is over, or the token too old, though it verifies: somebody signed out, or was signed out.
    #[error("the session ended")]
    SessionEnded,
    /// The subject of the session is none that the provider gives to people; only in compatibility `exact` such sessions verify.
    #[error("the subject of the session is no person")]
    NoPerson,
    /// The provider bans the person: no token of theirs counts meanwhile.
    #[error("the person is banned")]
    Paused,
    /// The provider deleted the person: no token of theirs counts any more.
    #[error("the person was deleted")]
    Deleted,
    /// The first sign-in could not be written. Nothing was; repeating is safe.
    #[error("the first sign-in could not be stored")]
    ProvisioningFailed(#[source] StoreError),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the person could not be read")]
    Store(#[from] StoreError),
}

/// A person who is signed in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Decides what is allowed.
    pub principal: Principal,
    /// The person.
    pub known: Arc<KnownUser>,
    /// The account of the organization that is active in the session, else the personal one.
    pub active_account: AccountId,
}

/// The use case, with what it needs.
pub struct SignIn {
    /// Sessions whose tokens do not count any more.
    pub ended_sessions: Arc<EndedSessions>,
    /// Looks people up.
    pub reader: Arc<dyn SignInReader>,
    /// Writes the first sign-in.
    pub store: Arc<AccountsStore>,
    /// Tells what the token does not.
    pub directory: Arc<dyn IdentityDirectory>,
    /// Writes what the directory tells.
    pub facts: Arc<Facts>,
    /// Who is being made at the moment.
    pub turns: Turns,
    /// Whether what matters most asks for a fresh proof of identity; otherwise every session counts as one.
    pub step_up: bool,
    /// How much the provider's clock and ours may differ.
    pub clock_skew: Duration,
    /// Sessions that signed in before.
    pub seen: SeenSessions,
    /// How many signed in.
    pub health: Arc<SignInHealth>,
}

/// What signing in needs: to look people up, and to write what the provider tells.
struct Clearance {
    look_up: Authorized<BuildPrincipal, Platform>,
    merge: Merging,
    caller: Caller,
}

impl Clearance {
    fn of(provenance: &Provenance) -> Result<Self, Denied> {
        let caller = Caller { principal: Principal::System(Job::SignIn), provenance: provenance.clone() };
        let look_up = Unchecked::new(Platform).authorize(&caller.principal)?;
        let merge = Unchecked::new(Platform).authorize(&caller.principal)?;
        Ok(Self { look_up, merge, caller })
    }
}

impl SignIn {
    /// Finds or makes the person behind a session that verified and is not pending.
    ///
    /// Any number of concurrent first requests makes exactly one user, one personal account and one ownership, and all succeed. The
    /// provider is asked for the profile once, after the person exists: if it does not answer, the sign-in succeeds all the same and
    /// a later one asks again.
    pub async fn sign_in(&self, auth: &SessionAuth, provenance: &Provenance) -> Result<SignedIn, SignInError> {
        if !auth.user_id.is_well_formed() {
            return Err(SignInError::NoPerson);
        }
        let cleared = Clearance::of(provenance)?;
        if self.ended_sessions.contains(&cleared.look_up, auth).await? {
            return Err(SignInError::SessionEnded);
        }
        let known = match self.reader.find(&cleared.look_up, auth.user_id.clone()).await? {
            Some(known) => self.with_profile(&cleared, known).await?,
            None if auth.actor.is_some() => return Err(SignInError::DelegateOfStranger),
            None => self.first_sign_in(&cleared, auth).await?,
        };
        let known = self.with_memberships(&cleared, known, auth).await?;
        match known.user.state {
            UserState::Active => {
                self.health.note();
                let signed_in = self.principal(known, auth);
                self.tell_once(&cleared, auth, &signed_in).await;
                Ok(signed_in)
            }
            UserState::Paused => Err(SignInError::Paused),
            UserState::Deleted => Err(SignInError::Deleted),
        }
    }

    /// Whether a session that verified is over, from memory: see [`EndedSessions::recalls`].
    pub async fn is_over(&self, auth: &SessionAuth) -> Result<bool, SignInError> {
        if let Some(is_over) = self.ended_sessions.recalled(auth) {
            return Ok(is_over);
        }
        let cleared = Clearance::of(&Provenance::default())?;
        Ok(self.ended_sessions.recalls(&cleared.look_up, auth).await?)
    }

    /// Learns what sign-ins and [`Self::is_over`] would otherwise wait for. Cheap once it is known; to be called over and over.
    pub async fn prepare(&self) -> Result<(), SignInError> {
        let cleared = Clearance::of(&Provenance::default())?;
        Ok(self.ended_sessions.refresh(&cleared.look_up).await?)
    }

    async fn first_sign_in(&self, cleared: &Clearance, auth: &SessionAuth) -> Result<Arc<KnownUser>, SignInError> {
        let turn = self.turns.take(auth.user_id.clone()).await;
        if let Some(known) = self.reader.find(&cleared.look_up, auth.user_id.clone()).await? {
            return Ok(known);
        }
        let made = match self.provision(cleared, &auth.user_id).await.map_err(SignInError::ProvisioningFailed)? {
            Found::Deleted => return Err(SignInError::Deleted),
            Found::Made(_) => true,
            Found::Known(_) => false,
        };
        let known = self.reader.find(&cleared.look_up, auth.user_id.clone()).await?.ok_or(StoreError::Stale)?;
        drop(turn);
        if !made {
            return Ok(known);
        }
        self.health.note_first();
        Ok(self.ask_provider(cleared, &known, None).await?.unwrap_or(known))
    }

    async fn provision(&self, cleared: &Clearance, id: &ProviderUserId) -> Result<Found, StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.provision_in(&mut *tx, cleared, id).await;
        finish(tx, outcome).await
    }

    async fn provision_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        id: &ProviderUserId,
    ) -> Result<Found, StoreError> {
        if !tx.provider_ids().lock(&cleared.merge, vec![id.to_string()]).await?.is_empty() {
            return Ok(Found::Deleted);
        }
        let mut merge = Merge::new(tx, &cleared.merge, &cleared.caller);
        // Whoever makes a person here asks the provider next.
        let asked_at = Some(self.facts.clock.now());
        self.facts.person(&mut merge, id, asked_at).await
    }

    fn principal(&self, known: Arc<KnownUser>, auth: &SessionAuth) -> SignedIn {
        let active = auth.organization.as_ref();
        let roles: Roles = known
            .memberships
            .iter()
            .filter_map(|member| Some((member.account, member.effective_role(active, &self.facts.role_map)?)))
            .collect();
        let active_account = active
            .and_then(|organization| {
                known.memberships.iter().find(|member| member.provider_organization.as_ref() == Some(&organization.id))
            })
            .map(|member| member.account)
            .filter(|account| roles.of(*account).is_some())
            .unwrap_or(known.user.personal_account);
        let fresh = Has { reverification: Some(STEP_UP), ..Has::default() };
        let user = UserPrincipal {
            user: known.user.id,
            roles,
            email_unverified: known.user.email_unverified(),
            reverified: !self.step_up || auth.has(&fresh),
        };
        let principal = match &auth.actor {
            None => Principal::User(user),
            Some(actor) => {
                let delegate = Delegate { user, actor: actor.subject.clone() };
                match actor.kind {
                    ActorKind::Impersonator => Principal::Impersonator(delegate),
                    ActorKind::Agent => Principal::Agent(delegate),
                }
            }
        };
        SignedIn { principal, known, active_account }
    }
}

#[cfg(test)]
mod tests {
    use portal_audit::AuditAction;
    use portal_authz::Role;
    use portal_identity::{Actor, DirectoryError, MockIdentityDirectory, ProviderSessionId, ProviderUser};
    use portal_kernel::Timestamp;
    use portal_testkit::{CountingIds, FixedClock, SteeredFeed};

    use super::provider::REST;
    use super::*;
    use crate::testing::{Ending, MockAccountsStore, MockTx, known, organization, session};
    use crate::{KnownMembership, Membership, MockEndedSessionReader, MockSignInReader, RoleMap};

    struct Fixture {
        reader: MockSignInReader,
        tx: MockTx,
        directory: MockIdentityDirectory,
    }

    impl Fixture {
        fn new() -> Self {
            Self { reader: MockSignInReader::new(), tx: MockTx::default(), directory: MockIdentityDirectory::new() }
        }

        fn build(self) -> (SignIn, Arc<MockAccountsStore>) {
            let store = Arc::new(MockAccountsStore::new([self.tx]));
            let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
            let mut ended = MockEndedSessionReader::new();
            ended.expect_ended_since().returning(|_, _| Ok(vec!["sess_ended".to_owned()]));
            ended.expect_epochs_since().returning(|_, _| Ok(Vec::new()));
            let ended_sessions = Arc::new(EndedSessions::new(Arc::new(ended), SteeredFeed::current(), clock.clone()));
            let seen = SeenSessions::new(10);
            seen.look(&ProviderSessionId::parse("sess_alice").unwrap()).unwrap().written();
            let sign_in = SignIn {
                seen,
                ended_sessions,
                reader: Arc::new(self.reader),
                store: store.clone(),
                directory: Arc::new(self.directory),
                facts: Arc::new(Facts { role_map: RoleMap::default(), ids, clock }),
                turns: Turns::default(),
                step_up: true,
                clock_skew: Duration::from_secs(5),
                health: Arc::default(),
            };
            (sign_in, store)
        }
    }

    fn down() -> DirectoryError {
        DirectoryError::Unavailable("connection refused".into())
    }

    #[tokio::test]
    async fn a_known_person_is_read_and_nothing_is_written() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().once().returning(|_, _| Ok(Some(Arc::new(known(true)))));
        let (sign_in, store) = fixture.build();
        let signed_in = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert!(matches!(signed_in.principal, Principal::User(_)));
        assert_eq!(signed_in.active_account, signed_in.known.user.personal_account);
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn the_first_sign_in_writes_user_account_ownership_and_record_in_one_transaction() {
        let mut fixture = Fixture::new();
        let mut asked = 0;
        fixture.reader.expect_find().times(3).returning(move |_, _| {
            asked += 1;
            Ok((asked == 3).then(|| Arc::new(known(false))))
        });
        let tx = &mut fixture.tx;
        tx.provider_ids.expect_lock().once().returning(|_, _| Ok(Vec::new()));
        tx.users.expect_find().once().returning(|_, _| Ok(None));
        tx.accounts.expect_insert().once().returning(|_, _| Ok(()));
        tx.users.expect_insert().once().returning(|_, _| Ok(true));
        let is_owner = |_: &Merging, member: &Membership, _: &Timestamp| member.role == Some(Role::Owner);
        tx.accounts.expect_save_membership().withf(is_owner).once().returning(|_, _, _| Ok(()));
        fixture
            .tx
            .audit
            .expect_record()
            .withf(|record| record.action == AuditAction::UserProvisioned && record.account.is_some())
            .once()
            .returning(|_| Ok(()));
        fixture.directory.expect_user().once().returning(|_| Err(down()));
        let (sign_in, store) = fixture.build();
        sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert_eq!((sign_in.health.all(), sign_in.health.first()), (1, 1));
        assert_eq!(
            store.endings(),
            [Ending::Committed],
            "one transaction, and the provider being down does not matter"
        );
    }

    #[tokio::test]
    async fn whoever_loses_the_race_reads_what_the_winner_wrote() {
        let mut fixture = Fixture::new();
        let mut asked = 0;
        fixture.reader.expect_find().times(3).returning(move |_, _| {
            asked += 1;
            Ok((asked == 3).then(|| Arc::new(known(false))))
        });
        fixture.tx.provider_ids.expect_lock().once().returning(|_, _| Ok(Vec::new()));
        fixture.tx.users.expect_find().once().returning(|_, _| Ok(Some(known(false).user)));
        fixture.directory.expect_user().never();
        let (sign_in, _) = fixture.build();
        let signed_in = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert_eq!(signed_in.known.user, known(false).user);
        assert_eq!((sign_in.health.all(), sign_in.health.first()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_was_deleted_is_refused_whether_they_were_here_or_not() {
        let mut here = Fixture::new();
        let mut person = known(true);
        (person.user.state, person.user.copy) = (UserState::Deleted, None);
        here.reader.expect_find().returning(move |_, _| Ok(Some(Arc::new(person.clone()))));
        let mut elsewhere = Fixture::new();
        elsewhere.reader.expect_find().returning(|_, _| Ok(None));
        elsewhere.tx.provider_ids.expect_lock().once().returning(|_, ids| Ok(ids));
        for fixture in [here, elsewhere] {
            let (sign_in, _) = fixture.build();
            let outcome = sign_in.sign_in(&session(), &Provenance::default()).await;
            assert!(matches!(outcome, Err(SignInError::Deleted)));
            assert_eq!((sign_in.health.all(), sign_in.health.first()), (0, 0));
        }
    }

    #[tokio::test]
    async fn a_session_that_ended_is_refused_before_anybody_is_looked_up() {
        let (sign_in, store) = Fixture::new().build();
        let ended = SessionAuth { session_id: ProviderSessionId::parse("sess_ended").ok(), ..session() };
        let refused = sign_in.sign_in(&ended, &Provenance::default()).await.unwrap_err();
        assert!(matches!(refused, SignInError::SessionEnded));
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn a_failed_first_write_has_its_own_name_and_leaves_nothing() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(|_, _| Ok(None));
        fixture.tx.provider_ids.expect_lock().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
        let (sign_in, store) = fixture.build();
        let outcome = sign_in.sign_in(&session(), &Provenance::default()).await;
        assert!(matches!(outcome, Err(SignInError::ProvisioningFailed(StoreError::Unavailable(_)))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn whoever_acts_for_an_unknown_person_never_provisions() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(|_, _| Ok(None));
        let (sign_in, store) = fixture.build();
        let auth = SessionAuth {
            actor: Some(Actor { subject: "user_support".to_owned(), kind: ActorKind::Impersonator }),
            ..session()
        };
        let outcome = sign_in.sign_in(&auth, &Provenance::default()).await;
        assert!(matches!(outcome, Err(SignInError::DelegateOfStranger)));
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn nobody_is_looked_up_by_what_is_no_id_of_a_person() {
        for subject in ["", "org_acme", "user_\0", "../user_alice"] {
            let (sign_in, store) = Fixture::new().build();
            let auth = SessionAuth { user_id: ProviderUserId::as_written(subject), ..session() };
            let outcome = sign_in.sign_in(&auth, &Provenance::default()).await;
            assert!(matches!(outcome, Err(SignInError::NoPerson)), "{subject:?}");
            assert_eq!(store.endings(), []);
        }
    }

    #[tokio::test]
    async fn an_impersonator_is_not_the_person() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(|_, _| Ok(Some(Arc::new(known(true)))));
        let (sign_in, _) = fixture.build();
        for (kind, expect_agent) in [(ActorKind::Impersonator, false), (ActorKind::Agent, true)] {
            let auth = SessionAuth { actor: Some(Actor { subject: "user_support".to_owned(), kind }), ..session() };
            let principal = sign_in.sign_in(&auth, &Provenance::default()).await.unwrap().principal;
            assert_eq!(matches!(principal, Principal::Agent(_)), expect_agent);
            assert_eq!(matches!(principal, Principal::Impersonator(_)), !expect_agent);
        }
    }

    #[tokio::test]
    async fn a_missing_profile_is_asked_for_by_one_request_and_kept() {
        let mut fixture = Fixture::new();
        let mut asked = 0;
        fixture.reader.expect_find().times(2).returning(move |_, _| {
            asked += 1;
            Ok(Some(Arc::new(known(asked == 2))))
        });
        fixture.tx.users.expect_claim().once().returning(|_, _, now, before| {
            assert_eq!(now.since(before), REST);
            Ok(false)
        });
        fixture.directory.expect_user().never();
        let (sign_in, store) = fixture.build();
        let first = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert_eq!(first.known.user.copy, None, "somebody else is asking");
        let second = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert!(second.known.user.copy.is_some());
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn the_active_organization_of_a_member_is_the_active_account() {
        let acme: AccountId = "acc_00000000000000000000000009".parse().unwrap();
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(move |_, _| {
            let mut person = known(true);
            person.user.memberships_asked_at = Some(person.user.created_at);
            person.memberships.push(KnownMembership {
                account: acme,
                role: Some(Role::Owner),
                provider_role: Some("org:admin".to_owned()),
                provider_organization: Some(organization("org:admin").id),
            });
            Ok(Some(Arc::new(person)))
        });
        let (sign_in, _) = fixture.build();
        let with = |role| SessionAuth { organization: Some(organization(role)), ..session() };
        let signed_in = sign_in.sign_in(&with("org:admin"), &Provenance::default()).await.unwrap();
        assert_eq!(signed_in.active_account, acme);
        let unmapped = sign_in.sign_in(&with("org:unheard_of"), &Provenance::default()).await.unwrap();
        assert_eq!(unmapped.active_account, unmapped.known.user.personal_account, "an unmapped role gives no access");
    }

    #[tokio::test]
    async fn a_person_unknown_to_the_provider_stays_signed_in_without_a_profile() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().once().returning(|_, _| Ok(Some(Arc::new(known(false)))));
        fixture.tx.users.expect_claim().once().returning(|_, _, _, _| Ok(true));
        fixture.directory.expect_user().once().returning(|_| Ok::<Option<ProviderUser>, _>(None));
        let (sign_in, _) = fixture.build();
        assert!(sign_in.sign_in(&session(), &Provenance::default()).await.is_ok());
    }
}
