use std::collections::BTreeSet;

use portal_audit::Effect;
use portal_authz::{Roles, UserPrincipal};
use portal_identity::{MockSessionControl, ProviderEvent};
use portal_testkit::{CountingIds, FixedClock};
use tokio::sync::Mutex;

use super::*;
use crate::contract::{Ports, cleared, unconfirmed_ends};
use crate::facts::Merge;
use crate::testing::known;
use crate::testing::memory::MemoryStore;
use crate::{MockParkedWebhooks, RoleMap, Sessions, Source};

fn id(number: usize) -> ProviderSessionId {
    ProviderSessionId::parse(&format!("sess_{number:03}")).unwrap()
}

fn down() -> Result<(), DirectoryError> {
    Err(DirectoryError::Unavailable("down".into()))
}

fn too_many(retry_after: Option<Duration>) -> Result<(), DirectoryError> {
    Err(DirectoryError::RateLimited { retry_after })
}

/// A program in memory, and everything that the provider was asked to revoke.
struct World {
    store: MemoryStore,
    clock: Arc<FixedClock>,
    asked: Arc<std::sync::Mutex<Vec<ProviderSessionId>>>,
    sessions: Sessions,
    again: RevokeAgain,
}

impl World {
    /// With a provider that answers so about a session, the given number of which it is asked for.
    fn new(answer: impl Fn(&ProviderSessionId, usize) -> Result<(), DirectoryError> + Send + Sync + 'static) -> Self {
        let (store, clock) = (MemoryStore::default(), Arc::new(FixedClock::default()));
        let asked: Arc<std::sync::Mutex<Vec<_>>> = Arc::default();
        let mut control = MockSessionControl::new();
        let (seen, rows) = (asked.clone(), store.rows.clone());
        control.expect_revoke().returning(move |id| {
            let rows = rows.try_lock().unwrap();
            let attempt = rows.records.iter().rfind(|record| record.subject == Subject::Session(id.to_string()));
            assert_eq!(attempt.unwrap().effect, Effect::Opened, "the attempt was told of before");
            let mut seen = seen.lock().unwrap();
            seen.push(id.clone());
            answer(id, seen.len())
        });
        let (control, health): (Arc<dyn SessionControl>, Arc<RevocationHealth>) = (Arc::new(control), Arc::default());
        let ids = Arc::new(CountingIds::default());
        let facts = Arc::new(Facts { role_map: RoleMap::default(), ids, clock: clock.clone() });
        let sessions = Sessions {
            control: control.clone(),
            store: Arc::new(store.clone()),
            facts: facts.clone(),
            health: health.clone(),
        };
        let reader = Arc::new(store.clone());
        let again = RevokeAgain { control, reader, store: Arc::new(store.clone()), facts, health };
        Self { store, clock, asked, sessions, again }
    }

    async fn sign_out(&self, number: usize) -> Result<(), SessionsError> {
        let principal = Principal::User(UserPrincipal::new(known(true).user.id, Roles::default()));
        let caller = Caller { principal, provenance: Provenance::default() };
        self.sessions.sign_out(&caller, &known(true).user, &id(number)).await
    }

    /// Ends that another process left behind.
    async fn left_behind(&self, numbers: impl IntoIterator<Item = usize>) {
        let mut rows = self.store.rows.lock().await;
        for number in numbers {
            let end = UnconfirmedEnd { session: id(number), account: known(true).user.personal_account, attempts: 0 };
            rows.unconfirmed_ends.insert(end.session.to_string(), (end, self.clock.now()));
        }
    }

