//! What the provider is asked while somebody signs in. It may be down: then everything stays as it is.

use std::sync::Arc;
use std::time::Duration;

use portal_identity::{ActiveOrganization, ProviderEvent, ProviderOrganizationId, SessionAuth};
use portal_kernel::{Change, StoreError, Timestamp, UserId, finish};

use super::{Clearance, SignIn, SignInError};
use crate::facts::Merge;
use crate::ports::{AccountsTx, Merging};
use crate::{KnownMembership, KnownUser, Source, UserState};

/// How long a question to the provider about a person rests before the next request may ask again.
pub(super) const REST: Duration = Duration::from_mins(1);

/// Why the provider is asked about a person who is known.
#[derive(Clone, Copy)]
enum Question {
    /// The profile is missing or in doubt.
    Profile,
    /// The token names another membership than is stored.
    Memberships,
}

impl SignIn {
    /// A known person whose profile is missing or in doubt gets it now, if nobody else asked a moment ago.
    pub(super) async fn with_profile(
        &self,
        cleared: &Clearance,
        known: Arc<KnownUser>,
    ) -> Result<Arc<KnownUser>, SignInError> {
        let now = self.facts.clock.now();
        if !known.user.is_unclear()
            || rests(known.user.asked_at, now)
            || !self.claim(cleared, known.user.id, now, Question::Profile).await?
        {
            return Ok(known);
        }
        Ok(self.ask_provider(cleared, &known, None).await?.unwrap_or(known))
    }

    /// Where the token contradicts what is stored about the organization that it names, the provider is asked, by one request of this
    /// process at a time and once a minute at most; the others wait for its answer. Without an answer, a membership that is stored
    /// counts as far as the token agrees, and one that is not may be believed for a while.
    pub(super) async fn with_memberships(
        &self,
        cleared: &Clearance,
        known: Arc<KnownUser>,
        auth: &SessionAuth,
    ) -> Result<Arc<KnownUser>, SignInError> {
        if contradiction(&known, auth).is_none() {
            return Ok(known);
        }
        let turn = self.turns.take(auth.user_id.clone()).await;
        // Whoever was at work on the person may have settled it.
        let known = self.reader.find(&cleared.look_up, auth.user_id.clone()).await?.ok_or(StoreError::Stale)?;
        let Some(named) = contradiction(&known, auth) else { return Ok(known) };
        let now = self.facts.clock.now();
        let is_ours = !rests(known.user.memberships_asked_at, now)
            && self.claim(cleared, known.user.id, now, Question::Memberships).await?;
        let answer = if is_ours { self.ask_provider(cleared, &known, Some(&named.id)).await? } else { None };
        drop(turn);
        match answer {
            Some(known) => Ok(known),
            None => self.believing(cleared, known, named, auth.issued_at).await,
        }
    }

    /// With a membership that only the token tells of, if it can be believed: see [`crate::Standing`].
    async fn believing(
        &self,
        cleared: &Clearance,
        known: Arc<KnownUser>,
        named: &ActiveOrganization,
        issued_at: Option<Timestamp>,
    ) -> Result<Arc<KnownUser>, SignInError> {
        let Some(role) = self.facts.role_map.provisional(named).filter(|_| known.member_of(&named.id).is_none()) else {
            return Ok(known);
        };
        let (user, now) = (known.user.id, self.facts.clock.now());
        let Some(mut standing) = self.reader.standing(&cleared.look_up, user, named.id.clone()).await? else {
            return Ok(known);
        };
        if standing.trusted_since.is_none() && standing.believes(issued_at, now, self.clock_skew) {
            let mut tx = self.store.begin().await?;
            let outcome = tx.unconfirmed().trust(&cleared.merge, standing.account, user, now).await;
            standing.trusted_since = Some(finish(tx, outcome).await?);
        }
        if !standing.believes(issued_at, now, self.clock_skew) {
            return Ok(known);
        }
        tracing::info!(user.id = %user, account.id = %standing.account, "a membership is not confirmed yet");
        let mut known = Arc::unwrap_or_clone(known);
        known.memberships.push(KnownMembership {
            account: standing.account,
            role: Some(role),
            provider_role: named.role.clone(),
            provider_organization: Some(named.id.clone()),
        });
        Ok(Arc::new(known))
    }

