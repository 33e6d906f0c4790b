//! `GET /v1/auth/status`: what it says, and what it does not do.

use e2e::{Portal, PortalBuilder};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_signed_out_people_with_200_and_a_reason() {
    let portal = Portal::start().await;
    let answer = portal.send(portal.request(Method::GET, "/v1/auth/status")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "status": "signed-out", "reason": "dev-browser-missing" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_signed_in_people_with_clerks_ids_and_provisions_nobody() {
    let portal = Portal::start().await;
    let answer = portal.get("/v1/auth/status", &portal.token("alice")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "status": "signed-in", "user": "user_dev_alice", "session": "sess_dev_alice" }));
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let vary: Vec<_> = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect();
    assert!(vary.contains(&"Cookie, Authorization, Origin"), "{vary:?}");
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM users").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_seen_before_costs_no_signature_check_no_query_and_no_call() {
    let portal = Portal::start().await;
    let token = portal.token("alice");
    portal.hearing().await;
    portal.get("/v1/auth/status", &token).await;
    let counters = || {
        let stats = portal.wired.authenticator.stats();
        (stats.signature_checks, stats.jwks_fetches, portal.wired.store.checkouts(), portal.idp.jwks_requests())
    };
    let before = counters();
    assert_eq!(before.0, 1, "the first time is checked");
    for _ in 0..100 {
        assert_eq!(portal.get("/v1/auth/status", &token).await.json()["status"], "signed-in");
    }
    assert_eq!(counters(), before);
    assert_eq!(portal.wired.authenticator.stats().cache_hits, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_session_is_nobody() {
    let portal = Portal::start().await;
    let pending = portal.idp.mint().encode(&portal.token_spec("alice").pending());
    let answer = portal.get("/v1/auth/status", &pending).await;
    assert_eq!(answer.json(), json!({ "status": "signed-out", "reason": "session-pending" }));
    portal.get("/v1/me", &pending).await.assert_problem(401, "session_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_just_started_knows_who_signed_out() {
    let portal = Portal::start().await;
    let token = portal.token("alice");
    portal.post("/v1/auth/sign-out", &token, &json!({})).await;
    let answer = portal.replica().get("/v1/auth/status", &token).await;
    assert_eq!(answer.json(), json!({ "status": "signed-out", "reason": "session-ended" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_know_who_signed_out_says_so_until_it_does() {
    let portal = PortalBuilder::default().set("PORTAL_DATABASE__ACQUIRE_TIMEOUT_MS", "300").start().await;
    let token = portal.token("alice");
    portal.post("/v1/auth/sign-out", &token, &json!({})).await;
    portal.database.refuse_connections(true).await.unwrap();
    let other = portal.replica();
    other.get("/v1/auth/status", &token).await.assert_problem(503, "unavailable");
    portal.database.refuse_connections(false).await.unwrap();
    assert_eq!(other.get("/v1/auth/status", &token).await.json()["status"], "signed-out");
    assert_eq!(other.get("/v1/auth/status", &portal.token("stranger")).await.json()["status"], "signed-in");
}