    async fn run(&self) -> RevokedAgain {
        self.again.run_if_due().await.unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// What the trail tells of requests to the provider: who made them, and what became of them.
    async fn attempts(&self) -> Vec<(&'static str, &'static str)> {
        let rows = self.store.rows.lock().await;
        let attempts = rows.records.iter().filter(|record| record.action == AuditAction::SessionRevoked);
        attempts.map(|record| (record.actor.kind, record.effect.as_str())).collect()
    }
}

#[tokio::test]
async fn the_provider_is_asked_until_it_confirms_and_never_again() {
    let world = World::new(|_, number| if number < 4 { down() } else { Ok(()) });
    assert!(matches!(world.sign_out(1).await, Err(SessionsError::Provider(_))));
    assert_eq!((world.run().await.confirmed, world.asked()), (0, 1), "whoever signed out just asked");
    for (minutes, asked) in [(1, 2), (1, 2), (1, 3), (3, 3)] {
        world.clock.advance(Duration::from_mins(minutes));
        assert_eq!((world.run().await.confirmed, world.asked()), (0, asked));
        assert_eq!(world.again.health.unconfirmed(), 1);
    }
    world.clock.advance(Duration::from_mins(1));
    assert_eq!((world.run().await.confirmed, world.asked()), (1, 4));
    assert_eq!(world.again.health.unconfirmed(), 0);
    let expected =
        [("user", "opened"), ("system", "opened"), ("system", "opened"), ("system", "opened"), ("system", "succeeded")];
    assert_eq!(world.attempts().await, expected);
    world.clock.advance(Duration::from_hours(24));
    world.again.recall().await.unwrap();
    assert_eq!((world.run().await.confirmed, world.asked()), (0, 4));
}

#[tokio::test]
async fn the_trail_of_the_person_tells_what_the_job_did() {
    let world = World::new(|_, number| if number == 1 { down() } else { Ok(()) });
    world.sign_out(1).await.unwrap_err();
    world.clock.advance(Duration::from_mins(1));
    world.run().await;
    let rows = world.store.rows.lock().await;
    let last = rows.records.last().unwrap();
    assert_eq!((last.actor.kind, last.actor.id.as_str()), ("system", "sessions"));
    assert_eq!(last.account, Some(known(true).user.personal_account));
    assert_eq!(last.subject, Subject::Session(id(1).to_string()));
}

#[tokio::test]
async fn what_the_provider_confirmed_at_once_is_not_asked_for() {
    let world = World::new(|_, _| Ok(()));
    world.sign_out(1).await.unwrap();
    world.clock.advance(Duration::from_hours(24));
    world.again.recall().await.unwrap();
    assert_eq!((world.run().await.confirmed, world.asked()), (0, 1));
}

#[tokio::test]
async fn an_answer_that_asks_to_slow_down_ends_the_round_and_keeps_the_rest_as_long() {
    for (retry_after, minutes) in [(Some(Duration::from_mins(10)), 10), (Some(Duration::MAX), 60), (None, 1)] {
        let world = World::new(move |_, number| if number == 1 { too_many(retry_after) } else { Ok(()) });
        world.left_behind(1..=3).await;
        world.again.recall().await.unwrap();
        let round = world.run().await;
        assert!(matches!(round.failure, Some(DirectoryError::RateLimited { .. })));
        assert_eq!((round.confirmed, world.asked()), (0, 1));
        assert_eq!(world.attempts().await, [("system", "opened"), ("system", "failed")]);
        world.clock.advance(Duration::from_secs(minutes * 60 - 1));
        let other_replica = Arc::new(RevocationHealth::default());
        let other_replica = RevokeAgain { health: other_replica, ..world.again };
        other_replica.recall().await.unwrap();
        assert_eq!(other_replica.run_if_due().await.unwrap().confirmed, 0, "{minutes}");
        world.clock.advance(Duration::from_secs(1));
        assert!(other_replica.run_if_due().await.unwrap().confirmed >= 2, "{minutes}");
    }
}

#[tokio::test]
async fn a_round_is_bounded_and_the_next_one_goes_on() {
    let world = World::new(|_, _| Ok(()));
    world.left_behind(0..=AT_ONCE).await;
    assert_eq!(world.run().await.confirmed, 0, "nobody knows of them yet");
    world.again.recall().await.unwrap();
    assert_eq!(world.again.health.unconfirmed(), 101);
    assert_eq!((world.run().await.confirmed, world.run().await.confirmed), (AT_ONCE, 1));
    let asked: BTreeSet<_> = world.asked.lock().unwrap().iter().cloned().collect();
    assert_eq!(asked.len(), AT_ONCE + 1);
}

#[tokio::test]
async fn one_that_fails_does_not_hold_up_the_others_and_an_outage_ends_the_round() {
    let world = World::new(|id, _| if id.as_str().ends_with('1') { down() } else { Ok(()) });
    world.left_behind(1..=5).await;
    world.again.recall().await.unwrap();
    let round = world.run().await;
    assert_eq!((round.confirmed, round.failure.is_some()), (4, true));

    let world = World::new(|_, _| down());
    world.left_behind(1..=9).await;
    world.again.recall().await.unwrap();
    world.run().await;
    world.run().await;
    assert_eq!(world.asked(), MOST_FAILURES, "it rests");
    world.clock.advance(FIRST_REST);
    world.run().await;
    let asked = world.asked.lock().unwrap().clone();
    assert_eq!(asked, (1..=6).map(id).collect::<Vec<_>>(), "whatever waits longest is first");
}

#[tokio::test]
async fn a_refused_secret_key_ends_the_round() {
    let world = World::new(|_, _| Err(DirectoryError::SecretKeyInvalid));
    world.left_behind(1..=3).await;
    world.again.recall().await.unwrap();
    world.run().await;
    assert_eq!(world.attempts().await, [("system", "opened"), ("system", "failed")]);
}

async fn told_of_the_end(world: &World, number: usize) {
    let mut tx = world.again.store.begin().await.unwrap();
    let caller = Caller { principal: Principal::System(Job::Webhooks), provenance: Provenance::default() };
    let cleared = cleared();
    let mut merge = Merge::new(&mut *tx, &cleared, &caller);
    let events = vec![ProviderEvent::SessionEnded(id(number))];
    world.again.facts.apply(&mut merge, events, Source::Told).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_end_that_the_provider_tells_of_is_not_asked_for() {
    let world = World::new(|_, _| down());
    world.sign_out(1).await.unwrap_err();
    told_of_the_end(&world, 1).await;
    told_of_the_end(&world, 2).await;
    world.sign_out(2).await.unwrap_err();
    world.clock.advance(Duration::from_hours(24));
    world.again.recall().await.unwrap();
    assert_eq!((world.run().await.confirmed, world.asked()), (0, 2), "those who signed out asked");
}

#[test]
fn pauses_double_up_to_an_hour() {
    let minutes = [0, 1, 2, 5, 6, u32::MAX].map(|attempts| rest(attempts).as_secs() / 60);
    assert_eq!(minutes, [1, 2, 4, 32, 60, 60]);
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_promises() {
    let parked = MockParkedWebhooks::new();
    for promise in 0..5 {
        let store = MemoryStore { rows: Arc::new(Mutex::default()) };
        let ports =
            Ports { store: &store, sign_in: &store, accounts: &store, ended: &store, scans: &store, parked: &parked };
        match promise {
            0 => unconfirmed_ends::the_end_that_waits_longest_is_claimed(ports).await,
            1 => unconfirmed_ends::an_unconfirmed_end_is_added_once(ports).await,
            2 => unconfirmed_ends::a_settled_end_is_confirmed(ports).await,
            3 => unconfirmed_ends::an_end_is_claimed_whatever_its_id_is(ports).await,
            _ => unconfirmed_ends::all_ends_are_put_off_at_once(ports).await,
        }
    }
}
