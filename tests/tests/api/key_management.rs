//! What owners do with keys, and what gateways hear of it.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use portal_dev_idp::Person;
use portal_testkit::FixedClock;
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const A_MOMENT: Duration = Duration::from_micros(1);

/// The program with a personal account, somebody's whose name is given, and a gateway.
struct Keys {
    portal: Portal,
    account: String,
    gateway: String,
}

impl Keys {
    async fn start(builder: PortalBuilder) -> Self {
        let portal = builder.start().await;
        let account = portal.personal_account("stranger").await;
        let gateway = portal.gateway("gateway").await;
        Self { portal, account, gateway }
    }

    /// With a clock that stands still.
    async fn timed() -> (Self, Arc<FixedClock>) {
        let clock = Arc::new(FixedClock::default());
        (Self::start(PortalBuilder::default().clock(&clock)).await, clock)
    }

    fn list(&self) -> String {
        format!("/v1/accounts/{}/api-keys", self.account)
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.portal.post(path, &self.portal.token("stranger"), body).await
    }

    async fn create(&self, body: &Value) -> (Value, String) {
        let created = self.post(&self.list(), body).await;
        assert_eq!(created.status, 201, "{created:?}");
        (created.json()["api_key"].clone(), created.text_at("/secret"))
    }

    /// A key named `test`: its path, and its text.
    async fn key(&self) -> (String, String) {
        let (key, secret) = self.create(&json!({ "name": "test" })).await;
        (path_of(&key), secret)
    }

    async fn act(&self, key: &str, what: &str) -> Answer {
        self.post(&format!("{key}/{what}"), &json!({})).await
    }

    async fn patch(&self, key: &str, body: &Value) -> Answer {
        self.portal.patch(key, &self.portal.token("stranger"), body).await
    }

    async fn read(&self, key: &str) -> Value {
        self.portal.get(key, &self.portal.token("stranger")).await.json()
    }

    /// The code of the decision.
    async fn ask(&self, question: &Value) -> String {
        self.portal.post("/v1/keys/verify", &self.gateway, question).await.text_at("/code")
    }

    async fn verify(&self, secret: &str) -> String {
        self.ask(&json!({ "key": secret })).await
    }
}

fn path_of(key: &Value) -> String {
    format!("/v1/api-keys/{}", key["id"].as_str().expect("an id"))
}