    async fn claim(
        &self,
        cleared: &Clearance,
        user: UserId,
        now: Timestamp,
        question: Question,
    ) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = claim_in(&mut *tx, &cleared.merge, user, now, question).await;
        finish(tx, outcome).await
    }

    /// Reads profile and organizations from the provider, with no transaction open, and merges them. None if the provider does not
    /// answer, or the answer is not stored: then everything is as it was. That `about` is not among the organizations is remembered.
    pub(super) async fn ask_provider(
        &self,
        cleared: &Clearance,
        known: &KnownUser,
        about: Option<&ProviderOrganizationId>,
    ) -> Result<Option<Arc<KnownUser>>, SignInError> {
        let id = &known.user.provider_id;
        let answer = match self.directory.user(id).await {
            Ok(Some(person)) => self.directory.memberships(id).await.map(|memberships| (Some(person), memberships)),
            Ok(None) => {
                tracing::warn!(user.id = %known.user.id, "the identity provider does not know a person whose token it signed");
                Ok((None, Vec::new()))
            }
            Err(error) => Err(error),
        };
        let (person, memberships) = match answer {
            Ok(told) => told,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(user.id = %known.user.id, %error, cause, "the profile was not read and will be asked for again");
                return Ok(None);
            }
        };
        let absent = about.filter(|about| memberships.iter().all(|member| member.organization.id != **about));
        let events: Vec<_> = person
            .into_iter()
            .map(ProviderEvent::User)
            .chain(memberships.into_iter().map(ProviderEvent::Membership))
            .collect();
        if events.is_empty() && absent.is_none() {
            return Ok(None);
        }
        if let Err(error) = self.merge(cleared, events, known.user.id, absent).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(user.id = %known.user.id, %error, cause, "the profile was not stored and will be asked for again");
            return Ok(None);
        }
        Ok(Some(self.reader.find(&cleared.look_up, id.clone()).await?.ok_or(StoreError::Stale)?))
    }

    async fn merge(
        &self,
        cleared: &Clearance,
        events: Vec<ProviderEvent>,
        user: UserId,
        absent: Option<&ProviderOrganizationId>,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.merge_in(&mut *tx, cleared, events, user, absent).await;
        finish(tx, outcome).await
    }

    async fn merge_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        events: Vec<ProviderEvent>,
        user: UserId,
        absent: Option<&ProviderOrganizationId>,
    ) -> Result<(), StoreError> {
        let mut merge = Merge::new(&mut *tx, &cleared.merge, &cleared.caller);
        self.facts.apply(&mut merge, events, Source::Read).await?;
        let Some(organization) = absent else { return Ok(()) };
        match tx.accounts().find_organization(&cleared.merge, organization.clone()).await? {
            Some(found) => tx.unconfirmed().denied(&cleared.merge, found.account, user, self.facts.clock.now()).await,
            None => Ok(()),
        }
    }
}

fn rests(asked_at: Option<Timestamp>, now: Timestamp) -> bool {
    asked_at.is_some_and(|asked| now.since(asked) < REST)
}

/// The organization of which the token tells something else than what is stored. Whoever acts for a person changes nothing here.
fn contradiction<'a>(known: &KnownUser, auth: &'a SessionAuth) -> Option<&'a ActiveOrganization> {
    let named = auth.organization.as_ref().filter(|_| auth.actor.is_none() && known.user.state == UserState::Active)?;
    let is_stored = match (known.member_of(&named.id), &named.role) {
        (Some(member), Some(_)) => member.provider_role == named.role,
        // A token without a role says less than what is stored, and nothing else.
        (Some(_), None) => true,
        (None, _) => false,
    };
    (named.id.is_well_formed() && !is_stored).then_some(named)
}

