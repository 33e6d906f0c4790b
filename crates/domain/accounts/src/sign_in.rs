//! A verified session becomes a principal; the first one of a person also makes user, personal account and ownership.

use std::sync::Arc;
use std::time::Duration;

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Delegate, Denied, Job, Platform, Principal, Role, Roles, Unchecked, UserPrincipal};
use portal_identity::{ActorKind, IdentityDirectory, SessionAuth};
use portal_kernel::{AccountId, Clock, IdGen, StoreError, UserId, finish};

use crate::ports::{AccountsStore, AccountsTx, SignInReader};
use crate::{Account, KnownUser, Membership, Profile, RoleMap, User};

/// How long a failed read of a profile rests before the next request tries again.
const PROFILE_RETRY: Duration = Duration::from_mins(1);

/// Name of a personal account until the person chooses another.
const PERSONAL_NAME: &str = "Personal";

/// Why a verified session did not become a principal.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// An impersonator or agent acts for a person who never signed in: only the person can be provisioned, by signing in.
    #[error("the person was never here, and only their own sign-in can change that")]
    DelegateOfStranger,
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
    /// Looks people up.
    pub reader: Arc<dyn SignInReader>,
    /// Writes the first sign-in.
    pub store: Arc<AccountsStore>,
    /// Tells what the token does not.
    pub directory: Arc<dyn IdentityDirectory>,
    /// Maps the provider's role keys.
    pub role_map: RoleMap,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

pub(crate) type Clearance = Authorized<BuildPrincipal, Platform>;

impl SignIn {
    /// Finds or makes the person behind a session that verified and is not pending.
    ///
    /// Any number of concurrent first requests makes exactly one user, one personal account and one ownership, and all succeed. The
    /// provider is asked for the profile once, after the person exists: if it does not answer, the sign-in succeeds all the same and
    /// a later one asks again.
    pub async fn sign_in(&self, auth: &SessionAuth, provenance: &Provenance) -> Result<SignedIn, SignInError> {
        let caller = Caller { principal: Principal::System(Job::SignIn), provenance: provenance.clone() };
        let cleared = Unchecked::new(Platform).authorize::<BuildPrincipal>(&caller.principal)?;
        let known = match self.reader.find(&cleared, auth.user_id.clone()).await? {
            Some(known) => self.with_profile(&cleared, &caller, known).await?,
            None if auth.actor.is_some() => return Err(SignInError::DelegateOfStranger),
            None => self.first_sign_in(&cleared, &caller, auth).await?,
        };
        Ok(self.principal(known, auth))
    }

    /// A known person whose profile is missing gets it now, if nobody else asked a moment ago.
    async fn with_profile(
        &self,
        cleared: &Clearance,
        caller: &Caller,
        known: Arc<KnownUser>,
    ) -> Result<Arc<KnownUser>, SignInError> {
        if known.user.profile_read_at.is_some() || !self.claim_profile(cleared, known.user.id).await? {
            return Ok(known);
        }
        self.ask_provider(cleared, caller, known).await
    }

    async fn first_sign_in(
        &self,
        cleared: &Clearance,
        caller: &Caller,
        auth: &SessionAuth,
    ) -> Result<Arc<KnownUser>, SignInError> {
        let made = self.provision(cleared, caller, auth).await.map_err(SignInError::ProvisioningFailed)?;
        let known = self.reader.find(cleared, auth.user_id.clone()).await?.ok_or(StoreError::Stale)?;
        if made { self.ask_provider(cleared, caller, known).await } else { Ok(known) }
    }