fn restrictions() -> Value {
    json!({
        "scopes": ["usage:read", "inference", "inference"],
        "models": ["llama-3.1-8b", "mixtral-*"],
        "networks": ["192.0.2.9/24", "2001:db8::1", "::ffff:198.51.100.7"],
        "rate_limits": [{ "id": "per-minute", "limit": 600, "window_seconds": 60 }],
        "expires_at": "2026-01-01T02:00:00+01:00",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_to_what_it_was_made_with() {
    let (keys, clock) = Keys::timed().await;
    let mut body = restrictions();
    body["name"] = json!("edge");
    let (key, secret) = keys.create(&body).await;
    let expected = [
        ("scopes", json!(["inference", "usage:read"])),
        ("models", json!(["llama-3.1-8b", "mixtral-*"])),
        ("networks", json!(["192.0.2.0/24", "198.51.100.7/32", "2001:db8::1/128"])),
        ("rate_limits", json!([{ "id": "per-minute", "limit": 600, "window_seconds": 60 }])),
        ("expires_at", json!("2026-01-01T01:00:00Z")),
        ("state", json!("active")),
        ("kids", json!([{ "kid": key["kid"], "created_at": "2026-01-01T00:00:00Z" }])),
    ];
    for (member, value) in expected {
        assert_eq!(key[member], value, "{member}");
    }
    assert_eq!(key.get("disabled_at").or(key.get("revoked_at")), None);
    assert_eq!(keys.read(&path_of(&key)).await, key, "what is read is what was made");
    assert_eq!(keys.read(&keys.list()).await["data"], json!([key]));

    let ask = async |model: &str, ip: &str| keys.ask(&json!({ "key": secret, "model": model, "ip": ip })).await;
    assert_eq!(ask("mixtral-8x7b", "192.0.2.77").await, "valid");
    assert_eq!(ask("llama-3.1-8b", "2001:db8::1").await, "valid");
    assert_eq!(ask("llama-3.1-70b", "192.0.2.77").await, "model_not_allowed");
    assert_eq!(ask("mixtral-8x7b", "192.0.3.77").await, "ip_not_allowed");
    clock.advance(HOUR.saturating_sub(A_MOMENT));
    assert_eq!(ask("mixtral-8x7b", "192.0.2.77").await, "valid");
    clock.advance(A_MOMENT);
    assert_eq!(ask("mixtral-8x7b", "192.0.2.77").await, "key_expired");
    assert_eq!(keys.read(&path_of(&key)).await["state"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_it_names_and_null_takes_it_back() {
    let (keys, _clock) = Keys::timed().await;
    let (key, secret) = keys.create(&json!({ "name": "plain" })).await;
    let path = path_of(&key);
    let restricted = keys.patch(&path, &restrictions()).await.json();
    assert_eq!((&restricted["name"], &restricted["revision"]), (&json!("plain"), &json!(2)));
    assert_eq!(keys.ask(&json!({ "key": secret, "model": "other", "ip": "192.0.2.1" })).await, "model_not_allowed");

    // One member after the other goes back; the others stay as they are.
    let mut expected = restricted.clone();
    for (revision, member) in (3..).zip(["scopes", "models", "networks", "rate_limits", "expires_at"]) {
        let changed = keys.patch(&path, &json!({ member: null })).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        match key.get(member) {
            Some(first) => expected[member] = first.clone(),
            None => drop(expected.as_object_mut().unwrap().remove(member)),
        }
        expected["revision"] = json!(revision);
        assert_eq!(changed.json(), expected, "{member}");
    }
    assert_eq!(keys.ask(&json!({ "key": secret, "model": "other" })).await, "valid");

    let renamed = keys.patch(&path, &json!({ "name": "edge" })).await.json();
    assert_eq!((&renamed["name"], &renamed["revision"]), (&json!("edge"), &json!(8)));
    for nothing in [json!({}), json!({ "name": "edge" }), json!({ "models": null })] {
        assert_eq!(keys.patch(&path, &nothing).await.json(), renamed, "{nothing} changes nothing");
    }
    let updates = "SELECT count(*) AS count FROM audit_events WHERE action = 'api_key.updated'";
    assert_eq!(keys.portal.database.count(updates).await.unwrap(), 7, "one record for each change");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_that_is_not_valid_is_named() {
    let (keys, _clock) = Keys::timed().await;
    let (path, _) = keys.key().await;
    let limit = |id: &str, limit: u64, seconds: u64| json!({ "id": id, "limit": limit, "window_seconds": seconds });
    let many = |count: u8, text: fn(u8) -> String| (0..count).map(text).collect::<Vec<_>>();
    let limits = (0..9).map(|number| limit(&format!("limit-{number}"), 1, 1)).collect::<Vec<_>>();
    for (field, code, values) in [
        ("name", "invalid_name", vec![json!(""), json!(" x"), json!("x".repeat(101))]),
        ("scopes", "invalid_scopes", vec![json!([]), json!(["keys:write"]), json!(["inference", "*"])]),
        (
            "models",
            "invalid_models",
            vec![json!([""]), json!(["a b"]), json!(["a*b"]), json!(many(101, |number| format!("model-{number}")))],
        ),
        (
            "networks",
            "invalid_networks",
            vec![
                json!(["example.com"]),
                json!(["10.0.0.0/33"]),
                json!(["192.0.2.1", "everywhere"]),
                json!(many(51, |number| format!("192.0.2.{number}"))),
            ],
        ),
        (
            "rate_limits",
            "invalid_rate_limits",
            vec![
                json!([limit("Per Minute", 1, 1)]),
                json!([limit("a", 0, 1)]),
                json!([limit("a", 1_000_001, 1)]),
                json!([limit("a", 1, 0)]),
                json!([limit("a", 1, 86_401)]),
                json!([limit("a", 1, 1), limit("a", 2, 1)]),
                json!(limits),
            ],
        ),
        (
            "expires_at",
            "invalid_expiry",
            vec![json!(""), json!("tomorrow"), json!("2026-02-03"), json!("2026-01-01T00:00:00Z")],
        ),
    ] {
        for value in values {
            let patched = keys.patch(&path, &json!({ field: value })).await;
            let mut body = json!({ "name": "x" });
            body[field] = value.clone();
            for refused in [keys.post(&keys.list(), &body).await, patched] {
                refused.assert_problem(422, code);
                assert_eq!(refused.text_at("/field"), field, "{value}: {refused:?}");
                assert!(refused.json()["detail"].is_string(), "{refused:?}");
            }
        }
    }
    keys.patch(&path, &json!({ "name": null })).await.assert_problem(422, "invalid_name");
    for shape in [
        json!({ "scopes": "inference" }),
        json!({ "networks": [1] }),
        json!({ "rate_limits": [["a", 1, 1]] }),
        json!({ "rate_limits": [{ "id": "a", "limit": 1 }] }),
        json!({ "rate_limits": [{ "id": "a", "limit": 1, "window_seconds": 1, "key_id": "x" }] }),
        json!({ "rate_limits": [{ "id": "a", "limit": -1, "window_seconds": 1 }] }),
        json!({ "expires_at": 1_800_000_000 }),
        json!({ "environment": "test" }),
        json!({ "disabled_at": null }),
    ] {
        keys.patch(&path, &shape).await.assert_problem(422, "invalid_body");
    }
    let rows = "SELECT count(*) AS count FROM api_keys WHERE revision = 1";
    assert_eq!(keys.portal.database.count(rows).await.unwrap(), 1, "nothing was made or changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_key_is_refused_until_it_is_enabled() {
    let (keys, _clock) = Keys::timed().await;
    let (path, secret) = keys.key().await;
    for _ in 0..2 {
        let stopped = keys.act(&path, "disable").await.json();
        assert_eq!((&stopped["state"], &stopped["revision"]), (&json!("disabled"), &json!(2)));
        assert_eq!(stopped["disabled_at"], "2026-01-01T00:00:00Z");
        assert_eq!(keys.verify(&secret).await, "key_disabled");
    }
    // What is stopped can be changed and renewed, and stays stopped.
    assert_eq!(keys.patch(&path, &json!({ "name": "resting" })).await.text_at("/state"), "disabled");
    let renewed = keys.act(&path, "rotate").await;
    assert_eq!(renewed.text_at("/api_key/state"), "disabled");
    assert_eq!(keys.verify(&renewed.text_at("/secret")).await, "key_disabled");
    for _ in 0..2 {
        let going = keys.act(&path, "enable").await.json();
        assert_eq!((&going["state"], &going["revision"]), (&json!("active"), &json!(5)));
        assert_eq!(going.get("disabled_at"), None);
        assert_eq!(keys.verify(&secret).await, "valid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_over_takes_no_change() {
    let (keys, clock) = Keys::timed().await;
    let (revoked, _) = keys.key().await;
    assert_eq!(keys.act(&revoked, "revoke").await.json()["kids"], json!([]));
    let (expired, _) = keys.create(&json!({ "name": "short", "expires_at": "2026-01-01T01:00:00Z" })).await;
    let expired = path_of(&expired);
    clock.advance(HOUR);
    for (path, state) in [(&revoked, "revoked"), (&expired, "expired")] {
        let before = keys.read(path).await;
        assert_eq!(before["state"], state);
        for what in ["disable", "enable", "rotate"] {
            keys.act(path, what).await.assert_problem(409, "key_is_over");
        }
        for change in [json!({ "name": "x" }), json!({ "expires_at": null })] {
            keys.patch(path, &change).await.assert_problem(409, "key_is_over");
        }
        assert_eq!(keys.read(path).await, before);
    }
    assert_eq!(keys.act(&expired, "revoke").await.text_at("/state"), "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_verify_during_the_overlap_and_the_old_one_dies_at_its_end() {
    let (keys, clock) = Keys::timed().await;
    let (path, first) = keys.key().await;
    let before = keys.read(&path).await;
    clock.advance(HOUR);
    let rotated = keys.act(&path, "rotate").await;
    let (after, second) = (rotated.json()["api_key"].clone(), rotated.text_at("/secret"));
    assert_ne!(first, second);
    assert_eq!((&after["id"], &after["created_at"]), (&before["id"], &before["created_at"]), "it is the same key");
    let kids = json!([
        { "kid": after["kid"], "created_at": "2026-01-01T01:00:00Z" },
        { "kid": before["kid"], "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T01:00:00Z" },
    ]);
    assert_eq!(after["kids"], kids);
    for (later, old) in [(Duration::ZERO, "valid"), (DAY.saturating_sub(A_MOMENT), "valid"), (A_MOMENT, "key_expired")]
    {
        clock.advance(later);
        assert_eq!((keys.verify(&first).await.as_str(), keys.verify(&second).await.as_str()), (old, "valid"));
    }
    assert_eq!(keys.read(&path).await["kids"], json!([kids[0]]));
    assert!(!keys.read(&path).await.to_string().contains(&second[22..]), "nobody sees it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_is_nothing_to_thirty_days() {
    let (keys, _clock) = Keys::timed().await;
    let (path, first) = keys.key().await;
    let rotate =
        async |overlap: i64| keys.post(&format!("{path}/rotate"), &json!({ "overlap_seconds": overlap })).await;
    let refused = rotate(2_592_001).await;
    refused.assert_problem(422, "invalid_overlap");
    assert_eq!(refused.text_at("/field"), "overlap_seconds");
    rotate(-1).await.assert_problem(422, "invalid_body");
    assert_eq!(keys.read(&path).await["revision"], 1);

    let second = rotate(2_592_000).await;
    assert_eq!(second.text_at("/api_key/kids/1/expires_at"), "2026-01-31T00:00:00Z");
    assert_eq!(keys.verify(&first).await, "valid");
    let third = rotate(3_600).await;
    assert_eq!(keys.verify(&first).await, "key_revoked", "never more than two");
    assert_eq!(keys.verify(&second.text_at("/secret")).await, "valid");
    let fourth = rotate(0).await;
    assert_eq!(keys.verify(&third.text_at("/secret")).await, "key_expired");
    assert_eq!(keys.verify(&fourth.text_at("/secret")).await, "valid");
    assert_eq!(fourth.json()["api_key"]["kids"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_outlives_the_membership_of_its_maker() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let acme = portal.acme().await;
    let gateway = portal.gateway("gateway").await;
    let (key, secret) = portal.create_key("edith", &acme).await;
    let path = format!("/v1/api-keys/{key}");
    let maker = portal.get(&path, &portal.token("edith")).await.text_at("/created_by");
    portal.idp.add_person(Person { memberships: Vec::new(), ..portal.person("edith") });
    portal.idp.webhooks_settled().await;
    for request in [
        portal.get(&path, &portal.token("edith")).await,
        portal.patch(&path, &portal.token("edith"), &json!({ "name": "mine" })).await,
        portal.post(&format!("{path}/rotate"), &portal.token("edith"), &json!({})).await,
        portal.post(&format!("{path}/disable"), &portal.token("edith"), &json!({})).await,
    ] {
        request.assert_problem(404, "not_found");
    }
    assert_eq!(portal.verify(&gateway, &secret).await.text_at("/code"), "valid");
    assert_eq!(portal.get(&path, &portal.token("adam")).await.text_at("/created_by"), maker);
    let rotated = portal.post(&format!("{path}/rotate"), &portal.token("adam"), &json!({})).await;
    assert_eq!(portal.verify(&gateway, &rotated.text_at("/secret")).await.text_at("/code"), "valid");
    assert_eq!(portal.post(&format!("{path}/revoke"), &portal.token("adam"), &json!({})).await.status, 200);
    assert_eq!(portal.verify(&gateway, &secret).await.text_at("/code"), "key_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_as_many_live_keys_as_the_setting_says() {
    let clock = Arc::new(FixedClock::default());
    let keys = Keys::start(PortalBuilder::default().clock(&clock).set("PORTAL_KEYS__MOST_PER_ACCOUNT", "2")).await;
    let create = async |body: &Value| keys.post(&keys.list(), body).await;
    let (stopped, _) = keys.key().await;
    let (short, _) = keys.create(&json!({ "name": "short", "expires_at": "2026-01-01T01:00:00Z" })).await;
    assert_eq!(keys.act(&stopped, "disable").await.status, 200);
    create(&json!({ "name": "x" })).await.assert_problem(409, "too_many_keys");
    assert_eq!(keys.act(&path_of(&short), "rotate").await.status, 200, "no key more");

    clock.advance(HOUR);
    let (third, _) = keys.key().await;
    create(&json!({ "name": "x" })).await.assert_problem(409, "too_many_keys");
    assert_eq!(keys.act(&third, "revoke").await.status, 200);
    assert_eq!(create(&json!({ "name": "x" })).await.status, 201);
    // Another account has its own.
    let other = keys.portal.personal_account("alice").await;
    keys.portal.create_key("alice", &other).await;
}
