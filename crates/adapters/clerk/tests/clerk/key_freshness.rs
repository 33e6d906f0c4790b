//! How often keys are fetched, and which changes of them are noticed.

use std::sync::Arc;
use std::time::Duration;

use portal_clerk::{Clock, StrictChoices, TokenVerificationErrorReason as Reason};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::minting::{KEY, KID, NOW, OTHER, TestKey, claims, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, until, with_keys_of};

const MISMATCH: Option<Reason> = Some(Reason::JwkKidMismatch);
const FORGED: Option<Reason> = Some(Reason::TokenInvalidSignature);

fn long_lived() -> String {
    session(&json!({ "exp": NOW + 86_400 }))
}

fn by_other(kid: &str) -> String {
    OTHER.token(&header(&json!({ "kid": kid })), &claims(&json!({ "exp": NOW + 86_400 })))
}

async fn loaded() -> (FakeClerk, Setup) {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    (server, setup)
}

#[tokio::test]
async fn the_request_for_keys_is_clerks() {
    let (server, _setup) = loaded().await;
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /v1/jwks HTTP/1.1\n"), "{request}");
    assert!(request.contains("authorization: Bearer sk_test_s3cret\n"));
    assert!(request.contains("clerk-api-version: 2026-05-12\n"));
}

#[tokio::test]
async fn a_set_is_used_for_five_minutes_and_renewed_beside_requests_before() {
    let (server, setup) = loaded().await;
    setup.advance(239);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(server.hits(), 1);
    // In its last minute a set is renewed without anybody waiting.
    let gate = Arc::new(Semaphore::new(0));
    server.set(Reply::Gated(Arc::clone(&gate), Box::new(Reply::good())));
    setup.advance(1);
    for _ in 0..10 {
        assert_eq!(setup.refusal(&long_lived()).await, None);
    }
    until(|| server.hits() == 2).await;
    gate.add_permits(1);
    // Without requests in that minute the next one waits for it.
    setup.advance(60);
    server.set(Reply::keys(&[(&OTHER, "ins_new")]));
    assert_eq!(setup.refusal(&long_lived()).await, None, "renewed a minute ago");
    setup.advance(300);
    assert_eq!(setup.refusal(&long_lived()).await, MISMATCH);
    assert_eq!(setup.refusal(&by_other("ins_new")).await, None);
    assert_eq!(server.hits(), 3);
}

