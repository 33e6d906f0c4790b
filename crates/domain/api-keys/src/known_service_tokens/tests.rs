use mockall::Sequence;
use portal_kernel::ExposeSecret;
use portal_testkit::{CountingEntropy, FixedClock, SteeredFeed};

use super::*;
use crate::credential::{Minted, SERVICE_PREFIX, mint};
use crate::known::UNKNOWN_FOR;
use crate::testing::{account, key, peppers, service_token};
use crate::{AuthenticateError, MockServiceCredentialReader, ServiceRefusal, ServiceToken, Services};

struct World {
    feed: Arc<SteeredFeed>,
    clock: Arc<FixedClock>,
    services: Services,
}

fn world_on(feed: Arc<SteeredFeed>, store: MockServiceCredentialReader) -> World {
    let clock = Arc::new(FixedClock::default());
    let reader = Arc::new(KnownServiceTokens::new(Arc::new(store), feed.clone(), clock.clone()));
    let (peppers, clock_of) = (Arc::new(peppers()), clock.clone());
    let services = Services { reader, peppers, clock: clock_of, last_used: Arc::default(), legacy: None };
    World { feed, clock, services }
}

/// With a store that answers one look-up after the other so.
fn world(answers: impl IntoIterator<Item = Option<StoredServiceToken>>) -> World {
    let (mut store, mut order) = (MockServiceCredentialReader::new(), Sequence::new());
    for answer in answers {
        let answer = answer.map(Arc::new);
        store.expect_service_token().once().in_sequence(&mut order).return_once(move |_, _| Ok(answer));
    }
    world_on(SteeredFeed::current(), store)
}

fn minted() -> Minted {
    mint(SERVICE_PREFIX, &CountingEntropy::default())
}

fn stored() -> StoredServiceToken {
    let (pepper_version, digest) = peppers().digest(&minted().text);
    StoredServiceToken { token: service_token(), digest, pepper_version, secret_expires_at: None }
}

fn revoked() -> StoredServiceToken {
    let revoked_at = Some(service_token().created_at);
    StoredServiceToken { token: ServiceToken { revoked_at, ..service_token() }, ..stored() }
}

fn gone() -> StoreError {
    StoreError::Unavailable("gone".into())
}

impl World {
    async fn ask_with(&self, text: &str) -> Result<(), AuthenticateError> {
        self.services.authenticate(text, None).await.map(drop)
    }

