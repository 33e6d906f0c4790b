//! Requests that are repeated because nobody heard the answer.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use futures_util::future::join_all;
use portal_testkit::FixedClock;
use reqwest::Method;
use serde_json::{Value, json};

async fn post(portal: &Portal, who: &str, path: &str, (name, body): (&str, &Value)) -> Answer {
    let request = portal.request(Method::POST, path).bearer_auth(portal.token(who));
    portal.send(request.header("Idempotency-Key", name).json(body)).await
}

/// The key that a repetition is told of.
#[track_caller]
fn issued_before(answer: &Answer) -> String {
    answer.assert_problem(409, "secret_already_issued");
    assert_eq!(answer.json().get("secret"), None);
    answer.text_at("/key_id")
}

async fn keys(portal: &Portal) -> i64 {
    portal.database.count("SELECT count(*) AS count FROM api_keys").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_creation_makes_one_key_and_names_it() {
    let portal = Portal::start().await;
    let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let name = "8e03978e-40d5-43e8-bc93-6894a57f9324";
    let create = async |name: &str, body: &Value| post(&portal, "stranger", &path, (name, body)).await;
    let body = json!({ "name": "ci", "networks": ["192.0.2.1/24", "192.0.2.0/24"] });
    let first = create(name, &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    let key = first.text_at("/api_key/id");
    // However the same is said.
    let again = json!({ "networks": ["192.0.2.0/24"], "environment": "live", "name": "ci", "models": [] });
    for body in [&body, &again] {
        let repeated = create(name, body).await;
        assert_eq!(issued_before(&repeated), key);
        assert!(!repeated.text.contains(&first.text_at("/secret")[22..]), "{repeated:?}");
    }
    for other in [json!({ "name": "cd" }), json!({ "name": "ci", "environment": "test" })] {
        create(name, &other).await.assert_problem(422, "idempotency_key_reused");
    }
    assert_eq!(keys(&portal).await, 1);
    assert_eq!(create("another", &body).await.status, 201);
    assert_eq!(portal.post(&path, &portal.token("stranger"), &body).await.status, 201, "without a name each is new");
    let records = "SELECT count(*) AS count FROM audit_events WHERE action = 'api_key.created'";
    assert_eq!((keys(&portal).await, portal.database.count(records).await.unwrap()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_creations_at_once_with_one_name_make_one_key() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let token = portal.token("stranger");
    let answers = join_all((0..20).map(|number| {
        let server = if number % 2 == 0 { &portal.base } else { &other.base };
        let request = reqwest::Client::new().post(format!("{server}{path}")).bearer_auth(&token);
        portal.send(request.header("Idempotency-Key", "once").json(&json!({ "name": "ci" })))
    }))
    .await;
    let (made, repeated): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1, "{answers:?}");
    for answer in repeated {
        assert_eq!(issued_before(answer), made[0].text_at("/api_key/id"));
    }
    assert_eq!(keys(&portal).await, 1);
    let records = "SELECT count(*) AS count FROM audit_events WHERE action = 'api_key.created'";
    assert_eq!(portal.database.count(records).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_rotation_happens_once() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let gateway = portal.gateway("gateway").await;
    let (key, first) = portal.create_key("stranger", &account).await;
    let (other, _) = portal.create_key("stranger", &account).await;
    let path = format!("/v1/api-keys/{key}/rotate");
    let rotate = async |name: &str, body: Value| post(&portal, "stranger", &path, (name, &body)).await;
    let rotated = rotate("r-1", json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    for same in [json!({}), json!({ "overlap_seconds": 86_400 }), json!({ "overlap_seconds": null })] {
        assert_eq!(issued_before(&rotate("r-1", same).await), key);
    }
    rotate("r-1", json!({ "overlap_seconds": 0 })).await.assert_problem(422, "idempotency_key_reused");
    for (path, body) in [
        (format!("/v1/api-keys/{other}/rotate"), json!({})),
        (format!("/v1/accounts/{account}/api-keys"), json!({ "name": "ci" })),
    ] {
        let reused = post(&portal, "stranger", &path, ("r-1", &body)).await;
        reused.assert_problem(422, "idempotency_key_reused");
    }
    // What was in use goes on, which a second rotation would have ended.
    for secret in [&first, &rotated.text_at("/secret")] {
        assert_eq!(portal.verify(&gateway, secret).await.text_at("/code"), "valid");
    }
    let answers = join_all((0..20).map(|_| rotate("r-2", json!({})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| issued_before(answer) == key));
    let revoke = format!("/v1/api-keys/{key}/revoke");
    assert_eq!(portal.post(&revoke, &portal.token("stranger"), &json!({})).await.status, 200);
    assert_eq!(issued_before(&rotate("r-2", json!({})).await), key, "also when it could not be done again");
    rotate("r-3", json!({})).await.assert_problem(409, "key_is_over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_its_callers_in_one_account() {
    let portal = Portal::start().await;
    let acme = format!("/v1/accounts/{}/api-keys", portal.acme().await);
    let own = format!("/v1/accounts/{}/api-keys", portal.personal_account("alice").await);
    let body = json!({ "name": "ci" });
    for (who, path) in [("alice", &acme), ("adam", &acme), ("edith", &acme), ("alice", &own)] {
        assert_eq!(post(&portal, who, path, ("same", &body)).await.status, 201, "{who} {path}");
        issued_before(&post(&portal, who, path, ("same", &body)).await);
    }
    post(&portal, "victor", &acme, ("same", &body)).await.assert_problem(403, "forbidden");
    post(&portal, "stranger", &acme, ("same", &body)).await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_remembered() {
    let portal = PortalBuilder::default().set("PORTAL_KEYS__MOST_PER_ACCOUNT", "1").start().await;
    let account = portal.personal_account("stranger").await;
    let path = format!("/v1/accounts/{account}/api-keys");
    let (key, _) = portal.create_key("stranger", &account).await;
    let create = async |body: Value| post(&portal, "stranger", &path, ("again", &body)).await;
    create(json!({ "name": "ci" })).await.assert_problem(409, "too_many_keys");
    create(json!({ "name": "" })).await.assert_problem(422, "invalid_name");
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM named_requests").await.unwrap(), 0);
    portal.post(&format!("/v1/api-keys/{key}/revoke"), &portal.token("stranger"), &json!({})).await;
    let made = create(json!({ "name": "ci" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(issued_before(&create(json!({ "name": "ci" })).await), made.text_at("/api_key/id"), "full by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_counts_for_a_day_and_is_deleted_then() {
    let clock = Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let create = async || post(&portal, "stranger", &path, ("daily", &json!({ "name": "ci" }))).await;
    assert_eq!(create().await.status, 201);
    let moment = Duration::from_micros(1);
    clock.advance(Duration::from_hours(24).saturating_sub(moment));
    issued_before(&create().await);
    assert_eq!(portal.wired.credentials.old_requests.forget().await.unwrap(), 0);
    clock.advance(moment);
    assert_eq!(create().await.status, 201, "the name is free again");
    issued_before(&create().await);
    clock.advance(Duration::from_hours(24) + moment);
    assert_eq!(portal.wired.credentials.old_requests.forget().await.unwrap(), 1);
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM named_requests").await.unwrap(), 0);
    assert_eq!(keys(&portal).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_one_is_400() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, _) = portal.create_key("stranger", &account).await;
    let long = "x".repeat(256);
    for path in [format!("/v1/accounts/{account}/api-keys"), format!("/v1/api-keys/{key}/rotate")] {
        for name in ["", "a b", "\u{e9}", long.as_str()] {
            let refused = post(&portal, "stranger", &path, (name, &json!({ "name": "x" }))).await;
            refused.assert_problem(400, "invalid_idempotency_key");
        }
        let twice = portal.request(Method::POST, &path).bearer_auth(portal.token("stranger"));
        let twice = twice.header("Idempotency-Key", "a").header("Idempotency-Key", "a").json(&json!({ "name": "x" }));
        portal.send(twice).await.assert_problem(400, "invalid_idempotency_key");
    }
    assert_eq!(keys(&portal).await, 1);
    let row = "SELECT count(*) AS count FROM api_keys WHERE revision = 1";
    assert_eq!(portal.database.count(row).await.unwrap(), 1, "nothing was rotated");
}

/// The whole row, as whoever reads the database finds it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_holds_no_secret() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let path = format!("/v1/accounts/{account}/api-keys");
    let made = post(&portal, "stranger", &path, ("name-1", &json!({ "name": "ci" }))).await;
    let rows = portal.database.texts("SELECT named_requests::text AS text FROM named_requests").await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains("name-1") && rows[0].contains(&made.text_at("/api_key/id")), "{rows:?}");
    let secret = made.text_at("/secret");
    assert!((0..secret.len() - 8).all(|start| !rows[0].contains(&secret[start..start + 8])), "{rows:?}");
}
