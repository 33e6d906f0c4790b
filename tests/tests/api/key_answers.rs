//! What is told of keys: to gateways in batches, to members check by check, and to whoever holds one.

use e2e::{Answer, Portal};
use reqwest::Method;
use serde_json::{Value, json};

async fn with_key(key: Option<&str>, portal: &Portal, method: Method, path: &str) -> Answer {
    let request = portal.request(method, path);
    portal.send(if let Some(key) = key { request.bearer_auth(key) } else { request }).await
}

fn outcomes(explanation: &Answer) -> Vec<String> {
    let checks = explanation.json()["checks"].as_array().unwrap().clone();
    checks.iter().map(|one| format!("{} {}", one["check"], one["outcome"]).replace('"', "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_answered_in_their_order_with_one_statement_for_those_that_are_not_known() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let gateway = portal.gateway("gateway").await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(portal.create_key("stranger", &account).await);
    }
    portal.hearing().await;
    assert_eq!(portal.verify(&gateway, &keys[0].1).await.json()["code"], "valid", "one of them is known");
    let mut questions: Vec<Value> = keys.iter().map(|(_, secret)| json!({ "key": secret })).collect();
    questions.insert(1, json!({ "key": "noise" }));
    questions.push(json!({ "key": keys[2].1, "scope": "usage:read" }));
    let ask = async || portal.post("/v1/keys/verify-batch", &gateway, &json!({ "keys": questions })).await;
    for expected in [1, 0] {
        portal.wired.store.statements().start();
        let answer = ask().await;
        let statements = portal.wired.store.statements().finish();
        assert_eq!(statements.iter().filter(|text| text.contains("key_locator")).count(), expected, "{statements:?}");
        let results = answer.json()["results"].as_array().unwrap().clone();
        let told: Vec<_> = results.iter().map(|one| (one["code"].clone(), one["key_id"].clone())).collect();
        let mut wanted: Vec<_> = keys.iter().map(|(id, _)| (json!("valid"), json!(id))).collect();
        wanted.insert(1, (json!("invalid_api_key"), Value::Null));
        wanted.push((json!("scope_missing"), json!(keys[2].0)));
        assert_eq!(told, wanted);
    }
    assert_eq!(
        portal.post("/v1/keys/verify-batch", &gateway, &json!({ "keys": [] })).await.json()["results"],
        json!([])
    );
    let many = |count| json!({ "keys": vec![json!({ "key": keys[0].1, "model": "m".repeat(100) }); count] });
    let most = portal.post("/v1/keys/verify-batch", &gateway, &many(256)).await;
    assert_eq!(most.json()["results"].as_array().unwrap().len(), 256);
    let more = portal.post("/v1/keys/verify-batch", &gateway, &many(257)).await;
    more.assert_problem(422, "too_many_keys_asked");
    let huge = json!({ "keys": [{ "key": "x".repeat(300_000) }] });
    portal.post("/v1/keys/verify-batch", &gateway, &huge).await.assert_problem(413, "body_too_large");
    let list = json!({ "keys": [[keys[0].1]] });
    let refused = portal.post("/v1/keys/verify-batch", &gateway, &list).await;
    refused.assert_problem(422, "invalid_body");
    assert!(!refused.text.contains(&keys[0].1));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_which_check_a_key_fails_and_gateways_the_same_code() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let (key, secret) = portal.create_key("edith", &acme).await;
    let gateway = portal.gateway("gateway").await;
    let path = format!("/v1/api-keys/{key}/explain");
    for (wanted, code, last) in [
        (json!({}), "valid", "rate passed"),
        (json!({ "scope": "usage:read", "ip": "192.0.2.1" }), "scope_missing", "scope failed"),
    ] {
        let explained = portal.post(&path, &portal.token("victor"), &wanted).await;
        assert_eq!(explained.json()["code"], code, "{explained:?}");
        let told = outcomes(&explained);
        assert!(told.contains(&last.to_owned()), "{told:?}");
        let mut question = wanted.clone();
        question["key"] = json!(secret);
        let answer = portal.post("/v1/keys/verify", &gateway, &question).await.json();
        assert_eq!((&answer["code"], &answer["decision"]), (&explained.json()["code"], &explained.json()["decision"]));
    }
    portal.post(&format!("/v1/api-keys/{key}/revoke"), &portal.token("adam"), &json!({})).await;
    let explained = portal.post(&path, &portal.token("victor"), &json!({})).await;
    assert_eq!(explained.json()["code"], "key_revoked");
    assert_eq!(
        outcomes(&explained),
        [
            "syntax not_reached",
            "identity not_reached",
            "state failed",
            "network not_reached",
            "scope not_reached",
            "model not_reached",
            "rate not_reached"
        ]
    );
    portal.post(&path, &portal.token("stranger"), &json!({})).await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_its_holder_what_it_is_good_for_and_opens_nothing_else() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, secret) = portal.create_key("stranger", &account).await;
    let held = with_key(Some(&secret), &portal, Method::GET, "/v1/key").await;
    assert_eq!(held.header("cache-control"), "private, no-store");
    let body = held.json();
    assert_eq!((&body["id"], &body["account_id"], &body["name"]), (&json!(key), &json!(account), &json!("test")));
    assert_eq!(
        (&body["state"], &body["scopes"], &body["networks"]),
        (&json!("active"), &json!(["inference"]), &json!([]))
    );
    assert!(!held.text.contains(&secret[22..65]), "{held:?}");
    for path in ["/v1/me".to_owned(), format!("/v1/api-keys/{key}"), format!("/v1/accounts/{account}/api-keys")] {
        with_key(Some(&secret), &portal, Method::GET, &path).await.assert_problem(401, "unauthenticated");
    }
    let bound = format!(
        "UPDATE api_keys SET networks = '{{203.0.113.0/24}}' WHERE account_id = (SELECT account_id FROM key_locator WHERE kid = '{}')",
        &secret[10..22]
    );
    portal.database.execute(&bound).await.unwrap();
    with_key(Some(&secret), &portal, Method::GET, "/v1/key").await.assert_problem(403, "forbidden");
    let ended = with_key(Some(&secret), &portal, Method::POST, "/v1/keys/self-revoke").await;
    assert_eq!(ended.status, 202, "whoever finds a key ends it from wherever they are");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_itself_and_nobody_learns_from_it_whether_a_text_was_a_key() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (key, secret) = portal.create_key("stranger", &account).await;
    let (other, other_secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    let revoke = async |key: Option<&str>| with_key(key, &portal, Method::POST, "/v1/keys/self-revoke").await;
    let spliced = format!("{}{}", &secret[..60], &other_secret[60..]);
    let session = portal.token("stranger");
    let answers = [
        revoke(None).await,
        revoke(Some("noise")).await,
        revoke(Some(&spliced)).await,
        revoke(Some(&session)).await,
        revoke(Some(&secret)).await,
        revoke(Some(&secret)).await,
    ];
    for answer in &answers {
        let seen = |answer: &Answer| (answer.status, answer.text.clone(), answer.header("content-length").to_owned());
        assert_eq!(seen(answer), seen(&answers[0]));
        assert_eq!(answer.status, 202);
    }
    assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "key_revoked");
    assert_eq!(portal.verify(&gateway, &other_secret).await.json()["code"], "valid", "{other} goes on");
    with_key(Some(&secret), &portal, Method::GET, "/v1/key").await.assert_problem(401, "invalid_api_key");
    let trail = portal
        .database
        .texts(
            "SELECT concat_ws(' ', actor_kind, actor_id, subject, credential_id) AS text FROM audit_events \
             WHERE action = 'api_key.revoked'",
        )
        .await
        .unwrap();
    assert_eq!(trail, [format!("api_key {key} {key} {key}")]);
}
