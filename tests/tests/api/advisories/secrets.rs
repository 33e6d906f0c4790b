//! Keys and service tokens: no text that is nearly one counts, what was used up is used up everywhere, and none is taken for another.

use std::collections::BTreeSet;

use e2e::{Answer, Portal, PortalBuilder, soon};
use futures_util::future::join_all;
use portal_dev_idp::webhook_signature;
use reqwest::Method;
use serde_json::{Value, json};

/// Every text that differs from this one in one character, by any that can stand in a header; every beginning and every end of it; and it in
/// other cases.
fn nearly(text: &str) -> Vec<String> {
    let mut all = BTreeSet::new();
    for place in 0..text.len() {
        let (before, after) = (&text[..place], &text[place + 1..]);
        all.extend([before.to_owned(), text[place..].to_owned(), format!("{before}{after}")]);
        all.extend((b'!'..=b'~').map(|other| format!("{before}{}{after}", char::from(other))));
    }
    let swapped = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    all.extend([text.to_uppercase(), text.to_lowercase(), text.chars().map(swapped).collect()]);
    all.extend([format!("{text}0"), format!("0{text}"), format!("{text}{text}")]);
    all.remove(text);
    all.into_iter().collect()
}

/// CVE-2026-27840 (a truncated opaque token was accepted): any one-character change of any valid key is refused without a database query, and so is
/// any part of it.
#[tokio::test(flavor = "multi_thread")]
async fn t14_any_one_character_change_of_any_valid_key_is_refused_without_a_database_query() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let path = format!("/v1/accounts/{account}/api-keys");
    let gateway = portal.gateway("gateway").await;
    portal.hearing().await;
    for environment in ["live", "test"] {
        let body = json!({ "name": environment, "environment": environment });
        let secret = portal.post(&path, &portal.token("stranger"), &body).await.text_at("/secret");
        assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "valid");
        let texts = nearly(&secret);
        assert!(texts.len() > secret.len() * 90, "{}", texts.len());
        portal.wired.store.statements().start();
        for part in texts.chunks(256) {
            let keys: Vec<_> = part.iter().map(|text| json!({ "key": text })).collect();
            let answer = portal.post("/v1/keys/verify-batch", &gateway, &json!({ "keys": keys })).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            for (text, verdict) in part.iter().zip(answer.json()["results"].as_array().unwrap()) {
                assert_eq!(
                    (&verdict["decision"], &verdict["code"]),
                    (&json!("deny"), &json!("invalid_api_key")),
                    "{text}"
                );
            }
        }
        for text in texts.iter().filter(|text| !text.is_empty()).step_by(97) {
            portal.get("/v1/key", text).await.assert_problem(401, "invalid_api_key");
        }
        assert_eq!(portal.wired.store.statements().finish(), Vec::<String>::new());
        assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "valid");
    }
}

/// The same of service tokens.
#[tokio::test(flavor = "multi_thread")]
async fn t14_any_one_character_change_of_a_service_token_is_refused_without_a_database_query() {
    let portal = Portal::start().await;
    let token = portal.gateway("gateway").await;
    portal.hearing().await;
    assert_eq!(portal.verify(&token, "nonsense").await.status, 200);
    portal.wired.store.statements().start();
    // Nothing behind "Bearer " is no token at all.
    let texts: Vec<_> = nearly(&token).into_iter().filter(|text| !text.is_empty()).collect();
    for part in texts.chunks(64) {
        for answer in join_all(part.iter().map(|text| portal.verify(text, "nonsense"))).await {
            answer.assert_problem(401, "invalid_service_token");
        }
    }
    assert_eq!(portal.wired.store.statements().finish(), Vec::<String>::new());
    assert_eq!(portal.verify(&token, "nonsense").await.status, 200);
}

/// CVE-2026-8922, at the level of services: a token ends alone, and no later moment at another level brings it back.
#[tokio::test(flavor = "multi_thread")]
async fn t18_a_service_token_ends_alone_and_no_later_moment_brings_it_back() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let (ended, live) = (portal.gateway("ended").await, portal.gateway("live").await);
    let statuses = async || {
        let mut found = Vec::new();
        for token in [&ended, &live] {
            let answer = other.post("/v1/keys/verify", token, &json!({ "key": "nonsense" })).await;
            found.push(answer.status.as_u16());
        }
        found
    };
    assert_eq!(statuses().await, [200, 200]);
    portal.service_token(&["revoke", "--name", "ended"]).await;
    soon("the end of a token", async || statuses().await == [401, 200]).await;
    portal.sessions(&["end-all", "--reason", "tokens in a log"]).await.unwrap();
    portal.service_token(&["rotate", "--name", "live", "--overlap", "1h"]).await;
    assert_eq!(portal.gateway("ended").await.len(), ended.len(), "the name is another token's by now");
    soon("the news arrive", async || statuses().await == [401, 200]).await;
    assert_eq!(statuses().await, [401, 200], "sessions are no tokens");
}

const SIGNING_SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBlbmRwb2ludCB0MTk=";

