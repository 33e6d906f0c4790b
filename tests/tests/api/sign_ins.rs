//! What the trail tells of sign-ins, and that nobody can flood it.

use e2e::{Portal, PortalBuilder};
use portal_dev_idp::SigningAlgorithm;
use reqwest::Method;

/// Reasons and networks of the failures that were told.
async fn failures(portal: &Portal) -> Vec<String> {
    let told = "SELECT reason || ' from ' || address_prefix AS text FROM platform_audit_events \
         WHERE action = 'sign_in.failed' AND actor_id = 'sign-in' AND subject = 'platform' AND request_id IS NOT NULL ORDER BY seq";
    portal.database.texts(told).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sign_in_of_each_session_is_in_the_trail_of_its_person() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let second = portal.idp.add_session(&portal.person("stranger").user_id).unwrap().id;
    let first = portal.token("stranger");
    let second_token = portal.idp.mint().encode(&portal.token_spec("stranger").claim("sid", second.as_str()));
    let account = portal.personal_account("stranger").await;
    for token in [&first, &second_token, &first] {
        portal.get("/v1/me", token).await;
        other.get("/v1/me", token).await;
    }
    let path = format!("/v1/accounts/{account}/audit-events?action=sign_in.succeeded");
    let told = portal.get(&path, &first).await.json();
    let events = told["data"].as_array().unwrap();
    let subjects: Vec<_> = events.iter().map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, [second, portal.person("stranger").session_id], "once each, whichever server saw it");
    for event in events {
        assert_eq!((&event["actor"]["kind"], &event["address_prefix"]), (&"user".into(), &"127.0.0.0/24".into()));
        assert!(event["request_id"].is_string(), "{event}");
    }
    let credentials =
        "SELECT count(*) AS count FROM audit_events WHERE action = 'sign_in.succeeded' AND credential_id = subject";
    assert_eq!(portal.database.count(credentials).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_cannot_be_written_keeps_nobody_out() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    portal.database.execute("ALTER TABLE seen_sessions RENAME TO seen_sessions_away").await.unwrap();
    let id = portal.idp.add_session(&portal.person("stranger").user_id).unwrap().id;
    let token = portal.idp.mint().encode(&portal.token_spec("stranger").claim("sid", id.as_str()));
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    portal.database.execute("ALTER TABLE seen_sessions_away RENAME TO seen_sessions").await.unwrap();
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    let path = format!("/v1/accounts/{account}/audit-events?limit=1");
    assert_eq!(portal.get(&path, &token).await.text_at("/data/0/subject"), id, "told with the next request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_tokens_is_one_record_per_reason() {
    let portal = Portal::start().await;
    let ended = portal.token("alice");
    portal.post("/v1/auth/sign-out", &ended, &serde_json::json!({})).await;
    for number in 0..20 {
        let forged =
            portal.token_spec("alice").claim("sid", format!("sess_{number}")).algorithm(SigningAlgorithm::None);
        let old = portal.token_spec("alice").claim("exp", 1_000 + number);
        for spec in [forged, old] {
            portal.get("/v1/me", &portal.idp.mint().encode(&spec)).await.assert_problem(401, "unauthenticated");
        }
    }
    portal.get("/v1/me", &ended).await.assert_problem(401, "session_ended");
    for path in ["/v1/me", "/portal", "/v1/auth/status"] {
        portal.send(portal.request(Method::GET, path)).await;
    }
    assert_eq!(failures(&portal).await, [""; 0], "no request waits for the trail");
    portal.wired.api.kit.failed_sign_ins.tell().await.unwrap();
    portal.wired.api.kit.failed_sign_ins.tell().await.unwrap();
    assert_eq!(
        failures(&portal).await,
        [
            "session-ended, 1 times from 127.0.0.0/24",
            "session-token-expired-refresh, 20 times from 127.0.0.0/24",
            "token-invalid-algorithm, 20 times from 127.0.0.0/24",
        ]
    );
    let with_session = "SELECT credential_id AS text FROM platform_audit_events WHERE credential_id IS NOT NULL";
    let sessions = portal.database.texts(with_session).await.unwrap();
    assert_eq!(sessions, [portal.person("alice").session_id], "only of a token that verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_failure_of_whoever_signs_in() {
    let portal = PortalBuilder::default().set("PORTAL_DATABASE__ACQUIRE_TIMEOUT_MS", "300").start().await;
    let cut_off = Portal::start().await;
    cut_off.idp.set_outage(true);
    cut_off.get("/v1/me", &cut_off.token("alice")).await.assert_problem(503, "identity_unavailable");
    cut_off.wired.api.kit.failed_sign_ins.tell().await.unwrap();
    assert_eq!(failures(&cut_off).await, [""; 0]);
    let token = portal.token("alice");
    portal.get("/v1/auth/status", &token).await;
    portal.database.refuse_connections(true).await.unwrap();
    portal.get("/v1/me", &token).await.assert_problem(503, "unavailable");
    portal.get("/v1/me", "no.such.token").await.assert_problem(401, "unauthenticated");
    assert!(portal.wired.api.kit.failed_sign_ins.tell().await.is_err());
    portal.database.refuse_connections(false).await.unwrap();
    portal.wired.api.kit.failed_sign_ins.tell().await.unwrap();
    assert_eq!(
        failures(&portal).await.len(),
        1,
        "the bad token, although the database was away when it was told first"
    );
}
