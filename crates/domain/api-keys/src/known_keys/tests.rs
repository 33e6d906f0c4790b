use mockall::Sequence;
use portal_testkit::{FixedClock, SteeredFeed};

use super::*;
use crate::known::UNKNOWN_FOR;
use crate::testing::{account, key, minted, stored};
use crate::verify::look_up;
use crate::{Code, KeyUse, MockCredentialReader};

struct World {
    feed: Arc<SteeredFeed>,
    clock: Arc<FixedClock>,
    keys: KnownKeys,
}

fn world(store: MockCredentialReader) -> World {
    let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
    let keys = KnownKeys::new(Arc::new(store), feed.clone(), clock.clone(), 10);
    World { feed, clock, keys }
}

/// A store that answers one look-up after the other so.
fn answering(answers: impl IntoIterator<Item = Option<StoredKey>>) -> MockCredentialReader {
    let (mut store, mut order) = (MockCredentialReader::new(), Sequence::new());
    for answer in answers {
        let answer = answer.map(Arc::new);
        store.expect_key().once().in_sequence(&mut order).return_once(move |_, _| Ok(answer));
    }
    store
}

fn revoked() -> StoredKey {
    StoredKey { revoked_at: Some(key().created_at), revision: stored().revision + 1, ..stored() }
}

fn other_key() -> ApiKeyId {
    "key_00000000000000000000000009".parse().unwrap()
}

impl World {
    async fn ask(&self) -> Option<StoredKey> {
        let found = self.keys.key(&look_up().unwrap(), minted().kid).await.unwrap();
        found.map(|key| StoredKey::clone(&key))
    }

    async fn ask_for_all(&self, kids: &[Kid]) -> Vec<Kid> {
        let found = self.keys.keys(&look_up().unwrap(), kids.to_vec()).await.unwrap();
        found.into_iter().map(|(kid, _)| kid).collect()
    }
}

fn kid(number: u32) -> Kid {
    Kid::parse(&format!("{number:012}")).unwrap()
}

