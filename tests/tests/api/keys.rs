//! Keys, as owners manage them and gateways ask about them.

use e2e::{Portal, soon};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_in_one_answer_and_in_no_other() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, secret) = portal.create_key("stranger", &account).await;
    let random_part = &secret["cort_live_".len() + 12..];
    let token = portal.token("stranger");
    let list = portal.get(&format!("/v1/accounts/{account}/api-keys"), &token).await;
    let one = portal.get(&format!("/v1/api-keys/{key}"), &token).await;
    assert_eq!(list.json()["data"][0], one.json());
    assert_eq!(one.text_at("/state"), "active");
    for answer in [&list, &one] {
        assert!(!answer.text.contains(random_part), "{answer:?}");
        assert!(!answer.text.contains("secret"), "{answer:?}");
    }
    let gateway = portal.gateway("gateway").await;
    assert!(!portal.verify(&gateway, &secret).await.text.contains(random_part));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_page_by_page_newest_first() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(portal.create_key("stranger", &account).await.0);
    }
    made.reverse();
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/accounts/{account}/api-keys?limit=2{cursor}");
        let page = portal.get(&path, &portal.token("stranger")).await.json();
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= 2);
        seen.extend(data.iter().filter_map(|key| key["id"].as_str()).map(ToOwned::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn editors_manage_their_own_keys_and_admins_all() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let (by_edith, _) = portal.create_key("edith", &acme).await;
    let (by_adam, _) = portal.create_key("adam", &acme).await;
    let revoke = async |name: &str, key: &str| {
        portal.post(&format!("/v1/api-keys/{key}/revoke"), &portal.token(name), &json!({})).await
    };
    revoke("edith", &by_adam).await.assert_problem(403, "forbidden");
    revoke("victor", &by_edith).await.assert_problem(403, "forbidden");
    revoke("stranger", &by_edith).await.assert_problem(404, "not_found");
    assert_eq!(revoke("edith", &by_edith).await.status, 200);
    assert_eq!(revoke("adam", &by_edith).await.status, 200, "revoking again succeeds");
    assert_eq!(revoke("alice", &by_adam).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_revocations_at_once_succeed_and_leave_one_record() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, secret) = portal.create_key("stranger", &account).await;
    let token = portal.token("stranger");
    let path = format!("/v1/api-keys/{key}/revoke");
    let answers =
        join_all((0..100).map(|_| portal.send(portal.request(Method::POST, &path).bearer_auth(&token)))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let records = "SELECT count(*) AS count FROM audit_events WHERE action = 'api_key.revoked'";
    assert_eq!(portal.database.count(records).await.unwrap(), 1);
    let gateway = portal.gateway("gateway").await;
    assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "key_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_one_character_changed_is_no_key() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    portal.hearing().await;
    portal.verify(&gateway, "noise").await;
    portal.wired.store.statements().start();
    for place in [0, 5, 12, 30, secret.len() - 1] {
        let mut changed = secret.clone().into_bytes();
        changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
        let changed = String::from_utf8(changed).unwrap();
        let verdict = portal.verify(&gateway, &changed).await;
        assert_eq!(
            verdict.json(),
            json!({ "decision": "deny", "code": "invalid_api_key", "revision": 0, "cacheable_for_ms": 500 }),
            "{place}"
        );
    }
    let statements = portal.wired.store.statements().finish();
    assert!(!statements.iter().any(|statement| statement.contains("key_locator")), "{statements:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_moves_to_the_newest_pepper() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let ((_, used), (_, unused)) =
        (portal.create_key("stranger", &account).await, portal.create_key("stranger", &account).await);
    let gateway = portal.gateway("gateway").await;
    let newer = portal.replica_with(&[("PORTAL_KEYS__PEPPERS__2", "YW5vdGhlciBwZXBwZXIgb2YgdGhlIHRlc3RzIDMyIGJ5dGVz")]);
    newer.hearing().await;
    let says = async |secret: &str| newer.post("/v1/keys/verify", &gateway, &json!({ "key": secret })).await.json();
    for _ in 0..3 {
        assert_eq!(says(&used).await["code"], "valid");
    }
    assert_eq!(newer.wired.credentials.digests.write().await.unwrap(), 1);
    let on_second = "SELECT count(*) AS count FROM api_key_secrets WHERE pepper_version = 2";
    assert_eq!(portal.database.count(on_second).await.unwrap(), 1);
    for secret in [&used, &unused] {
        assert_eq!(says(secret).await["code"], "valid");
    }
    assert_eq!(
        newer.wired.credentials.digests.write().await.unwrap(),
        1,
        "now the other one, and the first never again"
    );
    // Who does not have the newest pepper cannot tell any more.
    let cannot_tell = async || portal.verify(&gateway, &used).await.json()["code"] == "invalid_api_key";
    soon("the move is heard of", cannot_tell).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_inference_and_a_wrong_question_is_422() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    let ask = async |body| portal.post("/v1/keys/verify", &gateway, &body).await;
    let full = ask(json!({ "key": secret, "model": "m-1", "ip": "198.51.100.7", "scope": "inference",
        "estimate": { "input_tokens": 10, "max_output_tokens": 100 } }))
    .await;
    assert_eq!(full.json()["code"], "valid", "{full:?}");
    assert_eq!(ask(json!({ "key": secret, "scope": "billing:read" })).await.json()["code"], "scope_missing");
    ask(json!({ "key": secret, "ip": "not an address" })).await.assert_problem(422, "invalid_body");
    ask(json!({ "model": "m-1" })).await.assert_problem(422, "invalid_body");
    for misplaced in [json!(secret), json!([secret]), json!({ &secret: 1 }), json!({ "key": [secret] })] {
        let refused = ask(misplaced).await;
        refused.assert_problem(422, "invalid_body");
        assert!(!refused.text.contains(&secret), "a secret in the wrong place is not repeated: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_make_list_and_revoke_service_tokens_and_each_act_is_recorded() {
    let portal = Portal::start().await;
    let text = portal
        .service_token(&["create", "--name", "edge", "--scope", "keys:verify,metrics:read", "--reason", "new edge"])
        .await;
    let kid = &text["portal_svc_".len()..][..12];
    let list = portal.service_token(&["list"]).await;
    assert!(list.contains("edge") && list.contains(kid) && list.contains("keys:verify,metrics:read"), "{list}");
    assert!(!list.contains(&text), "{list}");
    portal.service_token(&["revoke", "--name", "edge"]).await;
    assert!(portal.service_token(&["list"]).await.contains("revoked"));
    let records = portal
        .database
        .texts("SELECT concat_ws(' ', actor_kind, actor_id, action, reason) AS text FROM platform_audit_events ORDER BY id")
        .await
        .unwrap();
    assert_eq!(
        records,
        ["system operator service_token.created new edge", "system operator service_token.revoked a test"]
    );
}
