//! Tokens of internal services, from the command line to their end.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use portal_app::settings::{LogFormat, LogSettings};
use portal_app::telemetry;
use portal_kernel::Clock;
use portal_testkit::FixedClock;
use reqwest::Method;
use serde_json::{Value, json};

const TOLD: &str = "PORTAL_TEST_SERVICE_LOG";

/// Behind a proxy that tells where requests come from, with a clock that stands still.
async fn behind_a_proxy() -> (Portal, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::default());
    let builder = PortalBuilder::default().clock(&clock).set("PORTAL_HTTP__TRUSTED_PROXIES", "127.0.0.1");
    (builder.start().await, clock)
}

async fn ask_from(portal: &Portal, token: &str, address: &str) -> Answer {
    let request = portal.request(Method::POST, "/v1/keys/verify").bearer_auth(token);
    portal.send(request.header("X-Forwarded-For", address).json(&json!({ "key": "nonsense" }))).await
}

async fn ask(portal: &Portal, token: &str) -> Answer {
    ask_from(portal, token, "198.51.100.1").await
}

async fn create(portal: &Portal, more: &[&str]) -> String {
    let arguments = [&["create", "--name", "edge", "--scope", "keys:verify"], more].concat();
    portal.service_token(&arguments).await
}

/// All that a caller is told, but the id of the request, the time, and whether the body had arrived before the answer left.
fn told(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("request_id").unwrap();
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers =
        headers.filter(|(name, _)| !["x-request-id", "date", "connection"].contains(&name.as_str())).collect();
    (answer.status.as_u16(), body, headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_both_secrets_count_until_the_overlap_is_over() {
    let (portal, clock) = behind_a_proxy().await;
    let first = create(&portal, &[]).await;
    let second = portal.service_token(&["rotate", "--name", "edge", "--overlap", "7d"]).await;
    assert_ne!(first, second);
    for secret in [&first, &second] {
        assert_eq!(ask(&portal, secret).await.status, 200);
    }
    let list = portal.service_token(&["list"]).await;
    assert!(list.contains("rotating") && !list.contains(&first) && !list.contains(&second), "{list}");
    for secret in [&first, &second] {
        assert!(list.contains(&secret["portal_svc_".len()..][..12]), "{list}");
    }
    clock.advance(Duration::from_hours(7 * 24) - Duration::from_secs(1));
    assert_eq!(ask(&portal, &first).await.status, 200);
    clock.advance(Duration::from_secs(1));
    ask(&portal, &first).await.assert_problem(401, "invalid_service_token");
    assert_eq!(ask(&portal, &second).await.status, 200);
    assert!(!portal.service_token(&["list"]).await.contains("rotating"));
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_than_two_secrets_count_and_a_revocation_ends_both() {
    let (portal, _) = behind_a_proxy().await;
    let mut secrets = vec![create(&portal, &[]).await];
    for _ in 0..2 {
        secrets.push(portal.service_token(&["rotate", "--name", "edge", "--overlap", "30d"]).await);
    }
    ask(&portal, &secrets[0]).await.assert_problem(401, "invalid_service_token");
    assert_eq!(ask(&portal, &secrets[1]).await.status, 200);
    assert_eq!(ask(&portal, &secrets[2]).await.status, 200);
    portal.service_token(&["revoke", "--name", "edge"]).await;
    for secret in &secrets {
        ask(&portal, secret).await.assert_problem(401, "invalid_service_token");
    }
    let again = create(&portal, &[]).await;
    assert_eq!(ask(&portal, &again).await.status, 200, "the name is free again");
    let at_once = portal.service_token(&["rotate", "--name", "edge", "--overlap", "0s"]).await;
    ask(&portal, &again).await.assert_problem(401, "invalid_service_token");
    assert_eq!(ask(&portal, &at_once).await.status, 200);
    let actions = "SELECT concat_ws(' ', actor_id, action, reason) AS text FROM platform_audit_events ORDER BY seq";
    let expected = ["created", "rotated", "rotated", "revoked", "created", "rotated"];
    let expected = expected.map(|done| format!("operator service_token.{done} a test"));
    assert_eq!(portal.database.texts(actions).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_that_does_not_count_gets_the_same_answer() {
    let (portal, clock) = behind_a_proxy().await;
    let networks = ["--network", "198.51.100.0/24, 2001:db8::/32", "--expires-in", "90d"];
    let token = create(&portal, &networks).await;
    for inside in ["198.51.100.1", "::ffff:198.51.100.9", "2001:db8::7"] {
        assert_eq!(ask_from(&portal, &token, inside).await.status, 200, "{inside}");
    }
    let revoked = portal.service_token(&["create", "--name", "gone", "--scope", "keys:verify"]).await;
    portal.service_token(&["revoke", "--name", "gone"]).await;
    let replaced = portal.service_token(&["create", "--name", "worn", "--scope", "keys:verify"]).await;
    portal.service_token(&["rotate", "--name", "worn", "--overlap", "0s"]).await;
    let unknown = Portal::start().await.gateway("elsewhere").await;

    let malformed = ask(&portal, "nonsense").await;
    malformed.assert_problem(401, "invalid_service_token");
    for other in [
        ask(&portal, &unknown).await,
        ask(&portal, &revoked).await,
        ask(&portal, &replaced).await,
        ask_from(&portal, &token, "203.0.113.1").await,
    ] {
        assert_eq!(told(&other), told(&malformed));
    }
    clock.advance(Duration::from_hours(90 * 24));
    assert_eq!(told(&ask(&portal, &token).await), told(&malformed), "its time is over");
    assert!(portal.service_token(&["list"]).await.contains("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_use_is_written_behind_and_no_refusal_counts_as_one() {
    let (portal, clock) = behind_a_proxy().await;
    let networks = ["--network", "198.51.100.0/24"];
    let token = create(&portal, &networks).await;
    ask_from(&portal, &token, "203.0.113.1").await.assert_problem(401, "invalid_service_token");
    portal.wired.credentials.service_activity.write().await.unwrap();
    assert!(portal.service_token(&["list"]).await.contains("never"));
    let statements = "SELECT count(*) FROM service_token_activity";
    for second in 1..=3 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(ask(&portal, &token).await.status, 200, "{second}");
    }
    assert_eq!(portal.database.count(statements).await.unwrap(), 0, "no call writes");
    portal.wired.credentials.service_activity.write().await.unwrap();
    let used = clock.now().to_string();
    let list = portal.service_token(&["list"]).await;
    assert!(list.contains(&used) && !list.contains("never"), "{used}\n{list}");
}

const LEGACY: &str = "a-secret-that-many-services-share-0";

fn with_legacy(more: &[(&str, &str)]) -> PortalBuilder {
    let builder = PortalBuilder::default().set("PORTAL_SERVICE_AUTH_TOKEN", LEGACY);
    let builder = builder.set("PORTAL_SERVICES__LEGACY_SCOPES", "keys:verify");
    more.iter().fold(builder, |builder, (name, value)| builder.set(name, *value))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_token_counts_where_it_is_set_for_its_scopes_and_never_from_a_browser() {
    let portal = with_legacy(&[]).start().await;
    assert_eq!(ask(&portal, LEGACY).await.status, 200);
    portal.get("/metrics", LEGACY).await.assert_problem(403, "scope_missing");
    for other in [LEGACY.to_uppercase(), LEGACY[1..].to_owned(), format!("{LEGACY}0")] {
        ask(&portal, &other).await.assert_problem(401, "invalid_service_token");
    }
    let browser = portal.request(Method::GET, "/metrics").bearer_auth(LEGACY).header("Sec-Fetch-Mode", "cors");
    portal.send(browser).await.assert_problem(403, "browser_not_allowed");
    let own = create(&portal, &[]).await;
    assert_eq!(ask(&portal, &own).await.status, 200);
    let without = Portal::start().await;
    ask(&without, LEGACY).await.assert_problem(401, "invalid_service_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_be_guessing_the_legacy_token_is_counted_by_address_before_it_is_compared() {
    let clock = Arc::new(FixedClock::default());
    let settings = [("PORTAL_LIMITS__LEGACY_SERVICES_PER_MINUTE", "2"), ("PORTAL_HTTP__TRUSTED_PROXIES", "127.0.0.1")];
    let portal = with_legacy(&settings).clock(&clock).start().await;
    let own = create(&portal, &[]).await;
    for _ in 0..2 {
        ask(&portal, "nonsense").await.assert_problem(401, "invalid_service_token");
    }
    ask(&portal, "nonsense").await.assert_problem(429, "rate_limited");
    ask(&portal, LEGACY).await.assert_problem(429, "rate_limited");
    assert_eq!(ask(&portal, &own).await.status, 200, "a token of its own cannot be guessed, and is not counted");
    assert_eq!(ask_from(&portal, LEGACY, "203.0.113.1").await.status, 200, "nor is another address");
    clock.advance(Duration::from_mins(1));
    assert_eq!(ask(&portal, LEGACY).await.status, 200);
}

/// CVE-2026-27840 (a truncated opaque token was accepted).
#[tokio::test(flavor = "multi_thread")]
async fn t14_no_part_and_no_change_of_a_service_token_counts() {
    let (portal, _) = behind_a_proxy().await;
    let token = create(&portal, &[]).await;
    assert_eq!(ask(&portal, &token).await.status, 200);
    let mut changed = vec![token.to_uppercase(), token.to_lowercase(), format!("{token}0"), format!("0{token}")];
    for place in 0..token.len() {
        changed.extend([token[..place].to_owned(), token[place + 1..].to_owned()]);
        let mut other = token.clone().into_bytes();
        other[place] = if other[place] == b'x' { b'y' } else { b'x' };
        changed.push(String::from_utf8(other.clone()).unwrap());
        other[place] = token.as_bytes()[place] ^ 0x20;
        // The case of a letter; what becomes of the others can maybe not stand in a header.
        changed.extend(String::from_utf8(other).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())));
    }
    for text in changed {
        let answer = ask(&portal, &text).await;
        // Nothing behind "Bearer " is no token at all.
        let code = if text.is_empty() { "service_token_required" } else { "invalid_service_token" };
        answer.assert_problem(401, code);
    }
    assert_eq!(ask(&portal, &token).await.status, 200, "the token itself is as good as before");
}

/// Runs itself again as a second process, so that its log is not mixed with that of other tests.
#[test]
fn why_a_token_was_refused_is_in_the_log_once_a_minute_and_no_secret_is() {
    if let Some(file) = std::env::var_os(TOLD) {
        let filter = "warn".to_owned();
        telemetry::start(&LogSettings { format: LogFormat::Json, filter });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let token = runtime.block_on(Box::pin(refused_often()));
        return std::fs::write(file, token).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "services::why_a_token_was_refused_is_in_the_log_once_a_minute_and_no_secret_is",
            "--exact",
            "--nocapture",
        ])
        .env(TOLD, &file)
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{log}");
    let token = std::fs::read_to_string(file).unwrap();
    assert!(!log.contains(&token["portal_svc_".len() + 12..]), "the log holds the secret");
    let told: Vec<_> = log.lines().filter(|line| line.contains("a service token was refused")).collect();
    let kid = &token["portal_svc_".len()..][..12];
    let [first, again, stranger] = told[..] else { panic!("{log}") };
    for line in [first, again] {
        let named = [r#""why":"network_not_allowed""#, r#""service":"edge""#, "203.0.113.0/24", kid];
        assert!(named.iter().all(|part| line.contains(part)), "{line}");
    }
    assert!(first.contains(r#""times":1"#) && again.contains(r#""times":3"#), "{first}\n{again}");
    assert!(stranger.contains(r#""why":"malformed""#) && !stranger.contains("service\":"), "{stranger}");
}

async fn refused_often() -> String {
    let (portal, clock) = behind_a_proxy().await;
    let token = create(&portal, &["--network", "198.51.100.0/24"]).await;
    for pause in [0, 20, 20, 20] {
        clock.advance(Duration::from_secs(pause));
        ask_from(&portal, &token, "203.0.113.1").await.assert_problem(401, "invalid_service_token");
    }
    ask(&portal, "nonsense").await.assert_problem(401, "invalid_service_token");
    token
}