#[tokio::test]
async fn a_thousand_verifications_at_once_cause_one_fetch() {
    let gate = Arc::new(Semaphore::new(0));
    let server = FakeClerk::start(Reply::Gated(Arc::clone(&gate), Box::new(Reply::good()))).await;
    let mut options = with_keys_of(server.url());
    options.token_cache_entries = 2_000;
    let setup = Setup::new(options);
    let mut tasks = JoinSet::new();
    let token = long_lived();
    for _ in 0..1_000 {
        let (clerk, token) = (Arc::clone(&setup.clerk), token.clone());
        tasks.spawn(async move { clerk.verify_token(&token).await.is_ok() });
    }
    until(|| setup.clerk.stats().cache_misses == 1_000 && server.hits() == 1).await;
    gate.add_permits(1_000);
    assert!(tasks.join_all().await.into_iter().all(|good| good));
    assert_eq!((server.hits(), setup.clerk.stats().jwks_fetches), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_failing_verifications_on_many_threads_cause_one_fetch() {
    let server = FakeClerk::start(Reply::status(401, "")).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let mut tasks = JoinSet::new();
    let token = long_lived();
    for _ in 0..1_000 {
        let (clerk, token) = (Arc::clone(&setup.clerk), token.clone());
        tasks.spawn(async move { clerk.verify_token(&token).await.err().map(|error| error.reason()) });
    }
    assert!(tasks.join_all().await.into_iter().all(|refusal| refusal == Some(Reason::RemoteJwkFailedToLoad)));
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_at_once() {
    let (server, setup) = loaded().await;
    server.set(Reply::keys(&[(&KEY, KID), (&OTHER, "ins_new")]));
    assert_eq!(setup.refusal(&by_other("ins_new")).await, None);
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_set_of_a_hundred_keys_is_read_whole() {
    let ids: Vec<_> = (0..100).map(|number| format!("ins_{number}")).collect();
    let keys: Vec<_> = ids.iter().map(|id| (&*KEY, id.as_str())).chain([(&*OTHER, "ins_new")]).collect();
    let server = FakeClerk::start(Reply::keys(&keys)).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&by_other("ins_new")).await, None);
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn an_id_that_the_newest_set_lacks_is_not_looked_for_again() {
    let (server, setup) = loaded().await;
    setup.advance(301);
    assert_eq!(setup.refusal(&by_other("ins_new")).await, MISMATCH);
    assert_eq!(server.hits(), 2, "the set was fetched for this very request");
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_causes_one_fetch_per_minute() {
    let (server, setup) = loaded().await;
    let mut tasks = JoinSet::new();
    for number in 0..1_000 {
        let (clerk, token) = (Arc::clone(&setup.clerk), by_other(&format!("ins_{number}")));
        tasks.spawn(async move { clerk.verify_token(&token).await.err().map(|error| error.reason()) });
    }
    assert!(tasks.join_all().await.into_iter().all(|refusal| refusal == MISMATCH));
    assert_eq!(server.hits(), 2);
    setup.advance(59);
    assert_eq!(setup.refusal(&by_other("ins_again")).await, MISMATCH);
    assert_eq!(server.hits(), 2);
    setup.advance(1);
    for number in 0..10 {
        assert_eq!(setup.refusal(&by_other(&format!("ins_later_{number}"))).await, MISMATCH);
    }
    assert_eq!(server.hits(), 3);
    assert_eq!(setup.refusal(&long_lived()).await, None, "good tokens are not affected");
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_at_the_start_causes_one_fetch() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let mut tasks = JoinSet::new();
    for number in 0..1_000 {
        let (clerk, token) = (Arc::clone(&setup.clerk), by_other(&format!("ins_{number}")));
        tasks.spawn(async move { clerk.verify_token(&token).await.err().map(|error| error.reason()) });
    }
    assert!(tasks.join_all().await.into_iter().all(|refusal| refusal == MISMATCH));
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn an_id_that_was_unknown_is_not_asked_for_again_soon() {
    let (server, setup) = loaded().await;
    assert_eq!(setup.refusal(&by_other("ins_gone")).await, MISMATCH);
    assert_eq!(server.hits(), 2);
    for _ in 0..3 {
        setup.advance(60);
        assert_eq!(setup.refusal(&by_other("ins_gone")).await, MISMATCH);
    }
    assert_eq!(server.hits(), 2);
    // After five minutes the set is renewed anyway, and the id may have come to exist since then.
    setup.advance(121);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(server.hits(), 3);
    assert_eq!(setup.refusal(&by_other("ins_gone")).await, MISMATCH);
    assert_eq!(server.hits(), 4);
}

#[tokio::test]
async fn a_token_without_a_usable_key_id_causes_no_fetch_of_its_own() {
    let (server, setup) = loaded().await;
    for kid in [json!(null), json!(1), json!("x".repeat(300))] {
        let token = KEY.token(&header(&json!({ "kid": kid })), &claims(&json!({})));
        assert_eq!(setup.refusal(&token).await, MISMATCH, "{kid}");
    }
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn a_key_replaced_under_the_same_id_is_noticed_by_its_first_signature() {
    let (server, setup) = loaded().await;
    server.set(Reply::keys(&[(&OTHER, KID)]));
    // A set of this minute is believed.
    setup.advance(59);
    assert_eq!(setup.refusal(&by_other(KID)).await, FORGED);
    assert_eq!(server.hits(), 1);
    setup.advance(1);
    assert_eq!(setup.refusal(&by_other(KID)).await, None);
    assert_eq!(setup.refusal(&long_lived()).await, FORGED, "the old key is over");
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_signature_of_neither_key_is_refused_while_the_key_is_replaced() {
    let (server, setup) = loaded().await;
    server.set(Reply::keys(&[(&OTHER, KID)]));
    setup.advance(60);
    let stranger = TestKey::generate();
    let token = stranger.token(&header(&json!({ "kid": KID })), &claims(&json!({ "exp": NOW + 86_400 })));
    assert_eq!(setup.refusal(&token).await, FORGED, "it made the new key be fetched, and that does not fit either");
    assert_eq!(server.hits(), 2);
    assert_eq!(setup.refusal(&by_other(KID)).await, None);
}

#[tokio::test]
async fn forged_signatures_evict_nothing_and_cause_one_fetch_per_minute() {
    let (server, setup) = loaded().await;
    setup.advance(60);
    for _ in 0..100 {
        assert_eq!(setup.refusal(&by_other(KID)).await, FORGED);
        assert_eq!(setup.refusal(&long_lived()).await, None);
    }
    assert_eq!(server.hits(), 2);
    // A source that fails meanwhile changes nothing either.
    server.set(Reply::status(401, ""));
    setup.advance(60);
    for _ in 0..100 {
        assert_eq!(setup.refusal(&by_other(KID)).await, FORGED);
        assert_eq!(setup.refusal(&long_lived()).await, None);
    }
    assert_eq!(server.hits(), 3);
    setup.advance(30);
    assert_eq!(setup.refusal(&by_other(KID)).await, FORGED);
    assert_eq!(server.hits(), 3, "a failed fetch counts for the minute, too");
}

#[tokio::test]
async fn in_exact_a_signature_that_does_not_fit_causes_no_fetch() {
    let server = FakeClerk::start(Reply::good()).await;
    let mut options = with_keys_of(server.url());
    options.choices = StrictChoices::exact();
    let setup = Setup::new(options);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(Reply::keys(&[(&OTHER, KID)]));
    setup.advance(120);
    assert_eq!(setup.refusal(&by_other(KID)).await, FORGED);
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_fetch() {
    let gate = Arc::new(Semaphore::new(0));
    let server = FakeClerk::start(Reply::Gated(Arc::clone(&gate), Box::new(Reply::good()))).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let clerk = Arc::clone(&setup.clerk);
    let caller = tokio::spawn(async move { clerk.verify_token(&long_lived()).await.is_ok() });
    until(|| server.hits() == 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(server.hits(), 1);
}

#[test]
fn it_works_from_other_runtimes_than_the_one_it_was_made_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = main.block_on(FakeClerk::start(Reply::good()));
    let made_inside = main.block_on(async { Setup::new(with_keys_of(server.url())) });
    let made_outside = Setup::new(with_keys_of(server.url()));
    for setup in [&made_inside, &made_outside] {
        // The runtime that asked first is gone when the second asks.
        assert_eq!(runtime().block_on(setup.refusal(&long_lived())), None);
        setup.advance(301);
        assert_eq!(runtime().block_on(setup.refusal(&long_lived())), None);
    }
    assert_eq!(server.hits(), 4);
}

#[tokio::test]
async fn two_authenticators_share_nothing() {
    let (first, second) =
        (FakeClerk::start(Reply::good()).await, FakeClerk::start(Reply::keys(&[(&OTHER, KID)])).await);
    let with = |url: &str| {
        let mut options = with_keys_of(url);
        options.token_cache_entries = 100;
        Setup::new(options)
    };
    let (one, two) = (with(first.url()), with(second.url()));
    for _ in 0..2 {
        assert_eq!((one.refusal(&long_lived()).await, two.refusal(&long_lived()).await), (None, FORGED));
        assert_eq!((one.refusal(&by_other(KID)).await, two.refusal(&by_other(KID)).await), (FORGED, None));
    }
    assert_eq!((first.hits(), second.hits()), (1, 1));
    // Failures and throttles are not shared either.
    assert_eq!((one.refusal(&by_other("ins_x")).await, two.refusal(&by_other("ins_x")).await), (MISMATCH, MISMATCH));
    assert_eq!((first.hits(), second.hits()), (2, 2));
}

#[tokio::test]
async fn a_clock_that_goes_back_keeps_nothing_fresh_forever() {
    let (server, setup) = loaded().await;
    setup.clock.set(setup.clock.now().minus(Duration::from_hours(24)));
    server.set(Reply::keys(&[(&KEY, "ins_other")]));
    let token = session(&json!({ "iat": null, "nbf": null }));
    assert_eq!(setup.refusal(&token).await, MISMATCH, "a set from the future is fetched again");
    assert_eq!(server.hits(), 2);
    assert_eq!(setup.refusal(&token).await, MISMATCH);
    assert_eq!(server.hits(), 2);
}
