//! What a failing key source costs: how often it is asked, how long older keys help out, and which refusals are no outage.
//! The faults themselves are the rows of `fault_list`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portal_clerk::TokenVerificationErrorReason as Reason;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::minting::{KEY, KID, NOW, OTHER, claims, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, until, with_keys_of};

const FAILED: Option<Reason> = Some(Reason::RemoteJwkFailedToLoad);
const REFUSED: Option<Reason> = Some(Reason::SecretKeyInvalid);

fn long_lived() -> String {
    session(&json!({ "exp": NOW + 30 * 86_400 }))
}

fn key_invalid(status: u16) -> Reply {
    Reply::json(
        status,
        &json!({ "errors": [{ "code": "clerk_key_invalid", "message": "The provided key is invalid." }] }),
    )
}

/// What a token gets when the first answer of the source is this one, and how often the source is asked for it.
async fn cold(reply: Reply) -> (Option<Reason>, usize) {
    let server = FakeClerk::start(reply).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let refusal = setup.refusal(&session(&json!({}))).await;
    assert_eq!(setup.clerk.stats().jwks_fetches, 1);
    (refusal, server.hits())
}

/// What a token gets when the source begins to answer like this after the keys expired.
async fn expired(reply: Reply) -> Option<Reason> {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(reply);
    setup.advance(301);
    setup.refusal(&long_lived()).await
}

#[tokio::test]
async fn only_what_may_pass_by_itself_is_tried_again() {
    for (reply, hits) in [
        (Reply::status(429, ""), 3),
        (Reply::status(500, ""), 3),
        (Reply::Raw(Vec::new()), 3),
        (Reply::status(200, "<html>"), 1),
        (Reply::json(200, &json!({ "keys": [] })), 1),
        (Reply::status(401, ""), 1),
        (Reply::status(404, ""), 1),
        (key_invalid(401), 1),
    ] {
        assert_eq!(cold(reply).await.1, hits);
    }
    let server = FakeClerk::start(Reply::status(503, "")).await;
    let gate = Arc::new(Semaphore::new(0));
    let setup = Setup::new(with_keys_of(server.url()));
    server.set(Reply::Gated(Arc::clone(&gate), Box::new(Reply::status(503, ""))));
    let clerk = Arc::clone(&setup.clerk);
    let asking =
        tokio::spawn(async move { clerk.verify_token(&session(&json!({}))).await.err().map(|error| error.reason()) });
    until(|| server.hits() == 1).await;
    server.set(Reply::good());
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap(), None, "the second try succeeds");
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_refused_secret_key_has_its_own_reason_whatever_is_cached() {
    for status in [401, 403, 422] {
        assert_eq!(cold(key_invalid(status)).await.0, REFUSED, "{status}");
        assert_eq!(expired(key_invalid(status)).await, REFUSED, "{status}");
    }
}

#[tokio::test]
async fn other_refusals_of_the_source_are_no_outage() {
    for status in [400, 401, 403, 404] {
        let reply = Reply::json(status, &json!({ "errors": [{ "code": "other" }] }));
        assert_eq!(cold(reply.clone()).await.0, FAILED, "{status}");
        assert_eq!(expired(reply).await, FAILED, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let target = FakeClerk::start(Reply::good()).await;
    for status in [301, 302, 307, 308] {
        let reply = Reply::status(status, "").with("location", &format!("{}/v1/jwks", target.url()));
        assert_eq!(cold(reply.clone()).await, (FAILED, 1), "{status}");
        assert_eq!(expired(reply).await, None, "{status}");
    }
    assert_eq!(target.hits(), 0);
}

#[tokio::test]
async fn stale_keys_serve_for_a_day_and_not_longer_however_often_they_are_used() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(Reply::status(500, ""));
    for hour in 1..24 {
        setup.advance(3_600);
        assert_eq!(setup.refusal(&long_lived()).await, None, "hour {hour}");
    }
    setup.advance(3_599);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    setup.advance(1);
    assert_eq!(setup.refusal(&long_lived()).await, FAILED);
    server.set(Reply::good());
    setup.advance(5);
    assert_eq!(setup.refusal(&long_lived()).await, None);
}

#[tokio::test]
async fn a_remembered_verdict_ends_with_the_day_of_its_key() {
    let server = FakeClerk::start(Reply::good()).await;
    let mut options = with_keys_of(server.url());
    options.token_cache_entries = 100;
    let setup = Setup::new(options);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(Reply::status(500, ""));
    setup.advance(86_399);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(setup.clerk.stats().cache_hits, 1);
    setup.advance(1);
    assert_eq!(setup.refusal(&long_lived()).await, FAILED);
}

#[tokio::test]
async fn after_a_silence_an_outage_is_not_taken_for_granted() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(Reply::status(500, ""));
    setup.advance(301);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    // Nobody asked for a minute: the next request waits for the source instead of using keys that may be gone.
    server.set(Reply::keys(&[(&OTHER, "ins_new")]));
    setup.advance(60);
    assert_eq!(setup.refusal(&long_lived()).await, Some(Reason::JwkKidMismatch));
}

