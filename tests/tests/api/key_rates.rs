//! How often keys may be used.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use futures_util::future::join_all;
use portal_testkit::FixedClock;
use serde_json::{Value, json};

/// A program whose clock stands still, with a key that has limits, and a gateway.
struct Counted {
    portal: Portal,
    clock: Arc<FixedClock>,
    gateway: String,
    key: String,
    secret: String,
}

/// `id`, `limit` and `window_seconds` of each.
fn limits(of: &[(&str, u32, u32)]) -> Value {
    of.iter().map(|(id, limit, window)| json!({ "id": id, "limit": limit, "window_seconds": window })).collect()
}

impl Counted {
    async fn start(of: &[(&str, u32, u32)]) -> Self {
        let clock = Arc::new(FixedClock::default());
        let portal = PortalBuilder::default().clock(&clock).start().await;
        let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
        let body = json!({ "name": "counted", "rate_limits": limits(of) });
        let created = portal.post(&path, &portal.token("stranger"), &body).await;
        let gateway = portal.gateway("gateway").await;
        let (key, secret) = (created.text_at("/api_key/id"), created.text_at("/secret"));
        Self { portal, clock, gateway, key, secret }
    }

    async fn verify(&self) -> Answer {
        self.portal.verify(&self.gateway, &self.secret).await
    }

    async fn change(&self, suffix: &str, body: Value) -> Answer {
        let (path, token) = (format!("/v1/api-keys/{}{suffix}", self.key), self.portal.token("stranger"));
        if suffix.is_empty() {
            self.portal.patch(&path, &token, &body).await
        } else {
            self.portal.post(&path, &token, &body).await
        }
    }

