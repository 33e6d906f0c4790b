//! Gateways that hold all keys and decide by themselves: what they are told, and how soon they follow.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::{FeedLine, Line, Portal, PortalBuilder, Process, serve_if_asked, within};
use portal_gateway::{Gateway, GatewaySettings, KeyUse, Verdict, peppers};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A gateway goes on with what was ended for no longer than this, from the answer of the server that ended it on.
const BOUND: Duration = Duration::from_secs(1);

/// Without hearing of the portal it goes on for no longer than this.
const FRESH_FOR: Duration = Duration::from_secs(5);

const PEPPER: &str = "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=";

const ANY: KeyUse<'static> = KeyUse { ip: None, scope: None, model: None };

async fn token(portal: &Portal, name: &str, scopes: &str) -> String {
    portal.service_token(&["create", "--name", name, "--scope", scopes]).await
}

/// Begins to follow, and does not wait for anything.
fn follow(base: &str, token: &str) -> Gateway {
    Gateway::start(GatewaySettings::new(base, token.into(), peppers([(1, PEPPER)]).unwrap())).unwrap()
}

/// Follows the server there.
async fn gateway(base: &str, token: &str) -> Gateway {
    let gateway = follow(base, token);
    assert_eq!(gateway.verify("cort_live_x", &ANY), Verdict::Unavailable, "nothing was read yet");
    tokio::time::timeout(Duration::from_secs(30), gateway.ready()).await.expect("it becomes ready");
    assert!(gateway.is_ready());
    gateway
}

fn code(gateway: &Gateway, secret: &str) -> String {
    gateway.verify(secret, &ANY).code().to_owned()
}

