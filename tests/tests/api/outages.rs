//! What is down is 503 with Retry-After, never 401, and heals without a restart.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Portal, PortalBuilder};
use portal_testkit::FixedClock;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_providers_keys_nobody_is_called_signed_out() {
    let portal = Portal::start().await;
    portal.idp.set_outage(true);
    let token = portal.token("alice");
    for path in ["/v1/me", "/v1/auth/status"] {
        let answer = portal.get(path, &token).await;
        answer.assert_problem(503, "identity_unavailable");
        assert_eq!(answer.json()["reason"], "jwk-remote-failed-to-load");
    }
    let anonymous = portal.send(portal.request(Method::GET, "/v1/me")).await;
    anonymous.assert_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_key_is_our_fault_and_not_the_callers() {
    let portal = PortalBuilder::default().set("CLERK_SECRET_KEY", "sk_test_wrong").start().await;
    let answer = portal.get("/v1/me", &portal.token("alice")).await;
    answer.assert_problem(503, "identity_unavailable");
    assert_eq!(answer.json()["reason"], "secret-key-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_go_on_with_known_keys_and_profiles_come_later() {
    let clock = Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    assert_eq!(portal.get("/v1/auth/status", &portal.token("alice")).await.json()["status"], "signed-in");
    portal.idp.set_outage(true);
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.json()["user"].get("email"), None);
    portal.idp.set_outage(false);
    // The next attempt rests for a minute.
    clock.advance(Duration::from_secs(59));
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.json()["user"].get("email"), None);
    clock.advance(Duration::from_secs(1));
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.text_at("/user/email"), "stranger@example.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_answers_are_503_and_recovery_needs_no_restart() {
    let portal = PortalBuilder::default().set("PORTAL_DATABASE__ACQUIRE_TIMEOUT_MS", "300").start().await;
    let token = portal.token("alice");
    portal.hearing().await;
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    assert_eq!(portal.get("/v1/auth/status", &token).await.json()["status"], "signed-in", "it knows who signed out");
    let gateway = portal.gateway("gateway").await;
    portal.database.refuse_connections(true).await.unwrap();
    portal.get("/v1/me", &token).await.assert_problem(503, "unavailable");
    portal.verify(&gateway, "cort_live_x").await.assert_problem(503, "unavailable");
    portal.send(portal.request(Method::GET, "/readyz")).await.assert_problem(503, "unavailable");
    assert_eq!(portal.send(portal.request(Method::GET, "/livez")).await.status, 200);
    assert_eq!(portal.get("/v1/auth/status", &token).await.json()["status"], "signed-in");
    portal.database.refuse_connections(false).await.unwrap();
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    assert_eq!(portal.send(portal.request(Method::GET, "/readyz")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_is_not_ready() {
    let portal = Portal::start().await;
    let newest =
        "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)";
    portal.database.execute(newest).await.unwrap();
    portal.send(portal.request(Method::GET, "/readyz")).await.assert_problem(503, "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_cannot_be_stored_signs_nobody_out() {
    let portal = Portal::start().await;
    let mut person = portal_dev_idp::Person::new("odd");
    person.first_name = "A\u{0}\u{1b}b".to_owned();
    let nameless = portal_dev_idp::Organization::new(" ", "user_dev_odd");
    portal.idp.add_person(person.member_of(nameless, "org:admin"));
    let me = portal.get("/v1/me", &portal.token("odd")).await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.text_at("/user/first_name"), "Ab");
    let accounts = portal.get("/v1/me/accounts", &portal.token("odd")).await;
    assert!(accounts.text_at("/data/1/name").starts_with("org_"), "{accounts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sign_in_that_cannot_be_written_has_its_own_name_and_can_be_repeated() {
    let portal = Portal::start().await;
    portal.database.execute("ALTER TABLE audit_events RENAME TO audit_events_away").await.unwrap();
    let token = portal.token("alice");
    portal.get("/v1/me", &token).await.assert_problem(503, "provisioning_failed");
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM users").await.unwrap(), 0);
    portal.database.execute("ALTER TABLE audit_events_away RENAME TO audit_events").await.unwrap();
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
}
