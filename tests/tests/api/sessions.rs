//! Sessions, as their people see and end them.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder, soon, within};
use portal_dev_idp::SessionStatus;
use portal_testkit::FixedClock;
use serde_json::json;

/// A session of alice on another device, and a token of it.
fn another(portal: &Portal) -> (String, String) {
    let id = portal.idp.add_session(&portal.person("alice").user_id).unwrap().id;
    let spec = portal.token_spec("alice").claim("sid", id.as_str());
    (id, portal.idp.mint().encode(&spec))
}

async fn ids(portal: &Portal, token: &str) -> Vec<String> {
    let listed = portal.get("/v1/me/sessions", token).await.json();
    listed["data"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

/// The answer of another server once it heard of an end, which it must within a second.
async fn soon_over(answer: impl AsyncFn() -> Answer) {
    soon("an end is heard of", async || answer().await.status == 401).await;
    answer().await.assert_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_their_sessions_and_ends_one() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let (first, first_token) = another(&portal);
    let second = portal.idp.sign_in("alice").unwrap().session_id;
    let token = portal.token("alice");
    let listed = portal.get("/v1/me/sessions", &token).await.json();
    let of = |id: &str| listed["data"].as_array().unwrap().iter().find(|session| session["id"] == id).unwrap().clone();
    assert_eq!((&of(&second)["current"], &of(&first)["current"]), (&json!(true), &json!(false)));
    assert!(of(&first)["last_active_at"].is_string() && of(&first)["browser"].is_string(), "{listed}");
    assert_eq!(other.get("/v1/me", &first_token).await.status, 200);

    let path = format!("/v1/me/sessions/{first}/revoke");
    for _ in 0..2 {
        assert_eq!(portal.post(&path, &token, &json!({})).await.status, 200);
    }
    portal.get("/v1/me", &first_token).await.assert_problem(401, "session_ended");
    soon_over(async || other.get("/v1/me", &first_token).await).await;
    assert_eq!(ids(&portal, &token).await, [second], "it ended at the provider too");
    assert_eq!(other.get("/v1/me", &token).await.status, 200, "the other one goes on");

    let of_stranger = portal.person("stranger").session_id;
    let foreign = portal.post(&format!("/v1/me/sessions/{of_stranger}/revoke"), &token, &json!({})).await;
    let absent = portal.post("/v1/me/sessions/sess_nobodys/revoke", &token, &json!({})).await;
    foreign.assert_problem(404, "not_found");
    assert_eq!(foreign.without_request_id(), absent.without_request_id());
    assert_eq!(portal.get("/v1/me", &portal.token("stranger")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_this_session_or_all() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let tokens: Vec<_> = (0..3).map(|_| another(&portal).1).collect();
    let out = portal.post("/v1/auth/sign-out", &tokens[0], &json!({})).await;
    assert_eq!(out.json(), json!({ "ended": 1 }));
    assert_eq!(portal.get("/v1/auth/status", &tokens[0]).await.text_at("/reason"), "session-ended");
    assert_eq!(portal.get("/v1/me", &tokens[1]).await.status, 200);

    let out = portal.post("/v1/auth/sign-out?everywhere=true", &tokens[1], &json!({})).await;
    assert_eq!(out.json(), json!({ "ended": 2 }));
    for token in &tokens {
        portal.get("/v1/me", token).await.assert_problem(401, "session_ended");
        soon_over(async || other.get("/v1/me", token).await).await;
    }
    portal.idp.sign_in("alice").unwrap();
    assert_eq!(portal.get("/v1/me", &portal.token("alice")).await.status, 200, "a new session counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_signing_out_counts_here_and_is_503() {
    let portal = Portal::start().await;
    let token = portal.token("alice");
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    portal.idp.set_outage(true);
    portal.post("/v1/auth/sign-out", &token, &json!({})).await.assert_problem(503, "identity_unavailable");
    portal.get("/v1/me", &token).await.assert_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_provider_never_heard_of_is_remembered_while_it_makes_tokens() {
    let clock = Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    let token = portal.token("alice");
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    portal.idp.set_outage(true);
    portal.post("/v1/auth/sign-out", &token, &json!({})).await.assert_problem(503, "identity_unavailable");
    portal.idp.set_outage(false);
    // The key set has no limit.
    portal.idp.set_rate_limit(Some(0));
    for _ in 0..3 {
        clock.advance(Duration::from_hours(47));
        let later = portal.get("/v1/me", &portal.token("alice")).await;
        later.assert_problem(401, "session_ended");
        portal.replica().get("/v1/me", &portal.token("alice")).await.assert_problem(401, "session_ended");
    }
}

fn unconfirmed(portal: &Portal) -> String {
    let metrics = portal.wired.api.metrics.render();
    let line = metrics.lines().find_map(|line| line.strip_prefix("portal_unconfirmed_session_ends "));
    line.unwrap_or_else(|| panic!("{metrics}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_while_the_provider_was_down_soon_ends_there_without_anybody_asking() {
    let clock = Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    let (alice, account) = (portal.person("alice"), portal.personal_account("alice").await);
    let status = || {
        let sessions = portal.idp.sessions(&alice.user_id);
        sessions.iter().find(|session| session.id == alice.session_id).unwrap().status
    };
    portal.idp.set_outage(true);
    portal
        .post("/v1/auth/sign-out", &portal.token("alice"), &json!({}))
        .await
        .assert_problem(503, "identity_unavailable");
    portal.idp.set_outage(false);
    assert_eq!(status(), SessionStatus::Active, "the provider never heard of it");
    clock.advance(Duration::from_mins(1));
    let asked_again = async || status() == SessionStatus::Revoked && unconfirmed(&portal) == "0";
    within(Duration::from_secs(30), "the provider is asked again", asked_again).await;

    portal.idp.sign_in("alice").unwrap();
    let trail = portal.get(&format!("/v1/accounts/{account}/audit-events"), &portal.token("alice")).await.json();
    let attempts = trail["data"].as_array().unwrap().iter().filter(|event| event["action"] == "session.revoked");
    let told: Vec<_> = attempts.map(|event| (&event["actor"]["kind"], &event["subject"], &event["outcome"])).collect();
    let session = json!(alice.session_id);
    let expected = [("system", "succeeded"), ("user", "pending")].map(|(kind, outcome)| (json!(kind), json!(outcome)));
    assert_eq!(
        told,
        [(&expected[0].0, &session, &expected[0].1), (&expected[1].0, &session, &expected[1].1)],
        "{trail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_in_the_trail_with_what_became_of_it_at_the_provider() {
    let portal = Portal::start().await;
    let account = portal.personal_account("alice").await;
    let ended = portal.person("alice").session_id;
    portal.post("/v1/auth/sign-out", &portal.token("alice"), &json!({})).await;
    portal.idp.sign_in("alice").unwrap();
    let trail = portal.get(&format!("/v1/accounts/{account}/audit-events"), &portal.token("alice")).await.json();
    for (action, outcome) in [("session.ended", "done"), ("session.revoked", "succeeded")] {
        let event = trail["data"].as_array().unwrap().iter().find(|event| event["action"] == action).unwrap();
        assert_eq!((&event["subject"], &event["outcome"]), (&json!(ended), &json!(outcome)), "{trail}");
        assert_eq!(event["actor"]["kind"], "user");
    }
}