#[tokio::test]
async fn a_key_is_read_once_and_so_is_that_there_is_none() {
    for answer in [Some(stored()), None] {
        let world = world(answering([answer.clone()]));
        for _ in 0..3 {
            assert_eq!(world.ask().await, answer);
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_from_memory_while_the_feed_is_behind() {
    for answer in [Some(stored()), None] {
        let world = world(answering([answer.clone(), answer.clone()]));
        assert_eq!(world.ask().await, answer);
        world.feed.set_current(false);
        assert_eq!(world.ask().await, answer);
        world.feed.set_current(true);
        assert_eq!(world.ask().await, answer);
    }
}

#[tokio::test]
async fn a_store_that_fails_while_the_feed_is_behind_fails_the_look_up_and_is_not_remembered() {
    let mut store = answering([Some(stored())]);
    store.expect_key().once().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
    store.expect_keys().once().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
    let world = world(store);
    world.ask().await;
    world.feed.set_current(false);
    let cleared = look_up().unwrap();
    let outcome = world.keys.key(&cleared, minted().kid).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "a key that was known is not let in");
    assert!(matches!(world.keys.keys(&cleared, vec![minted().kid]).await, Err(StoreError::Unavailable(_))));
    world.feed.set_current(true);
    assert_eq!(world.ask().await, Some(stored()), "nor is an outage taken for an answer");
}

#[tokio::test]
async fn a_change_of_the_key_or_of_its_account_is_seen_at_once_and_no_other_costs_anything() {
    let elsewhere = "acc_00000000000000000000000009".parse().unwrap();
    let person = "usr_00000000000000000000000001".parse().unwrap();
    for (change, expected) in [
        (Change::Key(key().id), Some(revoked())),
        (Change::Account(account()), Some(revoked())),
        (Change::Key(other_key()), Some(stored())),
        (Change::Account(elsewhere), Some(stored())),
        (Change::User(person), Some(stored())),
        (Change::Session("sess_1".to_owned()), Some(stored())),
    ] {
        let again = (expected != Some(stored())).then(|| expected.clone());
        let world = world(answering([Some(Some(stored())), again].into_iter().flatten()));
        world.ask().await;
        world.feed.tell(&change);
        assert_eq!(world.ask().await, expected, "{change:?}");
    }
}

#[tokio::test]
async fn a_paused_account_has_no_keys_until_it_goes_on() {
    let world = world(answering([Some(stored()), None, Some(stored())]));
    assert_eq!(world.ask().await, Some(stored()));
    world.feed.tell(&Change::Account(account()));
    assert_eq!(world.ask().await, None);
    assert_eq!(world.ask().await, None);
    world.feed.tell(&Change::Account(account()));
    assert_eq!(world.ask().await, Some(stored()));
}

#[tokio::test]
async fn a_look_up_that_was_under_way_during_the_revocation_puts_nothing_back() {
    let feed = SteeredFeed::current();
    let mut store = MockCredentialReader::new();
    let mut order = Sequence::new();
    let listener = feed.clone();
    store.expect_key().once().in_sequence(&mut order).returning(move |_, _| {
        // The store was read; the answer is on its way when the news of the revocation arrive.
        listener.tell(&Change::Key(key().id));
        Ok(Some(Arc::new(stored())))
    });
    store.expect_key().once().in_sequence(&mut order).returning(|_, _| Ok(Some(Arc::new(revoked()))));
    let keys = KnownKeys::new(Arc::new(store), feed.clone(), Arc::new(FixedClock::default()), 10);
    let world = World { feed, clock: Arc::default(), keys };
    world.ask().await;
    for _ in 0..2 {
        let found = world.ask().await.unwrap();
        assert_eq!(found.judge(key().created_at, &KeyUse::default()).code(), Code::KeyRevoked);
    }
}

#[tokio::test]
async fn a_key_that_was_asked_for_before_it_was_made_is_found_right_after() {
    let world = world(answering([None, Some(stored())]));
    assert_eq!(world.ask().await, None);
    world.feed.tell(&Change::Key(key().id));
    assert_eq!(world.ask().await, Some(stored()));
}

#[tokio::test]
async fn a_look_up_that_was_under_way_while_the_key_was_made_is_not_remembered_as_none() {
    let feed = SteeredFeed::current();
    let mut store = MockCredentialReader::new();
    let mut order = Sequence::new();
    let listener = feed.clone();
    store.expect_key().once().in_sequence(&mut order).returning(move |_, _| {
        listener.tell(&Change::Key(key().id));
        Ok(None)
    });
    store.expect_key().once().in_sequence(&mut order).returning(|_, _| Ok(Some(Arc::new(stored()))));
    let keys = KnownKeys::new(Arc::new(store), feed.clone(), Arc::new(FixedClock::default()), 10);
    let world = World { feed, clock: Arc::default(), keys };
    assert_eq!(world.ask().await, None);
    assert_eq!(world.ask().await, Some(stored()));
}

#[tokio::test]
async fn that_there_is_no_key_is_remembered_for_a_short_time() {
    let world = world(answering([None, None]));
    world.ask().await;
    world.clock.advance(UNKNOWN_FOR / 2);
    assert_eq!(world.ask().await, None);
    world.clock.advance(UNKNOWN_FOR / 2);
    assert_eq!(world.ask().await, None, "asked again");
}

#[tokio::test]
async fn a_flood_of_texts_that_are_no_keys_pushes_no_key_out() {
    let mut store = MockCredentialReader::new();
    let known = minted().kid;
    store.expect_key().withf(move |_, kid| *kid == known).once().returning(|_, _| Ok(Some(Arc::new(stored()))));
    store.expect_key().withf(move |_, kid| *kid != known).returning(|_, _| Ok(None));
    let world = world(store);
    world.ask().await;
    for number in 0..1_000 {
        assert!(world.keys.key(&look_up().unwrap(), kid(number)).await.unwrap().is_none());
    }
    assert_eq!(world.ask().await, Some(stored()));
}

#[tokio::test]
async fn of_many_only_those_that_are_not_known_are_looked_up_and_all_at_once() {
    let mut store = answering([Some(stored())]);
    store.expect_keys().withf(|_, kids| kids == &[kid(1), kid(2)]).once().returning(|_, _| {
        let other = StoredKey { key: other_key(), ..stored() };
        Ok(vec![(kid(2), Arc::new(other))])
    });
    let world = world(store);
    world.ask().await;
    for _ in 0..2 {
        let mut found = world.ask_for_all(&[kid(1), minted().kid, kid(2)]).await;
        found.sort_unstable();
        assert_eq!(found, [kid(2), minted().kid]);
    }
}
