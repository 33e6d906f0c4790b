//! The main job, from end to end.

use e2e::Portal;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_makes_a_key_a_gateway_verifies_it_and_it_is_revoked() {
    let portal = Portal::start().await;

    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.text_at("/user/clerk_id"), "user_dev_stranger");
    assert_eq!(me.text_at("/user/email"), "stranger@example.test");
    assert_eq!(me.text_at("/active_account/kind"), "personal");
    assert_eq!(me.text_at("/active_account/role"), "owner");
    assert_eq!(me.json()["onboarding"]["has_api_key"], false);
    let account = me.text_at("/active_account/id");

    let created = portal
        .post(&format!("/v1/accounts/{account}/api-keys"), &portal.token("stranger"), &json!({ "name": "tour" }))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    let (key, secret) = (created.text_at("/api_key/id"), created.text_at("/secret"));
    assert!(secret.starts_with(&created.text_at("/api_key/prefix")));
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.json()["onboarding"]["has_api_key"], true);

    let gateway = portal.gateway("gateway").await;
    let verdict = portal.verify(&gateway, &secret).await;
    assert_eq!(verdict.status, 200, "{verdict:?}");
    assert_eq!(
        verdict.json(),
        json!({ "decision": "allow", "code": "valid", "key_id": key, "account_id": account, "revision": 1,
            "cacheable_for_ms": 500 })
    );

    let hidden = portal.get(&format!("/v1/accounts/{account}"), &portal.token("edith")).await;
    hidden.assert_problem(404, "not_found");

    let revoke = format!("/v1/api-keys/{key}/revoke");
    let revoked = portal.send(portal.request(Method::POST, &revoke).bearer_auth(portal.token("stranger"))).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(revoked.text_at("/state"), "revoked");
    let verdict = portal.verify(&gateway, &secret).await;
    assert_eq!(verdict.json()["decision"], "deny");
    assert_eq!(verdict.json()["code"], "key_revoked");
    assert_eq!(verdict.json()["revision"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_a_record_that_names_person_and_request() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, _) = portal.create_key("stranger", &account).await;
    let revoke = format!("/v1/api-keys/{key}/revoke");
    let revoked = portal.send(portal.request(Method::POST, &revoke).bearer_auth(portal.token("stranger"))).await;
    let records = portal
        .database
        .texts("SELECT concat_ws(' ', actor_kind, action, subject) AS text FROM audit_events ORDER BY id")
        .await
        .unwrap();
    let user = portal.get("/v1/me", &portal.token("stranger")).await.text_at("/user/id");
    assert_eq!(
        records,
        [
            format!("system user.provisioned {user}"),
            format!("user sign_in.succeeded {}", portal.person("stranger").session_id),
            format!("user api_key.created {key}"),
            format!("user api_key.revoked {key}"),
        ]
    );
    let prefixes = portal
        .database
        .texts("SELECT DISTINCT address_prefix AS text FROM audit_events WHERE request_id IS NOT NULL")
        .await
        .unwrap();
    assert_eq!(prefixes, ["127.0.0.0/24"]);
    let request = portal
        .database
        .texts("SELECT request_id::text AS text FROM audit_events WHERE action = 'api_key.revoked'")
        .await
        .unwrap();
    assert_eq!(request.len(), 1);
    assert!(revoked.header("x-request-id").starts_with("req_"));
}