/// How long it takes until the gateway says so.
async fn follows(gateway: &Gateway, secret: &str, expected: &str) -> Duration {
    let since = Instant::now();
    loop {
        let (asked, said) = (since.elapsed(), code(gateway, secret));
        if said == expected {
            return asked;
        }
        assert!(asked < BOUND, "{said} for {asked:?} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn key_operation(portal: &Portal, key: &str, operation: &str, body: Value) -> Value {
    let answer = portal.post(&format!("/v1/api-keys/{key}/{operation}"), &portal.token("alice"), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// What no route does, as a transaction of another program would do it.
async fn stand(portal: &Portal, account: &str, secret: &str, state: &str) {
    let kid = &secret[10..22];
    let sql = format!(
        "BEGIN; UPDATE accounts SET state = '{state}' WHERE id = (SELECT account_id FROM key_locator WHERE kid = '{kid}');
         INSERT INTO changes (kind, subject) VALUES ('account', '{account}'); COMMIT"
    );
    portal.database.execute(&sql).await.unwrap();
}

/// Everything that can happen to a key, at one server, while the gateway follows another.
async fn everything_happens(portal: &Portal, gateway: &Gateway, acme: &str, word: &str) {
    let mut longest = Duration::ZERO;
    let mut follows = async |secret: &str, expected: &str| {
        longest = longest.max(follows(gateway, secret, expected).await);
    };
    let (key, secret) = portal.create_key("alice", acme).await;
    follows(&secret, "valid").await;
    key_operation(portal, &key, "disable", json!({})).await;
    follows(&secret, "key_disabled").await;
    key_operation(portal, &key, "enable", json!({})).await;
    follows(&secret, "valid").await;
    let rotated = key_operation(portal, &key, "rotate", json!({ "overlap_seconds": 0 })).await;
    let newest = rotated["secret"].as_str().unwrap();
    follows(newest, "valid").await;
    follows(&secret, "key_expired").await;
    let path = format!("/v1/api-keys/{key}");
    portal.patch(&path, &portal.token("alice"), &json!({ "networks": ["192.0.2.0/24"] })).await;
    follows(newest, "ip_not_allowed").await;
    stand(portal, acme, newest, "paused").await;
    follows(newest, "invalid_api_key").await;
    stand(portal, acme, newest, "active").await;
    follows(newest, "ip_not_allowed").await;
    key_operation(portal, &key, "revoke", json!({})).await;
    follows(newest, "key_revoked").await;
    // For whoever wants to see figures: `cargo test -p e2e --test api gateway_feed -- --nocapture`.
    let _ = writeln!(std::io::stderr(), "{word}: the gateway went on for {longest:?} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_server_follows_within_a_second_whatever_the_line() {
    serve_if_asked();
    let test = "gateway_feed::a_gateway_of_another_server_follows_within_a_second_whatever_the_line";
    let portal = Portal::start().await;
    let line = FeedLine::to(portal.database.url()).await;
    let other: Process = portal.process_with(test, &[("PORTAL_DATABASE__DIRECT_URL", &line.url())]);
    let acme = portal.acme().await;
    let gateway = gateway(&other.base, &token(&portal, "gateway", "keys:feed").await).await;
    for spoilt in [Line::Sound, Line::WithoutDoorbell, Line::Stalled] {
        line.set(spoilt);
        everything_happens(&portal, &gateway, &acme, &format!("{spoilt:?}")).await;
    }
    line.set(Line::Sound);
    let (_, last) = portal.create_key("alice", &acme).await;
    follows(&gateway, &last, "valid").await;
    assert_eq!(portal.delete(&format!("/v1/accounts/{acme}"), &portal.token("alice")).await.status, 204);
    follows(&gateway, &last, "invalid_api_key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_after_the_snapshot_is_followed() {
    let portal = Portal::start().await;
    let account = portal.personal_account("alice").await;
    let (key, secret) = portal.create_key("alice", &account).await;
    let mut held = portal.database.session().await.unwrap();
    let revoke = format!(
        "BEGIN; UPDATE api_keys SET revoked_at = now(), revision = revision + 1
             WHERE id = (SELECT key_id FROM api_key_secrets WHERE kid = '{}');
         INSERT INTO changes (kind, subject) VALUES ('key', '{key}')",
        &secret[10..22]
    );
    held.execute(&revoke).await.unwrap();
    let gateway = gateway(&portal.base, &token(&portal, "gateway", "keys:feed").await).await;
    // Others commit later transactions meanwhile.
    for _ in 0..3 {
        let (_, other) = portal.create_key("alice", &account).await;
        follows(&gateway, &other, "valid").await;
        assert_eq!(code(&gateway, &secret), "valid");
    }
    held.execute("COMMIT").await.unwrap();
    follows(&gateway, &secret, "key_revoked").await;
}

/// A line to the portal that can be cut.
struct Cable {
    address: SocketAddr,
    portal: String,
    lying: Option<JoinHandle<()>>,
}

impl Cable {
    async fn to(base: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut cable = Self {
            address: listener.local_addr().unwrap(),
            portal: base.trim_start_matches("http://").to_owned(),
            lying: None,
        };
        cable.lay(listener);
        cable
    }

    fn lay(&mut self, listener: TcpListener) {
        let portal = self.portal.clone();
        self.lying = Some(tokio::spawn(async move {
            // They end with this task.
            let mut forwarding = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let portal = portal.clone();
                forwarding.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(&portal).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        }));
    }

    async fn cut(&mut self) {
        if let Some(lying) = self.lying.take() {
            lying.abort();
            let _ = lying.await;
        }
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port");
        self.lay(listener);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_portal_nothing_counts_after_five_seconds_and_it_heals_by_itself() {
    let portal = Portal::start().await;
    let account = portal.personal_account("alice").await;
    let (key, secret) = portal.create_key("alice", &account).await;
    let (_, lasting) = portal.create_key("alice", &account).await;
    let mut cable = Cable::to(&portal.base).await;
    let gateway = gateway(&format!("http://{}", cable.address), &token(&portal, "gateway", "keys:feed").await).await;
    assert_eq!(code(&gateway, &secret), "valid");
    cable.cut().await;
    let since = Instant::now();
    key_operation(&portal, &key, "revoke", json!({})).await;
    loop {
        // The time is taken before the question.
        let asked = since.elapsed();
        if gateway.verify(&secret, &ANY) == Verdict::Unavailable {
            break;
        }
        assert!(asked < FRESH_FOR, "it goes on for {asked:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(since.elapsed() > Duration::from_secs(2), "an outage of a moment is none for customers");
    assert!(!gateway.is_ready());
    // Nothing that anybody presents is let in, and nothing is called wrong.
    for text in [secret.as_str(), &lasting, "cort_live_x", ""] {
        assert_eq!(gateway.verify(text, &ANY), Verdict::Unavailable);
    }
    cable.mend().await;
    tokio::time::timeout(Duration::from_secs(10), gateway.ready()).await.expect("it heals");
    assert_eq!((code(&gateway, &secret), code(&gateway, &lasting)), ("key_revoked".to_owned(), "valid".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_counts_either() {
    let portal = PortalBuilder::default().set("PORTAL_DATABASE__ACQUIRE_TIMEOUT_MS", "100").start().await;
    let account = portal.personal_account("alice").await;
    let (_, secret) = portal.create_key("alice", &account).await;
    let gateway = gateway(&portal.base, &token(&portal, "gateway", "keys:feed").await).await;
    assert_eq!(code(&gateway, &secret), "valid");
    portal.database.refuse_connections(true).await.unwrap();
    within(FRESH_FOR + BOUND, "nothing counts", async || gateway.verify(&secret, &ANY) == Verdict::Unavailable).await;
    portal.database.refuse_connections(false).await.unwrap();
    within(Duration::from_secs(10), "it heals", async || gateway.verify(&secret, &ANY).is_allowed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_token_ends_stops_and_one_without_the_scope_never_begins() {
    let portal = Portal::start().await;
    let account = portal.personal_account("alice").await;
    let (_, secret) = portal.create_key("alice", &account).await;
    let gateway = gateway(&portal.base, &token(&portal, "gateway", "keys:feed").await).await;
    let narrow = follow(&portal.base, &token(&portal, "narrow", "keys:verify").await);
    assert_eq!(code(&gateway, &secret), "valid");
    portal.service_token(&["revoke", "--name", "gateway"]).await;
    // The question that waits is answered yet.
    let bound = FRESH_FOR + Duration::from_secs(3);
    within(bound, "nothing counts", async || gateway.verify(&secret, &ANY) == Verdict::Unavailable).await;
    assert_eq!(narrow.verify(&secret, &ANY), Verdict::Unavailable);
    assert_eq!(narrow.known_secrets(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_requests_are_counted_is_asked_about() {
    let portal = Portal::start().await;
    let account = portal.personal_account("alice").await;
    let (key, secret) = portal.create_key("alice", &account).await;
    let limits = json!({ "rate_limits": [{ "id": "a", "limit": 1000, "window_seconds": 60 }] });
    assert_eq!(portal.patch(&format!("/v1/api-keys/{key}"), &portal.token("alice"), &limits).await.status, 200);
    let both = gateway(&portal.base, &token(&portal, "both", "keys:feed,keys:verify").await).await;
    let alone = gateway(&portal.base, &token(&portal, "alone", "keys:feed").await).await;
    assert_eq!(both.verify(&secret, &ANY), Verdict::Ask);
    let Verdict::Allow(holder) = both.decide(&secret, &ANY).await else { panic!("the portal allows it") };
    assert_eq!((holder.key.to_string(), holder.account.to_string()), (key.clone(), account));
    let wrong_scope = KeyUse { scope: Some("usage:read"), ..ANY };
    assert_eq!(both.decide(&secret, &wrong_scope).await.code(), "scope_missing", "without asking");
    assert_eq!(alone.decide(&secret, &ANY).await, Verdict::Unavailable, "it may not ask");
    key_operation(&portal, &key, "revoke", json!({})).await;
    follows(&both, &secret, "key_revoked").await;
    assert_eq!(both.decide(&secret, &ANY).await.code(), "key_revoked");
}

/// Answers of the two routes, asked as a gateway does.
struct Asking<'a> {
    portal: &'a Portal,
    token: String,
}

impl Asking<'_> {
    async fn get(&self, path: &str) -> Value {
        let answer = self.portal.get(path, &self.token).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_are_read_page_by_page_from_a_position_on() {
    let portal = Portal::start().await;
    let asking = Asking { portal: &portal, token: token(&portal, "gateway", "keys:feed").await };
    let account = portal.personal_account("alice").await;
    let mut kids = Vec::new();
    for _ in 0..3 {
        let (_, secret) = portal.create_key("alice", &account).await;
        kids.push(secret[10..22].to_owned());
    }
    let first = asking.get("/v1/keys/snapshot?limit=2").await;
    assert!(first["database_time"].is_string());
    let cursor = first["next_cursor"].as_str().unwrap();
    let (late, late_secret) = portal.create_key("alice", &account).await;
    let second = asking.get(&format!("/v1/keys/snapshot?limit=2&cursor={cursor}")).await;
    assert_eq!((&second["position"], &second["database_time"]), (&Value::Null, &Value::Null));
    let pages = [first["data"].as_array().unwrap().clone(), second["data"].as_array().unwrap().clone()].concat();
    let mut read: Vec<_> = pages.iter().map(|record| record["kid"].as_str().unwrap().to_owned()).collect();
    read.retain(|kid| *kid != late_secret[10..22]);
    kids.sort();
    read.sort();
    assert_eq!(read, kids);
    let record = pages.iter().find(|record| record["kid"] == kids[0].as_str()).unwrap();
    assert_eq!((&record["scopes"], &record["account_id"]), (&json!(["inference"]), &json!(account)));
    assert_eq!(record["digest"].as_str().unwrap().len(), 44, "32 bytes in base64");

    let position = first["position"].as_str().unwrap();
    let changes = asking.get(&format!("/v1/keys/changes?after={position}")).await;
    assert_eq!(changes["keys"].as_array().unwrap().len(), 1);
    assert_eq!(changes["keys"][0]["key_id"], late.as_str());
    let position = changes["position"].as_str().unwrap();
    let asked = Instant::now();
    let path = format!("/v1/keys/changes?after={position}&wait_ms=10000");
    let (told, _) = tokio::join!(asking.get(&path), key_operation(&portal, &late, "revoke", json!({})));
    assert!(asked.elapsed() < Duration::from_secs(5), "whoever waits is told at once");
    assert!(told["keys"][0]["revoked_at"].is_string() && told["keys"][0]["secret_revoked_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_none_are_refused() {
    let portal = Portal::start().await;
    let token = token(&portal, "gateway", "keys:feed").await;
    for (query, status, code) in [
        ("snapshot?limit=0", 400, "invalid_query"),
        ("snapshot?limit=1001", 400, "invalid_query"),
        ("snapshot?cursor=none", 400, "invalid_cursor"),
        ("snapshot?after=1", 400, "invalid_query"),
        ("changes?after=yesterday", 400, "invalid_query"),
        ("changes?after=", 400, "invalid_query"),
        ("changes?wait_ms=10001", 400, "invalid_query"),
        ("changes?wait_ms=-1", 400, "invalid_query"),
        ("changes?after=1:9223372036854775807:", 410, "position_too_old"),
        ("changes?after=3:2:1", 410, "position_too_old"),
    ] {
        portal.get(&format!("/v1/keys/{query}"), &token).await.assert_problem(status, code);
    }
}