    /// What becomes of the token; `None` if it counts.
    async fn ask(&self) -> Option<ServiceRefusal> {
        match self.ask_with(minted().text.expose_secret()).await {
            Ok(()) => None,
            Err(AuthenticateError::Invalid(refused)) => Some(refused.why),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_token_is_read_once_and_so_is_that_there_is_none() {
    for (answer, expected) in [(Some(stored()), None), (None, Some(ServiceRefusal::Unknown))] {
        let world = world([answer]);
        for _ in 0..3 {
            assert_eq!(world.ask().await, expected);
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_from_memory_while_the_feed_is_behind() {
    for (answer, expected) in [(Some(stored()), None), (None, Some(ServiceRefusal::Unknown))] {
        let world = world([answer.clone(), answer]);
        assert_eq!(world.ask().await, expected);
        world.feed.set_current(false);
        assert_eq!(world.ask().await, expected);
        world.feed.set_current(true);
        assert_eq!(world.ask().await, expected);
    }
}

#[tokio::test]
async fn a_store_that_fails_while_the_feed_is_behind_says_nothing_about_the_token() {
    let mut store = MockServiceCredentialReader::new();
    let mut order = Sequence::new();
    store.expect_service_token().once().in_sequence(&mut order).returning(|_, _| Ok(Some(Arc::new(stored()))));
    store.expect_service_token().once().in_sequence(&mut order).returning(|_, _| Err(gone()));
    let world = world_on(SteeredFeed::current(), store);
    assert_eq!(world.ask().await, None);
    world.feed.set_current(false);
    let outcome = world.ask_with(minted().text.expose_secret()).await;
    assert!(matches!(outcome, Err(AuthenticateError::Store(StoreError::Unavailable(_)))), "neither good nor bad");
    world.feed.set_current(true);
    assert_eq!(world.ask().await, None, "nor is an outage taken for an answer");
}

#[tokio::test]
async fn a_change_of_the_token_is_seen_at_once_and_no_other_costs_anything() {
    let other = "svc_00000000000000000000000009".parse().unwrap();
    for (change, expected) in [
        (Change::ServiceToken(service_token().id), Some(ServiceRefusal::Revoked)),
        (Change::ServiceToken(other), None),
        (Change::Key(key().id), None),
        (Change::Account(account()), None),
        (Change::Session("sess_1".to_owned()), None),
    ] {
        let again = expected.map(|_| Some(revoked()));
        let world = world([Some(Some(stored())), again].into_iter().flatten());
        assert_eq!(world.ask().await, None);
        world.feed.tell(&change);
        assert_eq!(world.ask().await, expected, "{change:?}");
    }
}

#[tokio::test]
async fn after_missed_changes_every_token_is_read_again() {
    let world = world([Some(stored()), Some(revoked())]);
    assert_eq!(world.ask().await, None);
    world.feed.miss();
    assert_eq!(world.ask().await, Some(ServiceRefusal::Revoked));
}

#[tokio::test]
async fn a_look_up_that_was_under_way_during_the_revocation_puts_nothing_back() {
    let feed = SteeredFeed::current();
    let (mut store, mut order) = (MockServiceCredentialReader::new(), Sequence::new());
    let listener = feed.clone();
    store.expect_service_token().once().in_sequence(&mut order).returning(move |_, _| {
        // The store was read; the answer is on its way when the news of the revocation arrive.
        listener.tell(&Change::ServiceToken(service_token().id));
        Ok(Some(Arc::new(stored())))
    });
    store.expect_service_token().once().in_sequence(&mut order).returning(|_, _| Ok(Some(Arc::new(revoked()))));
    let world = world_on(feed, store);
    world.ask().await;
    for _ in 0..2 {
        assert_eq!(world.ask().await, Some(ServiceRefusal::Revoked));
    }
}

#[tokio::test]
async fn a_token_that_was_asked_for_before_it_was_made_counts_right_after() {
    let world = world([None, Some(stored())]);
    assert_eq!(world.ask().await, Some(ServiceRefusal::Unknown));
    world.feed.tell(&Change::ServiceToken(service_token().id));
    assert_eq!(world.ask().await, None);
}

#[tokio::test]
async fn that_there_is_no_token_is_remembered_for_a_short_time() {
    let world = world([None, None]);
    world.ask().await;
    world.clock.advance(UNKNOWN_FOR / 2);
    world.ask().await;
    world.clock.advance(UNKNOWN_FOR / 2);
    assert_eq!(world.ask().await, Some(ServiceRefusal::Unknown), "asked again");
}

#[tokio::test]
async fn what_ends_by_time_ends_at_its_moment_also_from_memory() {
    let end = Some(FixedClock::default().now().plus(UNKNOWN_FOR));
    let of_secret = StoredServiceToken { secret_expires_at: end, ..stored() };
    let of_token = StoredServiceToken { token: ServiceToken { expires_at: end, ..service_token() }, ..stored() };
    for (ending, why) in [(of_secret, ServiceRefusal::SecretReplaced), (of_token, ServiceRefusal::Expired)] {
        let world = world([Some(ending)]);
        assert_eq!(world.ask().await, None);
        world.clock.advance(UNKNOWN_FOR);
        assert_eq!(world.ask().await, Some(why));
    }
}

#[tokio::test]
async fn another_secret_of_a_known_kid_is_refused_from_memory() {
    let (_, foreign) = peppers().digest(&"another text".into());
    let world = world([Some(StoredServiceToken { digest: foreign, ..stored() })]);
    for _ in 0..3 {
        assert_eq!(world.ask().await, Some(ServiceRefusal::WrongSecret));
    }
}

#[tokio::test]
async fn a_flood_of_texts_that_are_no_tokens_pushes_no_token_out() {
    let mut store = MockServiceCredentialReader::new();
    let known = minted().kid;
    let is_known = move |_: &Authorized<LookUpCredential, Platform>, kid: &Kid| *kid == known;
    store.expect_service_token().withf(is_known).once().returning(|_, _| Ok(Some(Arc::new(stored()))));
    store.expect_service_token().returning(|_, _| Ok(None));
    let world = world_on(SteeredFeed::current(), store);
    assert_eq!(world.ask().await, None);
    let entropy = CountingEntropy::default();
    for _ in 0..1_000 {
        let made_up = mint(SERVICE_PREFIX, &entropy);
        if made_up.kid != known {
            let outcome = world.ask_with(made_up.text.expose_secret()).await;
            assert!(matches!(outcome, Err(AuthenticateError::Invalid(_))));
        }
    }
    assert_eq!(world.ask().await, None);
}