    /// What the holder is told of the limits, as it stands.
    async fn remaining(&self) -> Value {
        let held = self.portal.get("/v1/key", &self.secret).await.json();
        held["rate_limits"].as_array().unwrap().iter().map(|limit| limit["remaining"].clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_requests_pass_as_the_limits_say_and_come_back_with_time() {
    let counted = Counted::start(&[("minute", 4, 60), ("day", 100, 86_400)]).await;
    for remaining in [3, 2, 1, 0] {
        let answer = counted.verify().await.json();
        assert_eq!((&answer["decision"], &answer["code"]), (&json!("allow"), &json!("valid")));
        assert_eq!(answer["limits"][0]["remaining"], remaining);
        assert_eq!(answer["cacheable_for_ms"], 0);
        assert_eq!(answer["retry_after_seconds"], Value::Null);
    }
    let now = counted.portal.now();
    for _ in 0..10 {
        let refused = counted.verify().await.json();
        assert_eq!((&refused["decision"], &refused["code"]), (&json!("deny"), &json!("rate_limited")));
        assert_eq!(refused["key_id"], json!(counted.key));
        assert_eq!((&refused["retry_after_seconds"], &refused["cacheable_for_ms"]), (&json!(15), &json!(0)));
        let told = json!([
            { "id": "minute", "limit": 4, "window_seconds": 60, "remaining": 0,
                "reset_at": now.plus(Duration::from_secs(15)).to_string() },
            { "id": "day", "limit": 100, "window_seconds": 86_400, "remaining": 96,
                "reset_at": now.plus(Duration::from_secs(864)).to_string() },
        ]);
        assert_eq!(refused["limits"], told, "who is refused spends nothing");
    }
    counted.clock.advance(Duration::from_millis(14_999));
    assert_eq!(counted.verify().await.json()["code"], "rate_limited");
    counted.clock.advance(Duration::from_millis(1));
    assert_eq!(counted.verify().await.json()["code"], "valid");
    assert_eq!(counted.verify().await.json()["code"], "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_requests_at_the_same_time_share_exactly_one_limit() {
    let counted = Counted::start(&[("a", 50, 3_600)]).await;
    let batch = json!({ "keys": vec![json!({ "key": counted.secret }); 7] });
    let batches = (0..10).map(|_| counted.portal.post("/v1/keys/verify-batch", &counted.gateway, &batch));
    let (batches, single) = tokio::join!(join_all(batches), join_all((0..20).map(|_| counted.verify())));
    let mut codes: Vec<Value> = single.iter().map(|answer| answer.json()["code"].clone()).collect();
    for answer in batches {
        let results = answer.json()["results"].as_array().unwrap().clone();
        codes.extend(results.into_iter().map(|one| one["code"].clone()));
    }
    let passed = codes.iter().filter(|code| **code == "valid").count();
    assert_eq!((codes.len(), passed), (90, 50), "from memory and not, in batches and one by one");
    assert!(codes.iter().all(|code| *code == "valid" || *code == "rate_limited"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_charged_by_a_claimed_key_nor_by_what_another_check_refuses() {
    let counted = Counted::start(&[("a", 50, 3_600)]).await;
    // Whoever knows the public part can make no text that counts: a key of another server has a right checksum and no record here.
    let elsewhere = Portal::start().await;
    let (_, foreign) = elsewhere.create_key("stranger", &elsewhere.personal_account("stranger").await).await;
    let claimed = format!("{}{}", &counted.secret[..22], &foreign[22..]);
    for _ in 0..5 {
        for text in [&claimed, &foreign] {
            let refused = counted.portal.verify(&counted.gateway, text).await.json();
            assert_eq!((&refused["code"], &refused["limits"]), (&json!("invalid_api_key"), &Value::Null));
        }
        let wrong_scope = json!({ "key": counted.secret, "scope": "usage:read" });
        let refused = counted.portal.post("/v1/keys/verify", &counted.gateway, &wrong_scope).await.json();
        assert_eq!((&refused["code"], &refused["limits"]), (&json!("scope_missing"), &Value::Null));
        let explained = counted.change("/explain", json!({})).await.json();
        assert_eq!((&explained["code"], &explained["checks"][6]["outcome"]), (&json!("valid"), &json!("passed")));
        assert_eq!(counted.remaining().await, json!([50]), "nor by looking");
    }
    // From now on the presented secret is a wrong one.
    counted.portal.database.execute("UPDATE api_key_secrets SET digest = sha256(digest)").await.unwrap();
    let rotated = counted.change("/rotate", json!({ "overlap_seconds": 3_600 })).await.text_at("/secret");
    let is_wrong = async || counted.verify().await.json()["code"] == "invalid_api_key";
    e2e::within(Duration::from_secs(5), "the server hears of it", is_wrong).await;
    let left =
        async || counted.portal.verify(&counted.gateway, &rotated).await.json()["limits"][0]["remaining"].clone();
    let before = left().await.as_u64().unwrap();
    for _ in 0..5 {
        assert_eq!(counted.verify().await.json()["limits"], Value::Null);
    }
    assert_eq!(left().await, before - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_keeps_the_count_and_so_does_a_change_of_another_limit() {
    let counted = Counted::start(&[("a", 3, 3_600), ("b", 10, 3_600)]).await;
    for _ in 0..2 {
        counted.verify().await;
    }
    let rotated = counted.change("/rotate", json!({ "overlap_seconds": 3_600 })).await.text_at("/secret");
    assert_eq!(counted.remaining().await, json!([1, 8]));
    let by_new = counted.portal.verify(&counted.gateway, &rotated).await.json();
    assert_eq!((&by_new["code"], &by_new["limits"][0]["remaining"]), (&json!("valid"), &json!(0)));
    assert_eq!(counted.verify().await.json()["code"], "rate_limited", "the text before has no count of its own");
    let explained = counted.change("/explain", json!({})).await.json();
    let rate = json!({ "check": "rate", "outcome": "failed" });
    assert_eq!((&explained["code"], &explained["checks"][6]), (&json!("rate_limited"), &rate));

    counted.change("", json!({ "rate_limits": limits(&[("b", 10, 3_600), ("a", 5, 3_600)]) })).await;
    let changed = async || counted.verify().await.json()["code"] == "valid";
    e2e::within(Duration::from_secs(5), "the server hears of the change", changed).await;
    assert_eq!(counted.remaining().await, json!([6, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_sees_what_remains_of_each_limit() {
    let counted = Counted::start(&[("a", 3, 60)]).await;
    let told = async || counted.portal.get("/v1/key", &counted.secret).await.json()["rate_limits"].clone();
    let state = |remaining: u32, seconds| {
        let reset_at = counted.portal.now().plus(Duration::from_secs(seconds)).to_string();
        json!([{ "id": "a", "limit": 3, "window_seconds": 60, "remaining": remaining, "reset_at": reset_at }])
    };
    assert_eq!(told().await, state(3, 0));
    for remaining in [2, 1, 0] {
        counted.verify().await;
        assert_eq!(told().await, state(remaining, 20));
    }
    counted.clock.advance(Duration::from_secs(5));
    assert_eq!(told().await, state(0, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_presents_keys_too_often_is_refused_by_address_before_anything_is_looked_up() {
    let clock = Arc::new(FixedClock::default());
    let settings = PortalBuilder::default().clock(&clock);
    let settings = settings.set("PORTAL_LIMITS__ADDRESS_READS_PER_MINUTE", "5");
    let portal = settings.set("PORTAL_LIMITS__ADDRESS_WRITES_PER_MINUTE", "5").start().await;
    let elsewhere = Portal::start().await;
    let (_, foreign) = elsewhere.create_key("stranger", &elsewhere.personal_account("stranger").await).await;
    for _ in 0..5 {
        portal.get("/v1/key", &foreign).await.assert_problem(401, "invalid_api_key");
        assert_eq!(portal.post("/v1/keys/self-revoke", &foreign, &json!({})).await.status, 202);
    }
    let before = portal.wired.store.checkouts();
    for _ in 0..5 {
        portal.get("/v1/key", &foreign).await.assert_problem(429, "rate_limited");
        portal.post("/v1/keys/self-revoke", &foreign, &json!({})).await.assert_problem(429, "rate_limited");
    }
    assert_eq!(portal.wired.store.checkouts(), before);
}

/// As many requests in turn as there are servers times so many; how many of them passed.
async fn passed(counted: &Counted, replica: &e2e::Replica, rounds: usize) -> usize {
    let mut passed = 0;
    for _ in 0..rounds {
        let asked = json!({ "key": counted.secret });
        let answers = [counted.verify().await, replica.post("/v1/keys/verify", &counted.gateway, &asked).await];
        passed += answers.iter().filter(|answer| answer.json()["code"] == "valid").count();
    }
    passed
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_a_limit_and_what_one_does_not_use_the_other_may() {
    let counted = Counted::start(&[("a", 41, 3_600)]).await;
    let replica = counted.portal.replica();
    let remaining = async || {
        let there = replica.get("/v1/key", &counted.secret).await.json()["rate_limits"][0]["remaining"].as_u64();
        (counted.remaining().await[0].as_u64().unwrap(), there.unwrap())
    };
    e2e::within(Duration::from_secs(10), "both know of each other", async || remaining().await == (21, 21)).await;
    let passed_at_once = passed(&counted, &replica, 41).await;
    assert!((41..=42).contains(&passed_at_once), "the limit, and one more for each further server: {passed_at_once}");

    // Half an hour gives half of the limit back. All of the demand is here.
    let here = async || counted.verify().await.json()["code"].clone();
    e2e::within(Duration::from_secs(20), "the share follows the demand", async || {
        here().await;
        let shares = "SELECT count(*) FROM rate_demands WHERE share < 70000";
        counted.portal.database.count(shares).await.unwrap() == 1
    })
    .await;
    // Told in one round, and taken in a later one.
    let rounds = "SELECT sum(round)::bigint AS count FROM replicas";
    let told = counted.portal.database.count(rounds).await.unwrap();
    let taken = async || {
        here().await;
        counted.portal.database.count(rounds).await.unwrap() >= told + 6
    };
    e2e::within(Duration::from_secs(20), "further rounds", taken).await;
    counted.clock.advance(Duration::from_mins(30));
    let mut back = 0;
    while here().await == "valid" {
        back += 1;
    }
    assert!((16..=22).contains(&back), "more than the half of it that both have alike: {back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_leaves_its_share_to_the_others() {
    let counted = Counted::start(&[("a", 40, 3_600)]).await;
    let replica = counted.portal.replica();
    let remaining = async || counted.remaining().await[0].as_u64().unwrap();
    e2e::within(Duration::from_secs(10), "it knows of the other", async || remaining().await == 20).await;
    drop(replica);
    let others = "SELECT count(*) FROM replicas";
    let is_gone = async || counted.portal.database.count(others).await.unwrap() == 1;
    e2e::within(Duration::from_secs(4), "the other leaves by itself", is_gone).await;
    e2e::within(Duration::from_secs(4), "all of it is here", async || remaining().await == 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_shows_with_the_key_and_only_what_was_allowed_is_one() {
    let counted = Counted::start(&[("a", 1, 3_600)]).await;
    let (portal, token) = (&counted.portal, counted.portal.token("stranger"));
    let path = format!("/v1/api-keys/{}", counted.key);
    let list = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let shown = async || {
        portal.wired.credentials.key_activity.write().await.unwrap();
        let (one, all) = (portal.get(&path, &token).await.json(), portal.get(&list, &token).await.json());
        assert_eq!(one["last_used_at"], all["data"][0]["last_used_at"]);
        one["last_used_at"].clone()
    };
    counted.change("", json!({ "name": "changed" })).await;
    counted.change("/explain", json!({})).await;
    portal.get("/v1/key", &counted.secret).await;
    let wrong_scope = json!({ "key": counted.secret, "scope": "usage:read" });
    portal.post("/v1/keys/verify", &counted.gateway, &wrong_scope).await;
    assert_eq!(shown().await, Value::Null, "none of it is a use");
    let used_at = portal.now();
    assert_eq!(counted.verify().await.json()["code"], "valid");
    counted.clock.advance(Duration::from_secs(5));
    assert_eq!(counted.verify().await.json()["code"], "rate_limited");
    counted.change("", json!({ "name": "changed again" })).await;
    assert_eq!(shown().await, json!(used_at.to_string()));
    let changed = counted.change("", json!({ "name": "and again" })).await.json();
    assert_eq!(changed["last_used_at"], json!(used_at.to_string()), "told with the answer to a change");
}
