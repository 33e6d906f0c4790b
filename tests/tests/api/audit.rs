//! The audit trail, as members read it over HTTP and as operators verify and export it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder, within};
use portal_app::audit::{AuditTools, run_audit};
use portal_app::operator::run_reconcile;
use portal_app::service_token::run_service_token;
use portal_app::settings::{AuditSettings, LogFormat, LogSettings};
use portal_app::telemetry;
use portal_app::wire::Surroundings;
use serde_json::{Value, json};

async fn events(portal: &Portal, person: &str, account: &str, query: &str) -> Answer {
    portal.get(&format!("/v1/accounts/{account}/audit-events{query}"), &portal.token(person)).await
}

fn texts(answer: &Answer, pointer: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json()["data"].as_array().unwrap().clone();
    events.iter().map(|event| event.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
}

async fn user(portal: &Portal, person: &str) -> String {
    portal.get("/v1/me", &portal.token(person)).await.text_at("/user/id")
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_read_everything_others_what_they_did_and_strangers_nothing() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let (by_edith, _) = portal.create_key("edith", &acme).await;
    let (by_adam, _) = portal.create_key("adam", &acme).await;
    for person in ["alice", "adam"] {
        let all = events(&portal, person, &acme, "?limit=100").await;
        let subjects = texts(&all, "/subject");
        assert_eq!(subjects[..2], [by_adam.clone(), by_edith.clone()], "{person}: newest first");
        let actions: BTreeSet<_> = texts(&all, "/action").into_iter().collect();
        assert!(actions.contains("account.created") && actions.contains("membership.created"), "{person}: {actions:?}");
    }
    assert_eq!(texts(&events(&portal, "edith", &acme, "").await, "/subject"), [by_edith]);
    assert_eq!(texts(&events(&portal, "victor", &acme, "").await, "/subject"), Vec::<String>::new());
    let adam = user(&portal, "adam").await;
    let narrowed = events(&portal, "edith", &acme, &format!("?actor={adam}")).await;
    assert_eq!(texts(&narrowed, "/subject"), Vec::<String>::new(), "a filter shows no more");
    let stranger = events(&portal, "stranger", &acme, "").await;
    let nowhere = events(&portal, "stranger", "acc_01jdzqzr4ne5z8p5t2z6fj7x3b", "").await;
    stranger.assert_problem(404, "not_found");
    assert_eq!(stranger.without_request_id(), nowhere.without_request_id());
    let path = format!("/v1/accounts/{acme}/audit-events");
    for spec in [
        portal.token_spec("alice").impersonated_by("user_support"),
        portal.token_spec("alice").driven_by_agent("agent_1"),
    ] {
        portal.get(&path, &portal.idp.mint().encode(&spec)).await.assert_problem(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_tells_who_did_what_through_which_request() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let path = format!("/v1/accounts/{account}/api-keys");
    let created = portal.post(&path, &portal.token("stranger"), &json!({ "name": "test" })).await;
    let list = events(&portal, "stranger", &account, "?limit=1").await;
    let event = &list.json()["data"][0];
    assert_eq!(event["actor"], json!({ "kind": "user", "id": user(&portal, "stranger").await }));
    assert_eq!(event["request_id"], created.header("x-request-id"));
    let told = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((told("action").as_str(), told("outcome").as_str()), ("api_key.created", "done"));
    assert_eq!(told("subject"), created.text_at("/api_key/id"));
    assert_eq!(told("address_prefix"), "127.0.0.0/24");
    assert!(told("id").starts_with("aud_") && told("at").ends_with('Z'), "{event}");
    assert_eq!(event.get("reason"), None);
    let credential = "SELECT credential_id AS text FROM audit_events WHERE action = 'api_key.created'";
    assert_eq!(portal.database.texts(credential).await.unwrap(), [portal.person("stranger").session_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_cursors_narrow_the_list() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let mut keys = Vec::new();
    for person in ["edith", "adam", "edith", "adam", "edith"] {
        keys.push(portal.create_key(person, &acme).await.0);
    }
    keys.reverse();
    let of = async |query: &str| texts(&events(&portal, "alice", &acme, query).await, "/subject");
    assert_eq!(of("?action=api_key.created").await, keys);
    let edith = user(&portal, "edith").await;
    let hers = [keys[0].clone(), keys[2].clone(), keys[4].clone()];
    assert_eq!(of(&format!("?actor={edith}&action=api_key.created")).await, hers);

    let mut read = Vec::new();
    let mut query = "?action=api_key.created&limit=2".to_owned();
    loop {
        let page = events(&portal, "alice", &acme, &query).await;
        let subjects = texts(&page, "/subject");
        assert!((1..=2).contains(&subjects.len()), "{page:?}");
        read.extend(subjects);
        let body = page.json();
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        query = format!("?action=api_key.created&limit=2&cursor={cursor}");
    }
    assert_eq!(read, keys);

    let third = events(&portal, "alice", &acme, "?action=api_key.created&limit=3").await.text_at("/data/2/at");
    assert_eq!(of(&format!("?action=api_key.created&since={third}")).await, keys[..3]);
    assert_eq!(of(&format!("?action=api_key.created&until={third}")).await, keys[3..]);
    for (query, code) in [
        ("?action=api_key.imagined", "invalid_query"),
        ("?actor=%00", "invalid_query"),
        ("?since=yesterday", "invalid_query"),
        ("?until=2026-02-03", "invalid_query"),
        ("?limit=0", "invalid_query"),
        ("?limit=101", "invalid_query"),
        ("?order=oldest", "invalid_query"),
        ("?cursor=key_01jdzqzr4ne5z8p5t2z6fj7x3b", "invalid_cursor"),
    ] {
        events(&portal, "alice", &acme, query).await.assert_problem(400, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_elsewhere_is_pending_then_unknown_or_what_it_came_to() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let row = |number: i32, ago: &str, effect: &str, closes: &str| {
        format!(
            "INSERT INTO audit_events (account_id, id, at, actor_kind, actor_id, action, subject, seq, hash, effect, closes)
             SELECT id, '00000000-0000-0000-0000-00000000000{number}', now() - interval '{ago}', 'system', 'x', 'y', 'z',
                 100 + {number}, sha256(''), '{effect}', {closes} FROM accounts;"
        )
    };
    let closing = |number: i32| format!("'00000000-0000-0000-0000-00000000000{number}'");
    let rows = [
        row(1, "59 minutes", "opened", "NULL"),
        row(2, "61 minutes", "opened", "NULL"),
        row(3, "2 hours", "opened", "NULL"),
        row(4, "2 hours", "opened", "NULL"),
        row(5, "1 hour", "succeeded", &closing(3)),
        row(6, "1 hour", "failed", &closing(4)),
    ];
    portal.database.execute(&rows.concat()).await.unwrap();
    let list = events(&portal, "stranger", &account, "?actor=x").await;
    assert_eq!(texts(&list, "/outcome"), ["failed", "succeeded", "unknown", "pending"]);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_verifies_every_chain_and_finds_what_was_done_to_one() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    for _ in 0..4 {
        portal.create_key("adam", &acme).await;
    }
    portal.gateway("gateway").await;
    // Signing at the same time as the server does no harm.
    let signed = portal.audit(&["sign"]).await;
    let trails: BTreeSet<_> =
        lines(&signed.text).iter().map(|line| line["trail"].as_str().unwrap().to_owned()).collect();
    assert!(signed.good && trails.contains("platform") && trails.contains(&acme), "{}", signed.text);
    assert_eq!(portal.audit(&["sign"]).await.text, "", "nothing grew since");

    let good = portal.audit(&["verify"]).await;
    assert!(good.good, "{}", good.text);
    // Acme, four people, and the platform.
    let end = "6 chains verified, 0 with a finding, 0 without any signed head\n";
    assert!(good.text.ends_with(end), "{}", good.text);
    assert!(good.text.contains("ok        platform"), "{}", good.text);
    assert_eq!(good.text.matches("by 1 signed heads").count(), 6, "{}", good.text);

    let folder = tempfile::tempdir().unwrap();
    let (kept, broken) = (folder.path().join("kept"), folder.path().join("broken"));
    let log = format!("{{\"target\":\"portal\",\"message\":\"anything\"}}\n\n{}", signed.text);
    std::fs::write(&kept, log).unwrap();
    let kept = kept.to_str().unwrap();
    let twice = portal.audit(&["verify", "--heads", kept]).await;
    assert!(twice.good && twice.text.matches("by 2 signed heads").count() == 6, "{}", twice.text);

    let seq = "(SELECT max(seq) FROM audit_events WHERE action = 'api_key.created')";
    portal
        .database
        .execute(&format!(
            "ALTER TABLE audit_events DISABLE TRIGGER USER; ALTER TABLE audit_signed_heads DISABLE TRIGGER USER;
             UPDATE audit_heads SET (seq, hash) = (SELECT seq, hash FROM audit_events WHERE seq = {seq} - 1
                 AND audit_events.account_id = audit_heads.account_id)
             WHERE account_id = (SELECT account_id FROM audit_events WHERE action = 'api_key.created' LIMIT 1);
             DELETE FROM audit_signed_heads WHERE seq = {seq};
             DELETE FROM audit_events WHERE action = 'api_key.created' AND seq = {seq}"
        ))
        .await
        .unwrap();
    assert!(portal.audit(&["verify"]).await.good, "the database alone cannot tell");
    let cut_off = portal.audit(&["verify", "--heads", kept]).await;
    assert!(!cut_off.good && cut_off.text.contains("1 with a finding"), "{}", cut_off.text);
    let line = cut_off.text.lines().find(|line| line.starts_with("FAIL")).unwrap();
    assert!(line.contains(&acme) && line.contains("a signed head vouches for record"), "{line}");
    portal
        .database
        .execute("UPDATE audit_events SET reason = 'another' WHERE action = 'user.provisioned'")
        .await
        .unwrap();
    let changed = portal.audit(&["verify"]).await;
    assert!(!changed.good && changed.text.contains("record 1 was changed"), "{}", changed.text);
    assert!(portal.audit(&["verify", "--account", "platform"]).await.good);
    assert!(!portal.audit(&["verify", "--account", &acme, "--heads", kept]).await.good);

    // What says it is a signed head and is none would hide what it said.
    std::fs::write(&broken, format!("{}{{\"trail\":\"platform\"}}\n", signed.text)).unwrap();
    let arguments = ["verify", "--heads", broken.to_str().unwrap()];
    let refused = run_audit(&arguments, &portal.wired.audit_tools).await.err().unwrap().to_string();
    assert!(refused.contains(&format!("line {} is no signed head", signed.text.lines().count() + 1)), "{refused}");
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Set for the second process of the test of the log.
const ALONE: &str = "E2E_LOGGED_HEADS";

/// Runs itself again as a second process: who listens to a line of the log is remembered for a whole process, and other tests of this one
/// would say that nobody does.
#[test]
fn the_log_of_the_server_is_a_file_of_signed_heads() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(Box::pin(logged_heads()));
    }
    let test = "audit::the_log_of_the_server_is_a_file_of_signed_heads";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args([test, "--exact", "--nocapture"]).env(ALONE, "yes").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn logged_heads() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    assert_eq!(portal.wired.head_signing.once().await.unwrap().signed.len(), 1);
    portal.create_key("stranger", &account).await;
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let settings = LogSettings { format: LogFormat::Json, ..LogSettings::default() };
    let logging = tracing::subscriber::set_default(telemetry::subscriber(&settings, move || writer.clone()));
    tracing::callsite::rebuild_interest_cache();
    let run = portal.wired.head_signing.once().await.unwrap();
    tracing::info!("something else");
    drop(logging);
    assert_eq!(run.signed.len(), 1);
    let log = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let line = &lines(&log)[0];
    assert_eq!((&line["target"], &line["level"]), (&json!("audit.head"), &json!("INFO")), "{log}");
    assert_eq!((&line["trail"], &line["seq"]), (&json!(account), &json!(3)), "{log}");
    assert_eq!(line["key"].as_str().unwrap().len(), 44, "{log}");

    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("log");
    std::fs::write(&kept, &log).unwrap();
    let verify = ["verify", "--account", &account, "--heads", kept.to_str().unwrap()];
    let good = portal.audit(&verify).await;
    assert!(good.good && good.text.contains("3 records, 3 of them signed for by 3 signed heads"), "{}", good.text);
    let forged = log.replace("\"seq\":3,", "\"seq\":2,");
    assert_ne!(forged, log);
    std::fs::write(&kept, forged).unwrap();
    let forged = portal.audit(&verify).await;
    assert!(!forged.good && forged.text.contains("the signature of head 2 is not valid"), "{}", forged.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_a_key_that_is_not_known_any_more_is_a_finding() {
    let portal = Portal::start().await;
    portal.personal_account("stranger").await;
    let log = portal.audit(&["sign"]).await;
    assert_eq!(log.text.lines().count(), 1);
    let tools = |settings: &AuditSettings| AuditTools::new(&portal.wired.store, settings, &Surroundings::default());
    let sign_every = Duration::from_mins(1);
    let changed = AuditSettings { signing_key: Some(vec![7; 32].into()), public_keys: Vec::new(), sign_every };
    let refused = run_audit(&["verify"], &tools(&changed)).await.unwrap();
    assert!(!refused.good && refused.text.contains("the signature of head 2 is not valid"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_every_record_with_its_hash() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    portal.create_key("stranger", &account).await;
    portal.service_token(&["create", "--name", "edge", "--scope", "keys:verify", "--reason", "new edge"]).await;
    let all = lines(&portal.audit(&["export"]).await.text);
    let told: Vec<_> =
        all.iter().map(|line| (line["trail"].as_str().unwrap(), line["action"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ("platform", "service_token.created"),
            (&*account, "user.provisioned"),
            (&*account, "sign_in.succeeded"),
            (&*account, "api_key.created")
        ]
    );
    let mut record = all[0].clone();
    for (name, prefix) in [("id", "aud_"), ("subject", "svc_"), ("at", "20")] {
        assert!(record[name].take().as_str().unwrap().starts_with(prefix), "{name}");
    }
    assert_eq!(record["hash"].take().as_str().unwrap().len(), 64);
    let expected = json!({
        "trail": "platform", "seq": 1, "id": null, "at": null,
        "actor": { "kind": "system", "id": "operator", "behind": null }, "credential": null,
        "action": "service_token.created", "subject": null, "effect": "done", "closes": null,
        "request_id": null, "address_prefix": null, "reason": "new edge", "hash": null,
    });
    assert_eq!(record, expected);
    let since = all[3]["at"].as_str().unwrap();
    let part = lines(&portal.audit(&["export", "--account", &account, "--since", since]).await.text);
    assert_eq!(part, all[3..]);
    assert_eq!(portal.audit(&["export", "--since", "2999-01-01T00:00:00Z"]).await.text, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_behind_a_record_that_cannot_be_read_and_says_so() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    for _ in 0..3 {
        portal.create_key("stranger", &account).await;
    }
    let whole = portal.audit(&["export"]).await;
    assert!(whole.good && whole.aside.is_empty(), "{}", whole.aside);
    let spoil = "ALTER TABLE audit_events DISABLE TRIGGER USER; UPDATE audit_events SET at = 'infinity' WHERE seq = 3";
    portal.database.execute(spoil).await.unwrap();
    let part = portal.audit(&["export"]).await;
    let mut expected = lines(&whole.text);
    let lost = expected.remove(2);
    assert_eq!(lines(&part.text), expected);
    let said = format!("{account}: record 3 ({}) cannot be read and is left out\n", lost["id"].as_str().unwrap());
    assert_eq!((part.good, part.aside), (false, said));
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_says_how_much_is_signed_for_and_refuses_an_account_that_is_not_there() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let verify = ["verify", "--account", &account];
    let unsigned = portal.audit(&verify).await;
    let line = format!("unsigned  {account}  2 records, no signed head yet\n");
    assert!(unsigned.good && unsigned.text.starts_with(&line), "{}", unsigned.text);
    assert!(unsigned.text.ends_with("1 chains verified, 0 with a finding, 1 without any signed head\n"));
    portal.audit(&["sign"]).await;
    portal.create_key("stranger", &account).await;
    let signed = portal.audit(&verify).await.text;
    let line = format!("ok        {account}  3 records, 2 of them signed for by 1 signed heads\n");
    assert!(signed.starts_with(&line), "{signed}");
    assert!(portal.audit(&["verify"]).await.text.contains("empty     platform"));
    for command in ["verify", "export"] {
        let arguments = [command, "--account", "acc_01jdzqzr4ne5z8p5t2z6fj7x3b"];
        let refused = run_audit(&arguments, &portal.wired.audit_tools).await.err().unwrap().to_string();
        assert_eq!(refused, "there is no account acc_01jdzqzr4ne5z8p5t2z6fj7x3b");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_signs_on_its_own_what_fits_and_counts_what_does_not() {
    let portal = PortalBuilder::default().set("PORTAL_AUDIT__SIGN_EVERY_MS", "20").start().await;
    let account = portal.personal_account("stranger").await;
    let other = portal.personal_account("alice").await;
    let signed = |person: &str| {
        format!(
            "SELECT coalesce(max(seq), 0) AS count FROM audit_signed_heads
             WHERE account_id = (SELECT personal_account_id FROM users WHERE provider_id = 'user_dev_{person}')"
        )
    };
    let until = async |what: &str, sql: &str, expected: i64| {
        let is_so = async || portal.database.count(sql).await.unwrap() == expected;
        within(Duration::from_secs(30), what, is_so).await;
    };
    until("one is signed", &signed("stranger"), 2).await;
    until("the other is signed", &signed("alice"), 2).await;
    let forged = "UPDATE audit_heads SET hash = sha256('forged') FROM users
        WHERE account_id = personal_account_id AND provider_id = 'user_dev_stranger'";
    portal.database.execute(forged).await.unwrap();
    portal.create_key("stranger", &account).await;
    portal.create_key("alice", &other).await;
    until("the other is signed again", &signed("alice"), 3).await;
    let run = portal.wired.head_signing.once().await.unwrap();
    assert_eq!((run.signed.len(), run.broken.len()), (0, 1));
    assert_eq!(portal.database.count(&signed("stranger")).await.unwrap(), 2, "nobody vouches for what does not fit");
    let metrics = portal.wired.api.metrics.render();
    assert!(metrics.contains("\nportal_audit_chain_broken 1\n"), "{metrics}");
    for moment in ["signed", "turn", "round"] {
        let name = format!("\nportal_audit_last_{moment}_timestamp_seconds ");
        let (_, value) = metrics.split_once(&name).unwrap();
        let seconds: i64 = value.lines().next().unwrap().parse().unwrap();
        assert!(seconds > 1_700_000_000, "{moment}: {seconds}");
    }
    let told = portal.audit(&["sign"]).await;
    let said = format!("{account} is broken: record 3 was changed\n");
    assert_eq!((told.good, told.text.as_str(), told.aside), (false, "", said));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_changes_needs_a_reason_and_is_recorded_with_it() {
    let portal = Portal::start().await;
    let needs_reason = |error: String| assert!(error.contains("--reason"), "{error}");
    let tokens = &portal.wired.credentials.service_tokens;
    for arguments in [&["create", "--name", "edge", "--scope", "keys:verify"][..], &["revoke", "--name", "edge"]] {
        needs_reason(run_service_token(arguments, tokens).await.err().unwrap().to_string());
    }
    needs_reason(run_reconcile(&[], &portal.wired.reconciler).await.unwrap_err().to_string());
    needs_reason(portal.webhooks(&["replay", "msg_1"]).await.unwrap_err());
    assert_eq!(portal.audit(&["export", "--account", "platform"]).await.text, "", "nothing was done");

    portal.database.execute(PARKED).await.unwrap();
    let why = |number: u32| format!("reason {number}");
    let create = ["create", "--name", "edge", "--scope", "keys:verify", "--reason", &why(1)];
    portal.service_token(&create).await;
    portal.service_token(&["revoke", "--name", "edge", "--reason", &why(2)]).await;
    run_reconcile(&["--dry-run"], &portal.wired.reconciler).await.unwrap();
    portal.reconcile(&["--reason", &why(3)]).await;
    portal.webhooks(&["replay", "msg_1", "--reason", &why(4)]).await.unwrap();
    let records = lines(&portal.audit(&["export", "--account", "platform"]).await.text);
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let told: Vec<_> = records.iter().map(|record| (text(record, "action"), text(record, "reason"))).collect();
    let actions = ["service_token.created", "service_token.revoked", "directory.reconciled", "webhook.replayed"];
    let expected: Vec<_> = (1..).zip(actions).map(|(number, action)| (action.to_owned(), why(number))).collect();
    assert_eq!(told, expected);
    assert_eq!(text(&records[3], "subject"), "msg_1");
    let operator = json!({ "kind": "system", "id": "operator", "behind": null });
    assert!(records.iter().all(|record| record["actor"] == operator), "{records:?}");
}

/// A message that could not be read once, and tells nothing that is kept.
const PARKED: &str = "INSERT INTO webhook_inbox (id, kind, received_at, body, reason)
    VALUES ('msg_1', 'email.created', now(), '{\"object\":\"event\",\"type\":\"email.created\",\"data\":{}}', 'once')";