async fn claim_in(
    tx: &mut dyn AccountsTx,
    cleared: &Merging,
    user: UserId,
    now: Timestamp,
    question: Question,
) -> Result<bool, StoreError> {
    let claimed = match question {
        Question::Profile => tx.users().claim(cleared, user, now, now.minus(REST)).await?,
        Question::Memberships => tx.users().claim_memberships(cleared, user, now, now.minus(REST)).await?,
    };
    if claimed {
        tx.changes().changed(Change::User(user)).await?;
    }
    Ok(claimed)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures_util::future::join_all;
    use portal_audit::Provenance;
    use portal_authz::Role;
    use portal_identity::{
        Actor, ActorKind, DirectoryError, IdentityDirectory, ProviderMembership, ProviderMembershipId,
        ProviderOrganization, ProviderUser, ProviderUserId,
    };
    use portal_testkit::{CountingIds, FixedClock, SteeredFeed};

    use super::*;
    use crate::testing::memory::MemoryStore;
    use crate::testing::{organization, provider_user, session};
    use crate::{EndedSessions, Facts, MockEndedSessionReader, RoleMap, SeenSessions, Turns};

    /// What the provider knows of alice, and how often it was asked; none while it is down.
    #[derive(Default)]
    struct Provider {
        memberships: Mutex<Option<Vec<ProviderMembership>>>,
        asked: Mutex<usize>,
    }

    #[async_trait]
    impl IdentityDirectory for Provider {
        async fn user(&self, _: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError> {
            *self.asked.lock().unwrap() += 1;
            tokio::task::yield_now().await;
            match *self.memberships.lock().unwrap() {
                Some(_) => Ok(Some(provider_user())),
                None => Err(DirectoryError::Unavailable("down".into())),
            }
        }

        async fn memberships(&self, _: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
            Ok(self.memberships.lock().unwrap().clone().unwrap_or_default())
        }
    }

    struct World {
        sign_in: SignIn,
        provider: Arc<Provider>,
        store: MemoryStore,
        clock: Arc<FixedClock>,
    }

    /// Alice's membership of Acme, in its version.
    fn member(user: &str, role: &str, version: u64) -> ProviderMembership {
        let at = Timestamp::from_unix_seconds(1_000).unwrap().plus(Duration::from_secs(version));
        ProviderMembership {
            id: ProviderMembershipId::parse(&format!("orgmem_{user}")).unwrap(),
            organization: ProviderOrganization {
                id: organization(role).id,
                name: "Acme".to_owned(),
                created_by: ProviderUserId::parse("user_boss").ok(),
                updated_at: at,
            },
            user: ProviderUserId::parse(user).unwrap(),
            role: role.to_owned(),
            updated_at: at,
        }
    }

    impl World {
        /// Alice has signed in before, and was told of with this.
        async fn new(told: Vec<ProviderMembership>) -> Self {
            let (store, clock) = (MemoryStore::default(), Arc::new(FixedClock::default()));
            let (ids, provider) = (Arc::new(CountingIds::default()), Arc::new(Provider::default()));
            let mut ended = MockEndedSessionReader::new();
            ended.expect_ended_since().returning(|_, _| Ok(Vec::new()));
            ended.expect_epochs_since().returning(|_, _| Ok(Vec::new()));
            let sign_in = SignIn {
                ended_sessions: Arc::new(EndedSessions::new(Arc::new(ended), SteeredFeed::current(), clock.clone())),
                reader: Arc::new(store.clone()),
                store: Arc::new(store.clone()),
                directory: provider.clone(),
                facts: Arc::new(Facts { role_map: RoleMap::default(), ids, clock: clock.clone() }),
                turns: Turns::default(),
                seen: SeenSessions::new(10),
                health: Arc::default(),
                step_up: true,
                clock_skew: Duration::from_secs(5),
            };
            let world = Self { sign_in, provider, store, clock };
            let events = told.into_iter().map(ProviderEvent::Membership);
            world.tell(std::iter::once(ProviderEvent::User(provider_user())).chain(events).collect()).await;
            world
        }

        async fn tell(&self, events: Vec<ProviderEvent>) {
            let cleared = Clearance::of(&Provenance::default()).unwrap();
            let mut tx = self.sign_in.store.begin().await.unwrap();
            let mut merge = Merge::new(&mut *tx, &cleared.merge, &cleared.caller);
            self.sign_in.facts.apply(&mut merge, events, Source::Told).await.unwrap();
            tx.commit().await.unwrap();
        }

        /// Acme is here, and nobody said that alice is in it.
        async fn acme_without_her() -> Self {
            Self::new(vec![member("user_boss", "org:admin", 1)]).await
        }

        fn answers(&self, memberships: Option<Vec<ProviderMembership>>) {
            *self.provider.memberships.lock().unwrap() = memberships;
        }

        fn asked(&self) -> usize {
            *self.provider.asked.lock().unwrap()
        }

        /// A token of this moment that names her in Acme.
        fn token(&self, role: &str) -> SessionAuth {
            let issued_at = Some(self.sign_in.facts.clock.now());
            SessionAuth { organization: Some(organization(role)), issued_at, ..session() }
        }

        /// Her role in the active account, and whether that is Acme.
        async fn role(&self, token: &SessionAuth) -> Option<Role> {
            let signed_in = self.sign_in.sign_in(token, &Provenance::default()).await.unwrap();
            let (portal_authz::Principal::User(user)
            | portal_authz::Principal::Impersonator(portal_authz::Delegate { user, .. })) = signed_in.principal
            else {
                panic!("a person")
            };
            let account = signed_in.active_account;
            (account != signed_in.known.user.personal_account).then(|| user.roles.of(account).unwrap())
        }
    }

    #[tokio::test]
    async fn a_role_that_is_stored_asks_nobody() {
        let world = World::new(vec![member("user_alice", "org:viewer", 1)]).await;
        assert_eq!(world.role(&world.token("org:viewer")).await, Some(Role::Viewer));
        let silent = SessionAuth { organization: None, ..world.token("org:viewer") };
        assert_eq!(world.role(&silent).await, None);
        assert_eq!(world.asked(), 0);
    }

    #[tokio::test]
    async fn another_role_is_read_again_and_until_then_the_lower_one_counts() {
        let world = World::new(vec![member("user_alice", "org:editor", 1)]).await;
        assert_eq!(world.role(&world.token("org:admin")).await, Some(Role::Editor), "the provider is down");
        assert_eq!(world.role(&world.token("org:viewer")).await, Some(Role::Viewer));
        assert_eq!(world.asked(), 1, "once a minute");
        world.answers(Some(vec![member("user_alice", "org:admin", 2)]));
        world.clock.advance(REST);
        assert_eq!(world.role(&world.token("org:admin")).await, Some(Role::Admin), "at once");
        world.clock.advance(REST);
        assert_eq!(world.role(&world.token("org:admin")).await, Some(Role::Admin));
        assert_eq!(world.asked(), 2, "what is stored asks nobody");
    }

    #[tokio::test]
    async fn a_member_whom_only_the_provider_knows_gets_in_with_the_first_token() {
        for world in [World::new(Vec::new()).await, World::acme_without_her().await] {
            world.answers(Some(vec![member("user_alice", "org:viewer", 1)]));
            assert_eq!(world.role(&world.token("org:viewer")).await, Some(Role::Viewer));
            assert_eq!(world.role(&world.token("org:viewer")).await, Some(Role::Viewer));
            assert_eq!(world.asked(), 1);
            assert!(world.store.rows.lock().await.unconfirmed.is_empty());
        }
    }

    #[tokio::test]
    async fn many_requests_ask_once_and_all_get_the_answer() {
        let world = World::new(Vec::new()).await;
        world.answers(Some(vec![member("user_alice", "org:viewer", 1)]));
        let token = world.token("org:viewer");
        assert_eq!(join_all((0..50).map(|_| world.role(&token))).await, [Some(Role::Viewer); 50]);
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn a_member_whom_nobody_confirms_gets_in_for_a_minute() {
        let world = World::acme_without_her().await;
        for (later, expected) in [(0, Some(Role::Admin)), (59, Some(Role::Admin)), (1, None), (600, None)] {
            world.clock.advance(Duration::from_secs(later));
            assert_eq!(world.role(&world.token("org:admin")).await, expected, "{later} s later");
        }
        assert_eq!(world.asked(), 3);
        world.answers(Some(vec![member("user_alice", "org:editor", 1)]));
        world.clock.advance(REST);
        assert_eq!(world.role(&world.token("org:admin")).await, Some(Role::Editor), "as the provider says");
    }

    #[tokio::test]
    async fn an_unmapped_role_and_an_organization_without_account_let_nobody_in() {
        let world = World::acme_without_her().await;
        assert_eq!(world.role(&world.token("org:unheard_of")).await, None);
        let world = World::new(Vec::new()).await;
        assert_eq!(world.role(&world.token("org:admin")).await, None);
        assert_eq!(world.store.rows.lock().await.accounts.len(), 1, "and make none");
    }

    #[tokio::test]
    async fn whom_the_provider_denies_does_not_get_in_with_that_token() {
        let world = World::acme_without_her().await;
        world.answers(Some(Vec::new()));
        let token = world.token("org:admin");
        assert_eq!(world.role(&token).await, None);
        world.answers(None);
        for later in [1, 30, 60, 60] {
            world.clock.advance(Duration::from_secs(later));
            assert_eq!(world.role(&token).await, None);
        }
        assert_eq!(world.role(&world.token("org:admin")).await, None, "the minute is over for newer ones, too");
    }

    #[tokio::test]
    async fn t28_a_token_from_before_a_removal_is_not_believed_and_a_later_one_is_for_a_minute() {
        for was_known in [true, false] {
            let world = World::acme_without_her().await;
            if was_known {
                world.tell(vec![ProviderEvent::Membership(member("user_alice", "org:editor", 1))]).await;
            }
            let old = world.token("org:editor");
            assert_eq!(world.role(&old).await, Some(Role::Editor));
            world.clock.advance(Duration::from_secs(10));
            let stay = member("user_alice", "org:editor", 1);
            let (id, organization, user) = (stay.id, stay.organization.id, stay.user);
            world.tell(vec![ProviderEvent::MembershipDeleted { id, organization, user }]).await;
            assert_eq!(world.role(&old).await, None);
            for later in [0, 2, 3] {
                world.clock.advance(Duration::from_secs(later));
                assert_eq!(world.role(&world.token("org:editor")).await, None, "our clock may be behind");
            }
            world.clock.advance(Duration::from_secs(1));
            assert_eq!(world.role(&world.token("org:editor")).await, Some(Role::Editor));
            assert_eq!(world.role(&old).await, None);
            world.clock.advance(REST);
            assert_eq!(world.role(&world.token("org:editor")).await, None);
        }
    }

    #[tokio::test]
    async fn whoever_acts_for_a_person_asks_nobody_and_gets_in_nowhere() {
        let world = World::acme_without_her().await;
        world.answers(Some(vec![member("user_alice", "org:viewer", 1)]));
        let actor = Some(Actor { subject: "user_support".to_owned(), kind: ActorKind::Impersonator });
        assert_eq!(world.role(&SessionAuth { actor, ..world.token("org:viewer") }).await, None);
        assert_eq!(world.asked(), 0);
        assert_eq!(world.store.rows.lock().await.unconfirmed.len(), 0);
    }

    #[tokio::test]
    async fn nobody_asks_about_what_is_no_id_of_an_organization() {
        let world = World::acme_without_her().await;
        let id = ProviderOrganizationId::as_written("");
        let named = ActiveOrganization { id, ..organization("org:admin") };
        assert_eq!(world.role(&SessionAuth { organization: Some(named), ..world.token("org:admin") }).await, None);
        assert_eq!(world.asked(), 0);
    }
}