/// GHSA-3p3g-vpw6-4w66 (the id of a client assertion counted more than once): what counts once has counted on every server, and after a restart.
/// Here that is the name of a request that makes a secret, and the id of a message of the provider.
#[tokio::test(flavor = "multi_thread")]
async fn t19_what_counts_once_has_counted_on_every_server_and_after_a_restart() {
    let portal = PortalBuilder::default().set("CLERK_WEBHOOK_SIGNING_SECRET", SIGNING_SECRET).start().await;
    let other = portal.replica();
    let account = portal.personal_account("stranger").await;
    let named = |request: reqwest::RequestBuilder| {
        let request = request.bearer_auth(portal.token("stranger")).header("Idempotency-Key", "used");
        request.json(&json!({ "name": "once" }))
    };
    let (id, now) = ("msg_once", portal.now().unix_seconds());
    let data =
        json!({ "id": portal.person("stranger").user_id, "first_name": "Once", "updated_at": 4_000_000_000_000_i64 });
    let body = json!({ "object": "event", "type": "user.updated", "data": data }).to_string();
    let signature = webhook_signature(SIGNING_SECRET, id, now, body.as_bytes()).unwrap();
    let delivered = |request: reqwest::RequestBuilder| {
        let request = request.header("svix-id", id).header("svix-timestamp", now.to_string());
        request.header("svix-signature", &signature).body(body.clone())
    };
    let (keys, webhooks) = (format!("/v1/accounts/{account}/api-keys"), "/webhooks/clerk");
    let made = portal.send(named(portal.request(Method::POST, &keys))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(portal.send(delivered(portal.request(Method::POST, webhooks))).await.text_at("/status"), "applied");
    let restarted = portal.replica();
    for server in [&other, &restarted] {
        let again = portal.send(named(server.request(Method::POST, &keys))).await;
        again.assert_problem(409, "secret_already_issued");
        assert_eq!(again.json()["key_id"], made.json()["api_key"]["id"]);
        let again = portal.send(delivered(server.request(Method::POST, webhooks))).await;
        assert_eq!(again.text_at("/status"), "repeated");
    }
    assert_eq!(portal.database.count("SELECT count(*) FROM api_keys").await.unwrap(), 1);
}

/// One question about a key, by one service.
struct Question<'a> {
    token: &'a str,
    body: Value,
}

async fn ask(portal: &Portal, question: &Question<'_>) -> (u16, Value) {
    let answer: Answer = portal.post("/v1/keys/verify", question.token, &question.body).await;
    (answer.status.as_u16(), answer.without_request_id())
}

/// CVE-2025-49011, CVE-2025-65111, CVE-2026-55866 (a cached check answered for other inputs), of keys and services: whatever is asked at the same
/// time, of whatever is remembered, each question gets what it gets alone.
#[tokio::test(flavor = "multi_thread")]
async fn t30_keys_that_services_ask_about_together_are_judged_as_if_each_was_asked_about_alone() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let keys_of = format!("/v1/accounts/{acme}/api-keys");
    let make = async |body: Value| {
        let made = portal.post(&keys_of, &portal.token("alice"), &body).await;
        (made.text_at("/api_key/id"), made.text_at("/secret"))
    };
    let (_, plain) = make(json!({ "name": "plain" })).await;
    let (_, bound) = make(json!({ "name": "bound", "models": ["m-*"], "networks": ["192.0.2.0/24"] })).await;
    let (disabled_id, disabled) = make(json!({ "name": "disabled" })).await;
    let (revoked_id, revoked) = make(json!({ "name": "revoked" })).await;
    portal.post(&format!("/v1/api-keys/{disabled_id}/disable"), &portal.token("alice"), &json!({})).await;
    portal.post(&format!("/v1/api-keys/{revoked_id}/revoke"), &portal.token("alice"), &json!({})).await;
    let elsewhere = Portal::start().await;
    let (gateway, foreign) = (portal.gateway("gateway").await, elsewhere.gateway("elsewhere").await);
    let narrow = portal.service_token(&["create", "--name", "narrow", "--scope", "metrics:read"]).await;
    let ended = portal.gateway("ended").await;
    portal.service_token(&["revoke", "--name", "ended"]).await;
    portal.hearing().await;
    let uses = [json!({}), json!({ "model": "m-1", "ip": "192.0.2.1" }), json!({ "model": "x", "ip": "192.0.2.1" })];
    let mut questions = Vec::new();
    for token in [&gateway, &narrow, &ended, &foreign] {
        for key in [&plain, &bound, &disabled, &revoked, &"noise".to_owned()] {
            for wanted in &uses {
                let mut body = wanted.clone();
                body["key"] = json!(key);
                questions.push(Question { token, body });
            }
        }
    }
    let mut alone = Vec::new();
    for question in &questions {
        alone.push(ask(&portal, question).await);
    }
    let different: BTreeSet<_> = alone.iter().map(|(status, body)| format!("{status} {}", body["code"])).collect();
    assert!(different.len() >= 8, "the questions differ in what they get: {different:?}");
    // Each in another order, with strides that meet every question once.
    for stride in [1, 7, 11, 13, 17, 19, 23, 29] {
        let order: Vec<_> = (0..questions.len()).map(|place| place * stride % questions.len()).collect();
        let answers = join_all(order.iter().map(|place| ask(&portal, &questions[*place]))).await;
        for (place, answer) in order.iter().zip(answers) {
            assert_eq!(answer, alone[*place], "{} in strides of {stride}", questions[*place].body);
        }
    }
}
