//! An hour without Clerk, by the clock of the test: who stays signed in, who does not, and how often the source is asked.

use std::sync::Arc;
use std::time::Duration;

use portal_clerk::{AuthenticateRequestOptions, ClerkOptions, Clock, RequestState};
use serde_json::json;
use tokio::task::JoinSet;

use crate::browsing::{Asked, PAGE, production_with_api, verdict};
use crate::minting::{KEY, KID, OTHER, TestKey, claims, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, until};

const SIGNED_IN: (&str, &str) = ("signed-in", "-");
const DOWN: (&str, &str) = ("signed-out", "jwk-remote-failed-to-load");
const HOUR: u64 = 3_600;
/// Calls that one fetch makes at most.
const TRIES: u64 = 3;

/// Verifies with the keys of a server.
fn keys_of(url: &str) -> ClerkOptions {
    let mut options = production_with_api(url);
    options.jwt_key = None;
    options.timeouts.first_pause = Duration::from_millis(1);
    options
}

/// Minted this very second, for a minute.
fn fresh(setup: &Setup, key: &TestKey, kid: &str) -> String {
    let now = setup.clock.now().unix_millis() / 1_000;
    let times = json!({ "iat": now, "nbf": now - 10, "exp": now + 60, "jti": now.to_string() });
    key.token(&header(&json!({ "kid": kid })), &claims(&times))
}

fn bearer(token: &str) -> Asked {
    Asked::page(PAGE).by_script().header("authorization", &format!("Bearer {token}"))
}

fn page(token: &str) -> Asked {
    Asked::page(PAGE).cookies(&format!("__session={token}; __client_uat=5"))
}

/// The same verdict for a program and for a browser.
async fn both(setup: &Setup, token: &str) -> RequestState {
    let program = bearer(token).send_to(setup, &AuthenticateRequestOptions::API).await;
    let browser = page(token).send(setup).await;
    assert_eq!(verdict(&program), verdict(&browser));
    assert_eq!(program.is_outage(), browser.is_outage());
    browser
}

fn assert_verdict(state: &RequestState, expected: (&str, &str), outage: bool, when: u64) {
    let (status, reason) = verdict(state);
    assert_eq!((status, reason.as_str(), state.is_outage()), (expected.0, expected.1, outage), "after {when} s");
}

/// Lets a fetch that nobody waits for come to its end, so that the clock does not move under it.
async fn settled(setup: &Setup, successes: u64) {
    tokio::task::yield_now().await;
    let is_idle = || {
        let stats = setup.clerk.stats();
        stats.jwks_fetches == stats.jwks_failures + successes
    };
    until(is_idle).await;
}

/// Ways in which a source is down, and the seconds between two requests: well within a minute, around it, and beyond.
fn failures() -> Vec<(u64, Reply)> {
    vec![
        (30, Reply::status(500, "")),
        (59, Reply::status(429, "").with("retry-after", "1")),
        (60, Reply::status(200, "<!doctype html><title>Maintenance</title>")),
        (100, Reply::Raw(Vec::new())),
    ]
}

async fn loaded() -> (FakeClerk, Setup) {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(keys_of(server.url()));
    assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, 0);
    assert_eq!(server.hits(), 1);
    (server, setup)
}

#[tokio::test]
async fn known_keys_carry_everybody_through_an_hour_and_nobody_else() {
    for (pause, failure) in failures() {
        let steps = HOUR / pause;
        let (server, setup) = loaded().await;
        server.set(failure);
        for step in 1..=steps {
            setup.advance(pause);
            let when = step * pause;
            let unknown = fresh(&setup, &OTHER, &format!("ins_{step}"));
            let forged = fresh(&setup, &OTHER, KID);
            for _ in 0..2 {
                assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, when);
                assert_verdict(&both(&setup, &unknown).await, DOWN, true, when);
                let state = both(&setup, &forged).await;
                assert_verdict(&state, ("signed-out", "token-invalid-signature"), false, when);
            }
            settled(&setup, 1).await;
            let stats = setup.clerk.stats();
            assert!(stats.jwks_fetches <= 1 + step, "more than one fetch per step: {stats:?}");
        }
        let stats = setup.clerk.stats();
        assert!(server.hits() as u64 <= 1 + TRIES * stats.jwks_failures, "{} {stats:?}", server.hits());
        assert!(stats.jwks_failures >= steps / 2, "it never stops asking: {stats:?}");

        // Back, with a second key: without a restart the new key counts, the forged token still does not.
        server.set(Reply::keys(&[(&KEY, KID), (&OTHER, "ins_new")]));
        setup.advance(60);
        assert_verdict(&both(&setup, &fresh(&setup, &OTHER, "ins_new")).await, SIGNED_IN, false, HOUR + 60);
        assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, HOUR + 60);
        let forged = both(&setup, &fresh(&setup, &OTHER, KID)).await;
        assert_verdict(&forged, ("signed-out", "token-invalid-signature"), false, HOUR + 60);
        settled(&setup, 2).await;
        let (fetches, hits) = (setup.clerk.stats().jwks_fetches, server.hits());
        // An unknown id is unknown again instead of an outage, and the source is left alone.
        setup.advance(60);
        let unknown = both(&setup, &fresh(&setup, &OTHER, "ins_stranger")).await;
        assert_verdict(&unknown, ("signed-out", "jwk-kid-mismatch"), false, HOUR + 120);
        for _ in 0..4 {
            setup.advance(25);
            assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, HOUR + 220);
        }
        settled(&setup, 3).await;
        assert_eq!((setup.clerk.stats().jwks_fetches, server.hits()), (fetches + 1, hits + 1));
    }
}