    /// True if this call made the person, false if another one did first.
    async fn provision(&self, cleared: &Clearance, caller: &Caller, auth: &SessionAuth) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        match self.provision_in(&mut *tx, cleared, caller, auth).await {
            Ok(false) => {
                tx.rollback().await?;
                Ok(false)
            }
            outcome => finish(tx, outcome).await,
        }
    }

    async fn provision_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        caller: &Caller,
        auth: &SessionAuth,
    ) -> Result<bool, StoreError> {
        let at = self.clock.now();
        let (user, account) = (self.ids.make::<UserId>(), self.ids.make::<AccountId>());
        let personal =
            Account { id: account, name: PERSONAL_NAME.to_owned(), provider_organization: None, created_at: at };
        tx.accounts().insert(cleared, personal).await?;
        let person = User {
            id: user,
            provider_id: auth.user_id.clone(),
            personal_account: account,
            profile: Profile::default(),
            profile_read_at: None,
            created_at: at,
        };
        if !tx.users().insert(cleared, person).await? {
            return Ok(false);
        }
        let owner = Membership { account, user, role: Role::Owner, provider_role: None };
        tx.accounts().insert_membership(cleared, owner, at).await?;
        let record = AuditRecord::now(
            (&*self.ids, &*self.clock),
            caller,
            Some(account),
            AuditAction::UserProvisioned,
            Subject::User(user),
        );
        tx.audit().record(record).await?;
        Ok(true)
    }

    async fn claim_profile(&self, cleared: &Clearance, user: UserId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let outcome = tx.users().claim_profile(cleared, user, now, now.minus(PROFILE_RETRY)).await;
        finish(tx, outcome).await
    }

    /// Reads profile and organizations from the provider, with no transaction open, and merges them. A provider that does not answer
    /// leaves everything as it is.
    async fn ask_provider(
        &self,
        cleared: &Clearance,
        caller: &Caller,
        known: Arc<KnownUser>,
    ) -> Result<Arc<KnownUser>, SignInError> {
        let id = &known.user.provider_id;
        let answer = match self.directory.user(id).await {
            Ok(Some(person)) => self.directory.memberships(id).await.map(|memberships| Some((person, memberships))),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some((person, memberships))) => {
                let id = id.clone();
                if let Err(error) = self.merge(cleared, caller, &known.user, person.into(), memberships).await {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(user.id = %known.user.id, %error, cause, "the profile was not stored and will be asked for again");
                    return Ok(known);
                }
                Ok(self.reader.find(cleared, id).await?.ok_or(StoreError::Stale)?)
            }
            Ok(None) => {
                tracing::warn!(user.id = %known.user.id, "the identity provider does not know a person whose token it signed");
                Ok(known)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(user.id = %known.user.id, %error, cause, "the profile was not read and will be asked for again");
                Ok(known)
            }
        }
    }

    fn principal(&self, known: Arc<KnownUser>, auth: &SessionAuth) -> SignedIn {
        let active = auth.organization.as_ref();
        let roles: Roles = known
            .memberships
            .iter()
            .filter_map(|member| Some((member.account, member.effective_role(active, &self.role_map)?)))
            .collect();
        let active_account = active
            .and_then(|organization| {
                known.memberships.iter().find(|member| member.provider_organization.as_ref() == Some(&organization.id))
            })
            .map(|member| member.account)
            .filter(|account| roles.of(*account).is_some())
            .unwrap_or(known.user.personal_account);
        let user = UserPrincipal { user: known.user.id, roles };
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
        SignedIn { principal, active_account, known }
    }
}

#[cfg(test)]
mod tests {
    use portal_identity::{Actor, DirectoryError, MockIdentityDirectory, ProviderUser};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::testing::{Ending, MockAccountsStore, MockTx, known, organization, session};
    use crate::{KnownMembership, MockSignInReader};

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
            let sign_in = SignIn {
                reader: Arc::new(self.reader),
                store: store.clone(),
                directory: Arc::new(self.directory),
                role_map: RoleMap::default(),
                ids: Arc::new(CountingIds::default()),
                clock: Arc::new(FixedClock::default()),
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
        fixture.reader.expect_find().times(2).returning(move |_, _| {
            asked += 1;
            Ok((asked == 2).then(|| Arc::new(known(false))))
        });
        fixture.tx.accounts.expect_insert().once().returning(|_, _| Ok(()));
        fixture.tx.users.expect_insert().once().returning(|_, _| Ok(true));
        fixture
            .tx
            .accounts
            .expect_insert_membership()
            .withf(|_, member, _| member.role == Role::Owner)
            .once()
            .returning(|_, _, _| Ok(true));
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
        assert_eq!(
            store.endings(),
            [Ending::Committed],
            "one transaction, and the provider being down does not matter"
        );
    }

    #[tokio::test]
    async fn whoever_loses_the_race_rolls_back_and_reads_what_the_winner_wrote() {
        let mut fixture = Fixture::new();
        let mut asked = 0;
        fixture.reader.expect_find().times(2).returning(move |_, _| {
            asked += 1;
            Ok((asked == 2).then(|| Arc::new(known(false))))
        });
        fixture.tx.accounts.expect_insert().once().returning(|_, _| Ok(()));
        fixture.tx.users.expect_insert().once().returning(|_, _| Ok(false));
        fixture.tx.audit.expect_record().never();
        fixture.directory.expect_user().never();
        let (sign_in, store) = fixture.build();
        let signed_in = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert_eq!(signed_in.known.user, known(false).user);
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn a_failed_first_write_has_its_own_name_and_leaves_nothing() {
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(|_, _| Ok(None));
        fixture.tx.accounts.expect_insert().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
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
        fixture.tx.users.expect_claim_profile().once().returning(|_, _, now, before| {
            assert_eq!(now.since(before), PROFILE_RETRY);
            Ok(false)
        });
        fixture.directory.expect_user().never();
        let (sign_in, store) = fixture.build();
        let first = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert_eq!(first.known.user.profile_read_at, None, "somebody else is asking");
        let second = sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        assert!(second.known.user.profile_read_at.is_some());
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn the_active_organization_of_a_member_is_the_active_account() {
        let acme: AccountId = "acc_00000000000000000000000009".parse().unwrap();
        let mut fixture = Fixture::new();
        fixture.reader.expect_find().returning(move |_, _| {
            let mut person = known(true);
            person.memberships.push(KnownMembership {
                account: acme,
                role: Role::Owner,
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
        fixture.tx.users.expect_claim_profile().once().returning(|_, _, _, _| Ok(true));
        fixture.directory.expect_user().once().returning(|_| Ok::<Option<ProviderUser>, _>(None));
        let (sign_in, _) = fixture.build();
        assert!(sign_in.sign_in(&session(), &Provenance::default()).await.is_ok());
    }
}
