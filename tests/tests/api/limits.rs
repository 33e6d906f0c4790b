//! How many requests a person and an address may make.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use futures_util::future::join_all;
use portal_testkit::FixedClock;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// A program whose clock stands still, so that nothing comes back meanwhile.
async fn limited(limits: &[(&str, &str)]) -> (Portal, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::default());
    let builder = limits.iter().fold(PortalBuilder::default().clock(&clock), |builder, (name, value)| {
        let name = if name.starts_with("HTTP") { format!("PORTAL_{name}") } else { format!("PORTAL_LIMITS__{name}") };
        builder.set(&name, *value)
    });
    (builder.start().await, clock)
}

#[track_caller]
fn assert_limited(answer: &Answer, seconds: u32) {
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), seconds.to_string(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_429_with_all_the_headers_until_time_has_passed() {
    let (portal, clock) = limited(&[("USER_WRITES_PER_MINUTE", "3"), ("ADDRESS_WRITES_PER_MINUTE", "60")]).await;
    let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let ask = async || portal.post(&path, &portal.token("stranger"), &json!({ "name": "x" })).await;
    let policy = "\"address-write\";q=60;w=60, \"user-write\";q=3;w=60";
    for (address, user) in [(59, 2), (58, 1), (57, 0)] {
        let made = ask().await;
        assert_eq!(made.status, 201);
        assert_eq!(made.header("ratelimit-policy"), policy);
        assert_eq!(
            made.header("ratelimit"),
            format!("\"address-write\";r={address};t=1, \"user-write\";r={user};t=20")
        );
        assert_eq!(made.header("retry-after"), "");
    }
    let refused = ask().await;
    assert_limited(&refused, 20);
    assert_eq!(refused.json()["violated-policies"], json!(["user-write"]));
    assert_eq!(refused.header("ratelimit-policy"), policy);
    assert_eq!(refused.header("ratelimit"), "\"address-write\";r=56;t=1, \"user-write\";r=0;t=20");
    let made = portal.database.count("SELECT count(*) AS count FROM api_keys").await.unwrap();
    assert_eq!(made, 3, "a refused request does nothing");
    assert_eq!(portal.get("/v1/me", &portal.token("stranger")).await.status, 200, "reading is counted apart");

    clock.advance(Duration::from_secs(19));
    assert_limited(&ask().await, 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask().await.status, 201);
    assert_limited(&ask().await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_counted_whichever_session_and_token_and_nobody_else_is() {
    let (portal, _) = limited(&[("USER_READS_PER_MINUTE", "5")]).await;
    let other = portal.idp.add_session(&portal.person("alice").user_id).unwrap().id;
    let tokens = [portal.token("alice"), portal.idp.mint().encode(&portal.token_spec("alice").claim("sid", other))];
    for number in 0..5 {
        let answer = portal.get("/v1/me", &tokens[number % 2]).await;
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
    }
    for token in &tokens {
        assert_limited(&portal.get("/v1/me", token).await, 12);
        assert_limited(&portal.get("/v1/me/accounts", token).await, 12);
    }
    assert_eq!(portal.get("/v1/me", &portal.token("stranger")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_counted_for_what_somebody_claims() {
    let (portal, _) = limited(&[("USER_READS_PER_MINUTE", "2")]).await;
    let forged = portal.idp.mint().encode(&portal.token_spec("alice").signed_by(e2e::FOREIGN_KEY.clone()));
    for _ in 0..10 {
        let refused = portal.get("/v1/me", &forged).await;
        refused.assert_problem(401, "unauthenticated");
        assert!(!refused.header("ratelimit").contains("user"), "{refused:?}");
    }
    let own = portal.get("/v1/me", &portal.token("alice")).await;
    assert!(own.header("ratelimit").ends_with("\"user-read\";r=1;t=30"), "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_counted_before_anything_is_believed() {
    let (portal, _) = limited(&[("ADDRESS_READS_PER_MINUTE", "6")]).await;
    for token in ["nonsense", "other nonsense"] {
        portal.get("/v1/me", token).await.assert_problem(401, "unauthenticated");
    }
    // What is not there, and a method that is not, are asked for as well.
    portal.get("/v1/nothing", "nonsense").await.assert_problem(404, "not_found");
    assert_eq!(portal.send(portal.request(Method::GET, "/v1/auth/status")).await.status, 200);
    portal.get("/v1/auth/sign-out", "nonsense").await.assert_problem(405, "method_not_allowed");
    portal.get("/v1/me", "nonsense").await.assert_problem(401, "unauthenticated");
    let checks = portal.wired.authenticator.stats().signature_checks;
    for path in ["/v1/me", "/v1/nothing", "/v1/auth/status", "/v1/auth/sign-out"] {
        assert_limited(&portal.get(path, &portal.token("alice")).await, 10);
    }
    assert_eq!(portal.wired.authenticator.stats().signature_checks, checks, "no token was looked at");
}

/// The address that the proxy names, and maybe others that the client wrote before.
async fn from(portal: &Portal, forwarded: &str) -> Answer {
    portal.send(portal.request(Method::GET, "/v1/auth/status").header("X-Forwarded-For", forwarded)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_peer_has_one_address_whatever_it_writes() {
    let (portal, _) = limited(&[("ADDRESS_READS_PER_MINUTE", "3")]).await;
    for forwarded in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
        assert_eq!(from(&portal, forwarded).await.status, 200);
    }
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X_Forwarded_For"]
    {
        let request = portal.request(Method::GET, "/v1/auth/status").header(header, "198.51.100.9");
        assert_limited(&portal.send(request).await, 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_a_network_of_64_bits_is_one_address() {
    let limits = [("ADDRESS_READS_PER_MINUTE", "2"), ("HTTP__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")];
    let (portal, _) = limited(&limits).await;
    for (same, other) in [
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:DB8:1:2:0:0:0:7"], "2001:db8:1:3::1"),
        (["198.51.100.7", "::ffff:198.51.100.7", "203.0.113.5, 198.51.100.7, 10.1.1.1"], "198.51.100.8"),
    ] {
        for forwarded in &same[..2] {
            assert_eq!(from(&portal, forwarded).await.status, 200, "{forwarded}");
        }
        assert_limited(&from(&portal, same[2]).await, 30);
        assert_eq!(from(&portal, other).await.status, 200, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_the_provider_has_a_limit_of_its_own() {
    let (portal, _) = limited(&[("USER_PROVIDER_CALLS_PER_MINUTE", "2")]).await;
    let token = portal.token("alice");
    for _ in 0..2 {
        assert_eq!(portal.get("/v1/me/sessions", &token).await.status, 200);
    }
    let account = portal.personal_account("alice").await;
    let requests: [RequestBuilder; 2] = [
        portal.request(Method::GET, "/v1/me/sessions"),
        portal.request(Method::POST, &format!("/v1/accounts/{account}/invitations/orginv_nothing/revoke")),
    ];
    for request in requests {
        let refused = portal.send(request.bearer_auth(&token)).await;
        assert_limited(&refused, 30);
        assert_eq!(refused.json()["violated-policies"], json!(["user-provider"]));
    }
    // Whoever uses it up, with a stolen session perhaps, keeps nobody from ending that.
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    let signed_out = portal.post("/v1/auth/sign-out?everywhere=true", &token, &json!({})).await;
    assert_eq!(signed_out.status, 200, "{signed_out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_limited_and_say_so_as_pages() {
    let (portal, _) = limited(&[("ADDRESS_READS_PER_MINUTE", "2")]).await;
    for _ in 0..2 {
        assert_eq!(portal.send(portal.request(Method::GET, "/sign-in")).await.status, 200);
    }
    for path in ["/sign-in", "/portal"] {
        let refused = portal.send(portal.request(Method::GET, path)).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"), "{refused:?}");
        assert!(refused.header("content-type").starts_with("text/html"), "{refused:?}");
        assert!(refused.text.contains("Too many requests"), "{refused:?}");
    }
    let style = portal.send(portal.request(Method::GET, "/assets/portal.css")).await;
    assert_eq!((style.status.as_u16(), style.header("ratelimit")), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_limit_meets_none_and_the_document_says_who_has_one() {
    let one = [
        ("USER_READS_PER_MINUTE", "1"),
        ("USER_WRITES_PER_MINUTE", "1"),
        ("USER_PROVIDER_CALLS_PER_MINUTE", "1"),
        ("ADDRESS_READS_PER_MINUTE", "1"),
        ("ADDRESS_WRITES_PER_MINUTE", "1"),
    ];
    let (portal, _) = limited(&one).await;
    let service = portal.service_token(&["create", "--name", "all", "--scope", "keys:verify,metrics:read"]).await;
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let (mut free, mut counted) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let requirement = operation["x-requirement"].as_str().unwrap();
            let limited =
                matches!(requirement, "session" | "api-key") || requirement == "public" && path.starts_with("/v1/");
            assert_eq!(operation["responses"].get("429").is_some(), limited, "{method} {path}");
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut statuses = Vec::new();
            for _ in 0..3 {
                let request = portal.request(method.clone(), path).bearer_auth(&service);
                let answer = portal.send(request.json(&json!({ "key": "nonsense" }))).await;
                assert_eq!(!answer.header("ratelimit").is_empty(), limited, "{path}: {answer:?}");
                assert_eq!(answer.headers.contains_key("ratelimit-policy"), limited, "{path}: {answer:?}");
                statuses.push(answer.status.as_u16());
            }
            assert_eq!(statuses[2] == 429, limited, "{path}: {statuses:?}");
            if limited { counted += 1 } else { free += 1 }
        }
    }
    assert!(free > 4 && counted > 10, "{free} {counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_zero_is_none() {
    let zero = [
        ("USER_READS_PER_MINUTE", "0"),
        ("USER_WRITES_PER_MINUTE", "0"),
        ("USER_PROVIDER_CALLS_PER_MINUTE", "0"),
        ("ADDRESS_READS_PER_MINUTE", "0"),
        ("ADDRESS_WRITES_PER_MINUTE", "0"),
    ];
    let (portal, _) = limited(&zero).await;
    let answer = portal.get("/v1/me", &portal.token("alice")).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("ratelimit")), "{answer:?}");
    let (half, _) = limited(&[("ADDRESS_READS_PER_MINUTE", "0")]).await;
    let answer = half.get("/v1/me", &half.token("alice")).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"user-read\";q=1000000;w=60");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_replica_counts_for_itself() {
    let (portal, _) = limited(&[("USER_READS_PER_MINUTE", "1")]).await;
    let (other, token) = (portal.replica(), portal.token("alice"));
    for answer in [portal.get("/v1/me", &token).await, other.get("/v1/me", &token).await] {
        assert_eq!(answer.status, 200);
    }
    for answer in [portal.get("/v1/me", &token).await, other.get("/v1/me", &token).await] {
        assert_limited(&answer, 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_remembered_are_bounded_in_number() {
    let (portal, _) = limited(&[("ENTRIES", "1000"), ("HTTP__TRUSTED_PROXIES", "127.0.0.1")]).await;
    for network in 0..30 {
        let answers = (0..50).map(|host| {
            let portal = &portal;
            async move { from(portal, &format!("2001:db8:{network:x}:{host:x}::1")).await.status }
        });
        assert!(join_all(answers).await.iter().all(|status| *status == 200));
    }
    let service = portal.service_token(&["create", "--name", "meter", "--scope", "metrics:read"]).await;
    let metrics = portal.get("/metrics", &service).await.text;
    let gauge = metrics.lines().find_map(|line| line.strip_prefix("portal_rate_limit_entries ")).unwrap();
    let remembered: u32 = gauge.parse().unwrap();
    assert!((500..=1_000).contains(&remembered), "{remembered} of 1,500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_elsewhere_can_read_where_it_stands() {
    let origin = "https://app.example.test";
    let portal = PortalBuilder::default().set("PORTAL_HTTP__ALLOWED_ORIGINS", origin).start().await;
    let answer = portal.send(portal.request(Method::GET, "/v1/auth/status").header("Origin", origin)).await;
    let exposed = answer.header("access-control-expose-headers").to_lowercase();
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{exposed}");
        assert!(name == "retry-after" || answer.headers.contains_key(name), "{answer:?}");
    }
}
