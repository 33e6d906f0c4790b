//! No secret in any log: the tour at the most verbose level, and a search of everything it wrote.

use std::io::Write;
use std::process::Command;

use e2e::Portal;
use portal_app::settings::{LogFormat, LogSettings};
use portal_app::telemetry;
use reqwest::Method;
use serde_json::json;

/// Names the file into which the second process writes what must not be in its log.
const SECRETS: &str = "E2E_LOGGED_TOUR_SECRETS";

/// Runs itself again as a second process, so that the log of the tour is not mixed with that of other tests.
#[test]
fn the_tour_logs_no_secret_at_the_most_verbose_level() {
    if let Some(file) = std::env::var_os(SECRETS) {
        return logged_tour(std::path::Path::new(&file));
    }
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["logs::the_tour_logs_no_secret_at_the_most_verbose_level", "--exact", "--nocapture"])
            .env(SECRETS, &file)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{log}");
        let secrets = std::fs::read_to_string(&file).unwrap();
        let secrets: Vec<_> = secrets.lines().collect();
        assert!(secrets.len() >= 8, "the tour tells its secrets");
        for secret in secrets {
            assert!(!log.contains(secret), "{format}: the log holds a secret that begins with {}", &secret[..8]);
        }
        // The search means something only if the log says something.
        assert!(log.matches("request answered").count() >= 8, "{log}");
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
        assert!(log.contains("a request failed"), "{log}");
    }
}

fn logged_tour(file: &std::path::Path) {
    let format = if file.ends_with("json") { LogFormat::Json } else { LogFormat::Text };
    telemetry::start(&LogSettings { format, filter: "trace".to_owned() });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let secrets = runtime.block_on(tour());
    let mut out = std::fs::File::create(file).unwrap();
    for secret in secrets {
        writeln!(out, "{secret}").unwrap();
    }
}

async fn tour() -> Vec<String> {
    let portal = Portal::start().await;
    let (alice, stranger) = (portal.token("alice"), portal.token("stranger"));
    let account = portal.personal_account("alice").await;
    portal.get("/v1/me", &alice).await;
    let created = portal.post(&format!("/v1/accounts/{account}/api-keys"), &alice, &json!({ "name": "tour" })).await;
    let (key, secret) = (created.text_at("/api_key/id"), created.text_at("/secret"));
    let gateway = portal.gateway("gateway").await;
    portal.verify(&gateway, &secret).await;
    let mut wrong = secret.clone();
    wrong.replace_range(40..41, if &wrong[40..41] == "x" { "y" } else { "x" });
    portal.verify(&gateway, &wrong).await;
    portal.get(&format!("/v1/accounts/{account}"), &stranger).await;
    let revoke = format!("/v1/api-keys/{key}/revoke");
    portal.send(portal.request(Method::POST, &revoke).bearer_auth(&alice)).await;
    portal.verify(&gateway, &secret).await;
    let cookie = "session-cookie-of-somebody";
    portal.send(portal.request(Method::GET, "/v1/auth/status").header("Cookie", format!("__session={cookie}"))).await;
    // A failure with a cause, and a body that cannot be read.
    portal.database.execute("ALTER TABLE api_keys RENAME TO api_keys_away").await.unwrap();
    portal.get(&format!("/v1/api-keys/{key}"), &alice).await.assert_problem(500, "internal");
    let malformed = portal.request(Method::POST, "/v1/keys/verify").bearer_auth(&gateway);
    let body = format!("{{\"key\": \"{secret}\"");
    portal
        .send(malformed.header("Content-Type", "application/json").body(body))
        .await
        .assert_problem(400, "malformed_json");
    let secret_part = |text: &str, from: usize| text[from..].to_owned();
    vec![
        secret_part(&alice, alice.rfind('.').unwrap() + 1),
        alice,
        secret_part(&stranger, stranger.rfind('.').unwrap() + 1),
        stranger,
        secret_part(&secret, "cort_live_".len() + 12),
        wrong,
        secret_part(&gateway, "portal_svc_".len() + 12),
        portal.idp.instance().secret_key().to_owned(),
        "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHM".to_owned(),
        "c2lnbmluZyBrZXkgb2YgYmxhY2stYm94IHRlc3RzIDM=".to_owned(),
        cookie.to_owned(),
    ]
}

/// T-39: what a tenant writes is never a command to the terminal that shows the log.
#[test]
fn t39_log_lines_escape_control_characters() {
    #[derive(Clone, Default)]
    struct Buffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for format in [LogFormat::Text, LogFormat::Json] {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let settings = LogSettings { format, filter: "trace".to_owned() };
        let subscriber = telemetry::subscriber(&settings, move || writer.clone());
        let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}\n2026-01-01 INFO forged line\r\u{9b}31m";
        tracing::subscriber::with_default(subscriber, || tracing::warn!(name = hostile, shown = %hostile, "{hostile}"));
        let written = buffer.0.lock().unwrap().clone();
        assert!(!written.is_empty());
        let line = String::from_utf8(written).unwrap();
        let (last, line) = (line.chars().last(), line.trim_end_matches('\n'));
        assert_eq!(last, Some('\n'));
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.contains("owned"), "what was said stays readable: {line:?}");
    }
}
