//! Keys that a server knows: what asking about them costs, and how long a server goes on with what another one ended.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{FeedLine, Line, Portal, PortalBuilder, Process, serve_if_asked, within};
use reqwest::Client;
use serde_json::{Value, json};

/// A key counts for nothing any more after this, from the answer of the server that ended it on.
const BOUND: Duration = Duration::from_secs(1);

/// The statements of requests about keys; a gateway's own credential costs another one, once.
fn about_keys(statements: &[String]) -> usize {
    assert!(!statements.iter().any(|statement| statement.contains("BEGIN")), "{statements:?}");
    statements.iter().filter(|statement| statement.contains("key_locator")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_read_in_one_statement_once_and_so_is_that_there_is_none() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    let elsewhere = Portal::start().await;
    let foreign_account = elsewhere.personal_account("stranger").await;
    let (_, foreign) = elsewhere.create_key("stranger", &foreign_account).await;
    portal.hearing().await;
    for (key, code) in [(&secret, "valid"), (&foreign, "invalid_api_key")] {
        portal.wired.store.statements().start();
        assert_eq!(portal.verify(&gateway, key).await.json()["code"], code);
        assert_eq!(about_keys(&portal.wired.store.statements().finish()), 1, "{code}");
        portal.wired.store.statements().start();
        for _ in 0..20 {
            assert_eq!(portal.verify(&gateway, key).await.json()["code"], code);
        }
        assert_eq!(about_keys(&portal.wired.store.statements().finish()), 0, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_and_a_wrong_secret_look_the_same_cold_and_warm() {
    let portal = Portal::start().await;
    let gateway = portal.gateway("gateway").await;
    let account = portal.personal_account("stranger").await;
    let (key, secret) = portal.create_key("stranger", &account).await;
    let elsewhere = Portal::start().await;
    let foreign_account = elsewhere.personal_account("stranger").await;
    let (_, foreign) = elsewhere.create_key("stranger", &foreign_account).await;
    // From now on the presented secret is a wrong one, and of its state nothing is told.
    portal.database.execute("UPDATE api_key_secrets SET digest = sha256(digest)").await.unwrap();
    portal.post(&format!("/v1/api-keys/{key}/revoke"), &portal.token("stranger"), &json!({})).await;
    portal.hearing().await;
    for _ in 0..3 {
        let (wrong, none) = (portal.verify(&gateway, &secret).await, portal.verify(&gateway, &foreign).await);
        assert_eq!(wrong.json(), none.json());
        assert_eq!(wrong.json()["code"], "invalid_api_key");
    }
}

/// What was asked when, and what became of it.
struct Asked {
    at: Instant,
    answered: Instant,
    status: u16,
    decision: String,
}

/// Asks about a key until it is told to stop, again and again.
async fn keep_asking(portal: &Portal, gateway: &str, secret: &str, stop: &AtomicBool) -> Vec<Asked> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let answer = portal.verify(gateway, secret).await;
        let decision = answer.json()["decision"].as_str().unwrap_or_default().to_owned();
        all.push(Asked { at, answered: Instant::now(), status: answer.status.as_u16(), decision });
    }
    all
}

/// Takes the database away under load, and gives it back. How often the key was let in meanwhile.
async fn outage_under_load(portal: &Portal, gateway: &str, secret: &str) -> usize {
    let stop = AtomicBool::new(false);
    let asking = || keep_asking(portal, gateway, secret, &stop);
    let outage = async {
        let is_known = async || portal.verify(gateway, secret).await.json()["decision"] == "allow";
        within(Duration::from_secs(10), "the key is known", is_known).await;
        portal.hearing().await;
        portal.verify(gateway, secret).await;
        portal.database.refuse_connections(true).await.unwrap();
        let gone = Instant::now();
        within(BOUND, "nothing is known for sure", async || portal.verify(gateway, secret).await.status == 503).await;
        for _ in 0..20 {
            portal.verify(gateway, secret).await.assert_problem(503, "unavailable");
        }
        let back = Instant::now();
        portal.database.refuse_connections(false).await.unwrap();
        within(Duration::from_secs(10), "the key is good again", is_known).await;
        stop.store(true, Ordering::Relaxed);
        (gone, back)
    };
    let (one, two, three, (gone, back)) = tokio::join!(asking(), asking(), asking(), outage);
    let all: Vec<_> = one.into_iter().chain(two).chain(three).collect();
    for Asked { at, answered, status, decision } in &all {
        let after = at.saturating_duration_since(gone);
        assert!(matches!((*status, decision.as_str()), (200, "allow") | (503, "")), "{status} {decision} {after:?}");
        // A question that waits for a connection is answered by the database that came back.
        assert!(*status == 503 || after <= BOUND || *answered >= back, "let in {after:?} after the database was gone");
    }
    all.iter().filter(|asked| asked.status == 200 && asked.at >= gone && asked.answered < back).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_known_keys_go_on_for_a_moment_then_none_is_let_in_and_recovery_needs_no_restart() {
    let portal = PortalBuilder::default().set("PORTAL_DATABASE__ACQUIRE_TIMEOUT_MS", "100").start().await;
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    // On a busy machine the moment can be over before anybody asked.
    for _ in 0..5 {
        if outage_under_load(&portal, &gateway, &secret).await > 0 {
            return;
        }
    }
    panic!("a key that is known is verified from memory while what is known is current");
}

/// Two servers: one in this process, one in its own, whose feed has a line that can be spoilt.
struct Installation {
    portal: Portal,
    other: Process,
    line: FeedLine,
    gateway: String,
    client: Client,
}

impl Installation {
    async fn start(test: &str) -> Self {
        let portal = Portal::start().await;
        let line = FeedLine::to(portal.database.url()).await;
        let other = portal.process_with(test, &[("PORTAL_DATABASE__DIRECT_URL", &line.url())]);
        let gateway = portal.gateway("gateway").await;
        Self { portal, other, line, gateway, client: Client::new() }
    }

    /// What the other server says about a key.
    async fn asked(&self, secret: &str) -> Value {
        let request = self.client.post(format!("{}/v1/keys/verify", self.other.base)).bearer_auth(&self.gateway);
        request.json(&json!({ "key": secret })).send().await.unwrap().json().await.unwrap()
    }

    async fn says(&self, secret: &str, code: &str) -> Duration {
        let since = Instant::now();
        loop {
            let asked = since.elapsed();
            let answer = self.asked(secret).await;
            if answer["code"] == code {
                return asked;
            }
            assert!(asked < BOUND, "{answer} for {asked:?} instead of {code}");
        }
    }

    /// What no route does yet, as a transaction of another program would do it.
    async fn change(&self, sql: &str, kind: &str, id: &str) {
        let told = format!("INSERT INTO changes (kind, subject) VALUES ('{kind}', '{id}')");
        self.portal.database.execute(&format!("BEGIN; {sql}; {told}; COMMIT")).await.unwrap();
    }
}

/// Each way to lose a key.
async fn lose_every_key(servers: &Installation, line: Line) {
    let Installation { portal, .. } = servers;
    let mut longest = Duration::ZERO;
    let acme = portal.acme().await;
    for way in ["revoked", "disabled", "rotated_out", "paused_account", "deleted_account"] {
        servers.line.set(Line::Sound);
        let (key, secret) = portal.create_key("alice", &acme).await;
        // It is asked for before it was heard of, and found.
        servers.says(&secret, "valid").await;
        let of_key = format!("id = (SELECT key_id FROM api_key_secrets WHERE kid = '{}')", &secret[10..22]);
        let of_secret = format!("kid = '{}'", &secret[10..22]);
        let of_account = format!("id = (SELECT account_id FROM key_locator WHERE {of_secret})");
        servers.line.set(line);
        let code = match way {
            "revoked" => {
                let path = format!("/v1/api-keys/{key}/revoke");
                assert_eq!(portal.post(&path, &portal.token("alice"), &json!({})).await.status, 200);
                "key_revoked"
            }
            "disabled" => {
                let sql = format!("UPDATE api_keys SET disabled_at = now(), revision = revision + 1 WHERE {of_key}");
                servers.change(&sql, "key", &key).await;
                "key_disabled"
            }
            "rotated_out" => {
                let sql = format!("UPDATE api_key_secrets SET revoked_at = now() WHERE {of_secret}");
                servers.change(&sql, "key", &key).await;
                "key_revoked"
            }
            "paused_account" => {
                let pause = |state| format!("UPDATE accounts SET state = '{state}' WHERE {of_account}");
                servers.change(&pause("paused"), "account", &acme).await;
                longest = longest.max(servers.says(&secret, "invalid_api_key").await);
                servers.change(&pause("active"), "account", &acme).await;
                "valid"
            }
            _ => {
                assert_eq!(portal.delete(&format!("/v1/accounts/{acme}"), &portal.token("alice")).await.status, 204);
                "invalid_api_key"
            }
        };
        longest = longest.max(servers.says(&secret, code).await);
    }
    // For whoever wants to see figures: `cargo test -p e2e --test api known_keys -- --nocapture`.
    let _ = writeln!(std::io::stderr(), "{line:?}: the other server went on for {longest:?} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_here_ends_on_the_other_server_within_a_second() {
    serve_if_asked();
    let test = "known_keys::a_key_that_ends_here_ends_on_the_other_server_within_a_second";
    for line in [Line::Sound, Line::WithoutDoorbell, Line::Stalled] {
        lose_every_key(&Installation::start(test).await, line).await;
    }
}
