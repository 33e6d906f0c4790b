//! Reports of published secrets: who is believed, and what becomes of what they found.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::{Answer, Portal, PortalBuilder};
use reqwest::Method;
use serde_json::{Value, json};

const KEY: &str = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a";
const PLACE: &str = "https://github.com/octocat/Hello-World/blob/1234/foo/bar.txt";

struct Partner(EcdsaKeyPair);

impl Partner {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    /// As it stands in the partner's list.
    fn public_key(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        STANDARD.encode(der.as_ref())
    }

    fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), body).unwrap().as_ref())
    }

    /// A program that knows the partner.
    async fn portal(&self) -> Portal {
        let setting = format!("PORTAL_SECRET_SCANNING__KEYS__{}", KEY.to_uppercase());
        PortalBuilder::default().set(&setting, self.public_key()).start().await
    }

    async fn report(&self, portal: &Portal, found: &Value) -> Answer {
        let body = found.to_string();
        send(portal, &body, KEY, &self.sign(body.as_bytes())).await
    }
}

async fn send(portal: &Portal, body: &str, key: &str, signature: &str) -> Answer {
    let request = portal.request(Method::POST, "/webhooks/secret-scanning");
    let request = request.header("Github-Public-Key-Identifier", key).header("Github-Public-Key-Signature", signature);
    portal.send(request.body(body.to_owned())).await
}

fn found(token: &str) -> Value {
    json!({ "token": token, "type": "portal_api_key", "url": PLACE, "source": "commit" })
}

fn labels(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let labels = answer.json();
    labels.as_array().unwrap().iter().map(|label| label["label"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_key_is_revoked_before_the_answer_and_its_owner_reads_where_it_was() {
    let partner = Partner::new();
    let portal = partner.portal().await;
    let acme = portal.acme().await;
    let (key, secret) = portal.create_key("adam", &acme).await;
    let (_, other) = portal.create_key("adam", &acme).await;
    let gateway = portal.gateway("gateway").await;
    assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "valid");
    let changed = format!("{}0", &secret[..secret.len() - 1]);
    let report = json!([found("noise"), found(&secret), found(&changed), found(&secret)]);
    let answer = partner.report(&portal, &report).await;
    assert_eq!(labels(&answer), ["false_positive", "true_positive", "false_positive", "true_positive"]);
    // Computed with: printf noise | sha256sum
    let hash = "efe2a5c09e6d49d7eb735c9875f77404be5b887bb3f56378038968d4e3ff8198";
    let noise = json!({ "token_hash": hash, "token_type": "portal_api_key", "label": "false_positive" });
    assert_eq!(answer.json()[0], noise);
    assert!(!answer.text.contains(&secret), "the secret is told to nobody");
    assert_eq!(portal.verify(&gateway, &secret).await.json()["code"], "key_revoked");
    assert_eq!(portal.verify(&gateway, &other).await.json()["code"], "valid");

    assert_eq!(labels(&partner.report(&portal, &report).await), labels(&answer), "it comes again");
    let trail = portal.get(&format!("/v1/accounts/{acme}/audit-events"), &portal.token("alice")).await.json();
    let ends: Vec<_> =
        trail["data"].as_array().unwrap().iter().filter(|event| event["action"] == "api_key.revoked").collect();
    assert_eq!(ends.len(), 1, "{trail}");
    assert_eq!((&ends[0]["subject"], &ends[0]["reason"]), (&json!(key), &json!(format!("published commit {PLACE}"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_secret_that_has_ended_takes_its_key_with_it_no_more() {
    let partner = Partner::new();
    let portal = partner.portal().await;
    let account = portal.personal_account("stranger").await;
    let (key, first) = portal.create_key("stranger", &account).await;
    let path = format!("/v1/api-keys/{key}/rotate");
    let rotated = portal.post(&path, &portal.token("stranger"), &json!({ "overlap_seconds": 0 })).await;
    let gateway = portal.gateway("gateway").await;
    assert_eq!(labels(&partner.report(&portal, &json!([found(&first)])).await), ["true_positive"]);
    assert_eq!(portal.verify(&gateway, &rotated.text_at("/secret")).await.json()["code"], "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_is_known_for_one_and_goes_on() {
    let partner = Partner::new();
    let portal = partner.portal().await;
    let gateway = portal.gateway("gateway").await;
    assert_eq!(labels(&partner.report(&portal, &json!([found(&gateway)])).await), ["true_positive"]);
    assert_eq!(portal.verify(&gateway, "nonsense").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn t15_only_what_the_partner_signed_is_believed() {
    let (partner, stranger) = (Partner::new(), Partner::new());
    let portal = partner.portal().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let body = json!([found(&secret)]).to_string();
    let (good, forged) = (partner.sign(body.as_bytes()), stranger.sign(body.as_bytes()));
    let other_body = partner.sign(format!("{body} ").as_bytes());
    for (key, signature) in
        [(KEY, &*forged), (KEY, &other_body), (KEY, ""), (KEY, "AAAA"), ("another", &good), ("", &good)]
    {
        send(&portal, &body, key, signature).await.assert_problem(400, "invalid_webhook");
    }
    let bare = portal.request(Method::POST, "/webhooks/secret-scanning").body(body.clone());
    portal.send(bare).await.assert_problem(400, "invalid_webhook");
    let live = "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL";
    assert_eq!(portal.database.count(live).await.unwrap(), 1);
    assert_eq!(labels(&send(&portal, &body, KEY, &good).await), ["true_positive"]);
    let without = Portal::start().await;
    send(&without, &body, KEY, &good).await.assert_problem(400, "invalid_webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_report_or_too_much_of_one_is_refused() {
    let partner = Partner::new();
    let portal = partner.portal().await;
    for body in [json!({}), json!([1]), json!([{ "type": "x" }]), json!([{ "token": 1, "type": "x" }])] {
        partner.report(&portal, &body).await.assert_problem(422, "invalid_body");
    }
    let most = vec![found("noise"); 1_000];
    assert_eq!(labels(&partner.report(&portal, &json!(most)).await).len(), 1_000);
    let more = vec![found("noise"); 1_001];
    partner.report(&portal, &json!(more)).await.assert_problem(422, "too_many_secrets");
    let large = json!([found(&"x".repeat(1024 * 1024))]);
    partner.report(&portal, &large).await.assert_problem(413, "body_too_large");
    let unknown = json!([{ "token": "noise", "type": "x", "more": [1] }]);
    assert_eq!(labels(&partner.report(&portal, &unknown).await), ["false_positive"]);
    assert_eq!(labels(&partner.report(&portal, &json!([])).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_asks_for_another_attempt() {
    let partner = Partner::new();
    let portal = partner.portal().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    portal.database.refuse_connections(true).await.unwrap();
    partner.report(&portal, &json!([found(&secret)])).await.assert_problem(503, "unavailable");
    portal.database.refuse_connections(false).await.unwrap();
    assert_eq!(labels(&partner.report(&portal, &json!([found(&secret)])).await), ["true_positive"]);
}