#[tokio::test]
async fn nobody_waits_for_a_source_that_is_known_to_be_down() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(Reply::status(500, ""));
    setup.advance(301);
    assert_eq!(setup.refusal(&long_lived()).await, None);
    assert_eq!(setup.clerk.stats().jwks_failures, 1);
    for seconds in [0, 4] {
        setup.advance(seconds);
        for _ in 0..100 {
            assert_eq!(setup.refusal(&long_lived()).await, None);
            tokio::task::yield_now().await;
        }
        assert_eq!(setup.clerk.stats().jwks_fetches, 2, "for five seconds the source is left alone");
    }

    // Then it is asked again, beside the requests: they are answered although it is silent.
    let gate = Arc::new(Semaphore::new(0));
    server.set(Reply::Gated(Arc::clone(&gate), Box::new(Reply::good())));
    let hits = server.hits();
    setup.advance(1);
    for _ in 0..100 {
        assert_eq!(setup.refusal(&long_lived()).await, None);
    }
    until(|| server.hits() == hits + 1).await;
    assert_eq!(setup.clerk.stats().jwks_fetches, 3);
    gate.add_permits(1);
    assert_eq!(setup.refusal(&long_lived()).await, None);
}

#[tokio::test]
async fn an_unknown_key_id_cannot_be_judged_while_the_source_is_down() {
    let unknown = |kid: &str| KEY.token(&header(&json!({ "kid": kid })), &claims(&json!({ "exp": NOW + 86_400 })));
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&session(&json!({}))).await, None);
    server.set(Reply::status(429, ""));
    assert_eq!(setup.refusal(&unknown("ins_1")).await, FAILED);
    for _ in 0..10 {
        assert_eq!(setup.refusal(&unknown("ins_1")).await, FAILED);
        assert_eq!(setup.refusal(&unknown("ins_2")).await, FAILED);
    }
    setup.advance(30);
    assert_eq!(setup.refusal(&unknown("ins_2")).await, FAILED);
    assert_eq!(setup.clerk.stats().jwks_fetches, 2);
    // Known ids are not affected.
    assert_eq!(setup.refusal(&session(&json!({}))).await, None);
    server.set(Reply::good());
    setup.advance(30);
    for kid in ["ins_2", "ins_3"] {
        assert_eq!(setup.refusal(&unknown(kid)).await, Some(Reason::JwkKidMismatch), "{kid}");
    }
}

#[tokio::test]
async fn a_failed_start_is_tried_again_after_a_second() {
    let server = FakeClerk::start(Reply::status(500, "")).await;
    let setup = Setup::new(with_keys_of(server.url()));
    for _ in 0..10 {
        assert_eq!(setup.refusal(&session(&json!({}))).await, FAILED);
    }
    assert_eq!(setup.clerk.stats().jwks_fetches, 1);
    server.set(Reply::good());
    setup.advance(1);
    assert_eq!(setup.refusal(&session(&json!({}))).await, None);
}

#[tokio::test]
async fn a_refused_secret_key_stays_refused_between_the_fetches() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.refusal(&long_lived()).await, None);
    server.set(key_invalid(401));
    setup.advance(301);
    for _ in 0..10 {
        assert_eq!(setup.refusal(&long_lived()).await, REFUSED);
    }
    assert_eq!(setup.clerk.stats().jwks_fetches, 2);
    server.set(Reply::good());
    setup.advance(5);
    assert_eq!(setup.refusal(&long_lived()).await, None);
}

#[tokio::test]
async fn no_message_tells_the_secret_or_the_known_keys() {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let unknown = KEY.token(&header(&json!({ "kid": "ins_stranger" })), &claims(&json!({})));
    let mismatch = setup.clerk.verify_token(&unknown).await.unwrap_err();
    assert!(!format!("{mismatch:?}").contains(KID));
    assert!(mismatch.to_string().contains("ins_stranger"));
    server.set(key_invalid(401));
    setup.advance(301);
    let refused = setup.clerk.verify_token(&unknown).await.unwrap_err();
    assert!(!format!("{refused:?} {:?}", setup.clerk).contains("s3cret"));
}

#[tokio::test]
async fn the_pauses_between_the_tries_double() {
    let server = FakeClerk::start(Reply::status(500, "")).await;
    let mut options = with_keys_of(server.url());
    options.timeouts.first_pause = Duration::from_millis(100);
    let (setup, start) = (Setup::new(options), Instant::now());
    assert_eq!(setup.refusal(&long_lived()).await, FAILED);
    assert_eq!(server.hits(), 3);
    // 100 ms and 200 ms; how much longer it takes is up to the machine.
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}
