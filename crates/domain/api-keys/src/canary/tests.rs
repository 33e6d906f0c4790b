use std::sync::Mutex;

use portal_testkit::{FixedClock, SteeredFeed};

use super::*;
use crate::testing::account;
use crate::testing::memory::MemoryStore;

fn canary_id() -> ApiKeyId {
    "key_00000000000000000000000000".parse().unwrap()
}

/// A row that the test changes, by the clock of the store.
struct Row {
    clock: Arc<FixedClock>,
    revoked_at: Mutex<Option<Timestamp>>,
    revision: Mutex<i64>,
    is_away: Mutex<bool>,
}

#[async_trait]
impl CanaryReader for Row {
    async fn canary(&self, _: &Authorized<LookUpCredential, Platform>) -> Result<CanaryKey, StoreError> {
        if *self.is_away.lock().unwrap() {
            return Err(StoreError::Unavailable("gone".into()));
        }
        let revoked_at = *self.revoked_at.lock().unwrap();
        let revoked_for = revoked_at.map(|at| self.clock.now().since(at));
        let revision = *self.revision.lock().unwrap();
        Ok(CanaryKey { key: canary_id(), account: account(), revision, revoked_at, revoked_for })
    }
}

struct World {
    row: Arc<Row>,
    feed: Arc<SteeredFeed>,
    /// The server's; the store's is its own.
    clock: Arc<FixedClock>,
    canary: Canary,
    watch: Watch,
}

fn world() -> World {
    let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
    let of_store = Arc::new(FixedClock::default());
    // The clocks of two machines.
    of_store.advance(Duration::from_hours(1));
    let revoked_at = Mutex::new(Some(of_store.now()));
    let row = Row { clock: of_store, revoked_at, revision: Mutex::new(1), is_away: Mutex::new(false) };
    let row = Arc::new(row);
    let every = Duration::from_mins(1);
    let canary = Canary::new(Arc::new(MemoryStore::default()), row.clone(), feed.clone(), clock.clone(), every);
    World { row, feed, clock, canary, watch: Watch::default() }
}

impl World {
    fn change(&self, revoked_at: Option<Timestamp>) {
        *self.row.revoked_at.lock().unwrap() = revoked_at;
        *self.row.revision.lock().unwrap() += 1;
    }

    fn live(&self) {
        self.change(None);
        self.hear();
    }

    fn revoke(&self) {
        self.change(Some(self.row.clock.now()));
    }

    fn hear(&self) {
        self.feed.tell(&Change::Key(canary_id()));
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
        self.row.clock.advance(Duration::from_millis(milliseconds));
    }

    async fn look(&mut self) -> Duration {
        self.canary.look(&mut self.watch).await
    }

    fn measured(&self) -> Vec<Duration> {
        self.canary.delays.summary().map(|summary| summary.last).into_iter().collect()
    }
}

#[tokio::test]
async fn what_is_measured_is_how_long_the_revoked_key_went_on_whatever_the_clocks_say() {
    let mut world = world();
    assert_eq!(world.look().await, WAIT_EVERY, "it is over");
    world.live();
    assert_eq!(world.look().await, LOOK_EVERY);
    world.pass(3_000);
    world.look().await;
    world.revoke();
    for _ in 0..7 {
        world.pass(10);
        assert_eq!(world.look().await, LOOK_EVERY, "the news has not come");
    }
    world.hear();
    world.pass(10);
    assert_eq!(world.look().await, WAIT_EVERY);
    assert_eq!(world.measured(), [Duration::from_millis(80)]);
    world.pass(500);
    world.look().await;
    assert_eq!(world.canary.delays.counts().all, 1, "once for each life");
}

#[tokio::test]
async fn each_life_is_measured() {
    let mut world = world();
    for (number, delay) in [(1, 0), (2, 90), (3, 900)] {
        world.live();
        world.look().await;
        world.revoke();
        world.pass(delay);
        world.hear();
        world.look().await;
        assert_eq!(world.measured(), [Duration::from_millis(delay)]);
        assert_eq!(world.canary.delays.counts().all, number);
    }
}

#[tokio::test]
async fn an_outage_that_comes_before_the_answer_is_waited_for_and_counts_for_nothing() {
    let mut world = world();
    world.live();
    world.look().await;
    world.revoke();
    world.pass(40);
    *world.row.is_away.lock().unwrap() = true;
    world.feed.set_current(false);
    world.look().await;
    for _ in 0..10 {
        world.pass(250);
        world.look().await;
        assert_eq!(world.measured(), Vec::<Duration>::new());
    }
    *world.row.is_away.lock().unwrap() = false;
    world.look().await;
    assert_eq!(world.measured(), [Duration::from_millis(40)], "that is when it stopped to count");
}

#[tokio::test]
async fn an_outage_of_a_living_key_is_no_revocation() {
    let mut world = world();
    world.live();
    world.look().await;
    *world.row.is_away.lock().unwrap() = true;
    world.feed.set_current(false);
    world.look().await;
    *world.row.is_away.lock().unwrap() = false;
    world.look().await;
    world.feed.set_current(true);
    world.look().await;
    assert_eq!((world.measured(), world.watch), (Vec::new(), Watch::Counts));
}

#[tokio::test]
async fn who_did_not_see_the_key_live_measures_nothing() {
    let mut world = world();
    world.look().await;
    world.change(None);
    world.revoke();
    world.hear();
    world.look().await;
    assert_eq!(world.measured(), Vec::<Duration>::new());
}

#[tokio::test]
async fn a_key_that_is_known_is_looked_at_without_the_store() {
    let mut world = world();
    world.live();
    world.look().await;
    *world.row.is_away.lock().unwrap() = true;
    for _ in 0..100 {
        world.look().await;
        assert_eq!(world.watch, Watch::Counts);
    }
}

#[tokio::test]
async fn one_server_lets_it_live_and_both_ends_of_its_life_are_told() {
    let world = world();
    let store = MemoryStore::default();
    let other = Canary::new(
        Arc::new(store.clone()),
        world.row.clone(),
        world.feed.clone(),
        world.clock.clone(),
        Duration::from_mins(1),
    );
    let life = other.begin().await.unwrap().unwrap();
    assert_eq!(other.begin().await.unwrap(), None, "it lives");
    other.end(life).await.unwrap();
    other.end(life).await.unwrap();
    assert_eq!(store.rows.lock().await.changes, [Change::Key(life.key), Change::Key(life.key)]);
}

#[test]
fn life_and_rest_fill_the_time() {
    for (every, life) in [(60_000, 5_000), (10_000, 5_000), (1_000, 500)] {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let row = world().row;
        let every = Duration::from_millis(every);
        let canary = Canary::new(Arc::new(MemoryStore::default()), row, feed, clock, every);
        assert_eq!((canary.life(), canary.life() + canary.rest()), (Duration::from_millis(life), every));
    }
}

#[test]
fn no_text_is_good_for_it() {
    let peppers = crate::testing::peppers();
    for text in ["", "Canary000000", "cort_test_Canary000000"] {
        assert!(!peppers.matches(text, PepperVersion::FIRST, &Digest::NOTHING), "{text}");
    }
}