#[tokio::test]
async fn a_start_during_the_hour_is_an_outage_until_the_server_is_back() {
    for (pause, failure) in failures() {
        let steps = HOUR / pause;
        let server = FakeClerk::start(failure).await;
        let setup = Setup::new(keys_of(server.url()));
        for step in 0..steps {
            let token = fresh(&setup, &KEY, KID);
            for _ in 0..3 {
                assert_verdict(&both(&setup, &token).await, DOWN, true, step * pause);
            }
            let state = both(&setup, &fresh(&setup, &OTHER, "ins_other")).await;
            assert_verdict(&state, DOWN, true, step * pause);
            assert_eq!(setup.clerk.stats().jwks_fetches, step + 1, "one per step");
            setup.advance(pause);
        }
        // Requests without a token are not affected at all.
        let nobody = Asked::page(PAGE).send(&setup).await;
        assert_verdict(&nobody, ("signed-out", "session-token-and-uat-missing"), false, HOUR);
        server.set(Reply::good());
        assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, HOUR);
        let stats = setup.clerk.stats();
        assert_eq!((stats.jwks_fetches, stats.jwks_failures), (steps + 1, steps));
    }
}

#[tokio::test]
async fn a_flood_during_an_outage_reaches_the_source_every_five_seconds_at_most() {
    const SECONDS: u64 = 120;
    let (server, setup) = loaded().await;
    server.set(Reply::status(503, ""));
    setup.advance(300);
    let setup = Arc::new(setup);
    for second in 0..SECONDS {
        let good = fresh(&setup, &KEY, KID);
        let unknown = fresh(&setup, &OTHER, &format!("ins_{second}"));
        let mut asking = JoinSet::new();
        for number in 0..10 {
            let (setup, is_good) = (Arc::clone(&setup), number % 2 == 0);
            let asked = bearer(if is_good { &good } else { &unknown });
            asking.spawn(async move { (is_good, asked.send(&setup).await) });
        }
        for (is_good, state) in asking.join_all().await {
            let (expected, outage) = if is_good { (SIGNED_IN, false) } else { (DOWN, true) };
            assert_verdict(&state, expected, outage, 300 + second);
        }
        settled(&setup, 1).await;
        setup.advance(1);
    }
    let stats = setup.clerk.stats();
    assert_eq!(stats.jwks_failures, SECONDS / 5, "{stats:?}");
    assert_eq!(server.hits() as u64, 1 + TRIES * SECONDS / 5);
}

#[tokio::test]
async fn a_flood_after_a_failed_start_reaches_the_source_every_second_at_most() {
    const SECONDS: u64 = 20;
    let server = FakeClerk::start(Reply::status(503, "")).await;
    let setup = Arc::new(Setup::new(keys_of(server.url())));
    for _ in 0..SECONDS * 4 {
        let token = fresh(&setup, &KEY, KID);
        let mut asking = JoinSet::new();
        for _ in 0..5 {
            let (setup, asked) = (Arc::clone(&setup), bearer(&token));
            asking.spawn(async move { asked.send(&setup).await });
        }
        for state in asking.join_all().await {
            assert_verdict(&state, DOWN, true, 0);
        }
        setup.clock.advance(Duration::from_millis(250));
    }
    let stats = setup.clerk.stats();
    assert_eq!((stats.jwks_fetches, stats.jwks_failures), (SECONDS, SECONDS));
    assert_eq!(server.hits() as u64, TRIES * SECONDS);
}

#[tokio::test]
async fn outages_in_a_row_are_each_survived() {
    let (server, setup) = loaded().await;
    for round in 1..=3 {
        server.set(Reply::status(500, ""));
        for _ in 0..HOUR / 60 {
            setup.advance(60);
            assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, round * HOUR);
            settled(&setup, round).await;
        }
        server.set(Reply::good());
        setup.advance(60);
        assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, round * HOUR);
        settled(&setup, round + 1).await;
    }
    // After the last one the keys are fresh: nothing is fetched for minutes.
    let fetches = setup.clerk.stats().jwks_fetches;
    setup.advance(120);
    assert_verdict(&both(&setup, &fresh(&setup, &KEY, KID)).await, SIGNED_IN, false, 4 * HOUR);
    assert_eq!(setup.clerk.stats().jwks_fetches, fetches);
}
