//! The corpus of requests with the answers of Clerk's own SDK (`tests/conformance/`), asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portal_clerk::{
    AcceptsToken, Auth, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, RequestAuthenticator,
    RequestParts, RequestState, SatelliteOptions, SecretString, StrictChoices, Timestamp, TokenType,
};
use portal_testkit::FixedClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::{FakeClerk, Reply};

/// Requests that are asked at the same time.
const PARTS: usize = 4;
/// Requests whose settings stop the start here, although the SDK answers (`docs/clerk-compatibility.md`).
const STOPPED: usize = 17;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/conformance").join(file)
}

pub(crate) fn read(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(file)).unwrap()).unwrap()
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The configuration of a case; none if it is one that stops the start here.
fn options(corpus: &Value, case: &Value, api_url: &str, choices: StrictChoices) -> Option<ClerkOptions> {
    let configuration = &corpus["configurations"][case["configuration"].as_str().unwrap()];
    let mut options = ClerkOptions::new(text(configuration, "publishable_key").unwrap_or_default());
    options.secret_key = text(configuration, "secret_key").map(SecretString::from);
    options.jwt_key = text(configuration, "jwt_key")
        .map(|kid| corpus["keys"][kid.as_str()]["public_pem"].as_str().map_or(kid, str::to_owned));
    options.authorized_parties = texts(&configuration["authorized_parties"]);
    options.audiences = texts(&configuration["audience"]);
    options.machine_secret_key = text(configuration, "machine_secret_key").map(SecretString::from);
    options.proxy_url = text(configuration, "proxy_url");
    if let Some(skew) = configuration.get("clock_skew_ms") {
        options.clock_skew = Duration::from_millis(skew.as_u64()?);
    }
    if configuration["is_satellite"] == true {
        options.satellite = Some(SatelliteOptions {
            domain: text(configuration, "domain"),
            sign_in_url: text(configuration, "sign_in_url"),
            auto_sync: configuration["satellite_auto_sync"] == true,
        });
    }
    options.organization_sync.organization_patterns = texts(&configuration["organization_patterns"]);
    options.organization_sync.personal_account_patterns = texts(&configuration["personal_account_patterns"]);
    api_url.clone_into(&mut options.api_url);
    options.choices = choices;
    options.token_cache_entries = 0;
    // Nothing here is about time: a busy machine makes no verdict.
    options.timeouts.total = Duration::from_mins(1);
    Some(options)
}

/// Status, reason, redirect, cookies, and who is signed in.
fn seen(state: &RequestState) -> Value {
    let cookies: Vec<_> =
        state.headers().iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.clone()).collect();
    json!({
        "status": state.status().as_str(),
        "reason": state.reason().map(|reason| reason.as_str().into_owned()),
        "location": state.location(),
        "set_cookie": cookies,
        "auth": match state {
            RequestState::SignedIn { auth: Auth::Session(auth), .. } if auth.is_pending() => Value::Null,
            RequestState::SignedIn { auth: Auth::Session(auth), .. } => json!({
                "user_id": auth.user_id.as_str(),
                "session_id": auth.session_id.as_ref().map(|id| id.as_str().to_owned()),
                "org_id": auth.organization.as_ref().map(|organization| organization.id.as_str().to_owned()),
                "org_role": auth.organization.as_ref().and_then(|organization| organization.role.clone()),
                "org_permissions": auth.organization.as_ref().map(|organization| organization.permissions.clone()),
            }),
            RequestState::SignedIn { auth: Auth::Machine(auth), .. } => json!({
                "id": auth.id,
                "subject": auth.subject,
                "client_id": auth.client_id,
                "scopes": auth.scopes,
            }),
            _ => Value::Null,
        },
        "token_type": match state {
            RequestState::SignedIn { auth: Auth::Machine(auth), .. } => Some(auth.token_type.as_str()),
            RequestState::SignedOut(out) => out.token_type.map(TokenType::as_str),
            _ => Some(TokenType::SessionToken.as_str()),
        },
    })
}

fn wanted(expect: &Value) -> Value {
    let auth = &expect["auth"];
    let auth = if auth.get("scopes").is_some() {
        json!({
            "id": auth["id"],
            "subject": auth["subject"],
            // Where there is none, the SDK says so in several ways.
            "client_id": if auth["client_id"] == "" { &Value::Null } else { &auth["client_id"] },
            "scopes": if auth["scopes"].is_null() { json!([]) } else { auth["scopes"].clone() },
        })
    } else if auth["user_id"].is_null() {
        Value::Null
    } else {
        json!({
            "user_id": auth["user_id"],
            "session_id": auth["session_id"],
            "org_id": auth["org_id"],
            "org_role": auth["org_role"],
            // Where the SDK knows none at all, it says null; and without an organization an empty list is as good.
            "org_permissions": match (&auth["org_id"], &auth["org_permissions"]) {
                (Value::String(_), Value::Null) => json!([]),
                (Value::Null, Value::Array(none)) if none.is_empty() => Value::Null,
                (_, permissions) => permissions.clone(),
            },
        })
    };
    json!({
        "status": expect["status"],
        "reason": expect["reason"],
        "location": expect["location"],
        "set_cookie": expect["set_cookie"],
        "auth": auth,
        "token_type": expect["token_type"],
    })
}

async fn answer(corpus: &Value, case: &Value, choices: StrictChoices) -> Option<Value> {
    let jwks: Vec<_> = corpus["jwks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kid| corpus["keys"][kid.as_str().unwrap()]["jwk"].clone())
        .collect();
    let api = FakeClerk::start(Reply::Raw(Vec::new())).await;
    api.route("/v1/jwks", Reply::json(200, &json!({ "keys": jwks })));
    for call in case["bapi"].as_array().into_iter().flatten() {
        let query = text(call, "query").filter(|query| !query.is_empty());
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let reply = match call["status"].as_u64() {
            Some(status) => {
                let status = u16::try_from(status).unwrap();
                match (text(call, "content_type"), call.get("body")) {
                    (_, None) => Reply::status(status, ""),
                    (Some(content_type), Some(body)) => {
                        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                        Reply::status(status, body).with("content-type", &content_type)
                    }
                    (None, Some(Value::String(body))) => {
                        Reply::status(status, body.as_str()).with("content-type", "application/json")
                    }
                    (None, Some(body)) => Reply::json(status, body),
                }
            }
            None => Reply::Raw(Vec::new()),
        };
        api.route(&format!("{}{query}", call["path"].as_str().unwrap()), reply);
    }
    let settings = options(corpus, case, api.url(), choices)?.validate().ok()?;
    let clock = Arc::new(FixedClock::default());
    let now_ms = case["now_ms"].as_i64().unwrap();
    clock.set(Timestamp::from_unix_seconds(now_ms.div_euclid(1_000)).unwrap());
    clock.advance(Duration::from_millis(u64::try_from(now_ms.rem_euclid(1_000)).unwrap()));
    let clerk = ClerkAuthenticator::new(settings, clock).ok()?;
    let parts = RequestParts::new(case["method"].as_str().unwrap(), case["url"].as_str().unwrap());
    let parts = case["headers"]
        .as_array()
        .unwrap()
        .iter()
        .fold(parts, |parts, header| parts.header(header[0].as_str().unwrap(), header[1].as_str().unwrap()));
    Some(seen(&clerk.authenticate_request(&parts, &asked(case)).await))
}

/// Public addresses are made by whoever knows the proxies, and where the SDK throws there is no verdict to compare.
fn is_ours_to_answer(case: &Value) -> bool {
    case.get("kind").is_none() && case["expect"].get("throws").is_none()
}

fn token_type(text: &str) -> TokenType {
    let all = [TokenType::SessionToken, TokenType::M2mToken, TokenType::OauthToken, TokenType::ApiKey];
    *all.iter().find(|known| known.as_str() == text).unwrap()
}

fn asked(case: &Value) -> AuthenticateRequestOptions {
    let accepts_token = match &case["accepts_token"] {
        Value::String(any) if any == "any" => AcceptsToken::Any,
        Value::String(one) => AcceptsToken::One(token_type(one)),
        list => AcceptsToken::OneOf(texts(list).iter().map(|text| token_type(text)).collect::<Vec<_>>().leak()),
    };
    AuthenticateRequestOptions { accepts_token, ..AuthenticateRequestOptions::DOCUMENT }
}

/// The answers of all requests under these choices, by name; without those that would stop the start.
async fn answers(corpus: &Arc<Value>, choices: StrictChoices) -> BTreeMap<String, Value> {
    let mut asking = JoinSet::new();
    for part in 0..PARTS {
        let corpus = Arc::clone(corpus);
        asking.spawn(async move {
            let mut found = Vec::new();
            let cases = corpus["cases"].as_array().unwrap().iter().skip(part).step_by(PARTS);
            for case in cases.filter(|case| is_ours_to_answer(case)) {
                let answer = answer(&corpus, case, choices).await;
                found.extend(answer.map(|answer| (case["name"].as_str().unwrap().to_owned(), answer)));
            }
            found
        });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// The cases that a list of differences names.
fn listed(file: &str) -> BTreeSet<String> {
    read(file).as_array().unwrap().iter().flat_map(|entry| texts(&entry["cases"])).collect()
}

/// That what differs is what is listed: nothing more, nothing less.
pub(crate) fn assert_listed(found: &BTreeMap<String, String>, file: &str) {
    let listed = listed(file);
    let unlisted: Vec<_> = found.iter().filter(|(name, _)| !listed.contains(*name)).collect();
    let lines: Vec<_> = unlisted.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    assert!(lines.is_empty(), "{} verdicts differ that {file} does not list:\n{}", lines.len(), lines.join("\n"));
    let stale: Vec<_> = listed.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(stale.is_empty(), "{file} lists verdicts that agree: {stale:#?}");
}

/// What of an answer is no verdict: who is signed in.
const IDENTITY: &[&str] = &["auth"];
const VERDICT: &[&str] = &["status", "reason", "location", "set_cookie", "token_type"];

fn difference(fields: &[&str], expected: &Value, found: &Value) -> Option<String> {
    let differs = fields.iter().map(|name| (name, &expected[*name])).filter(|(name, value)| found[**name] != **value);
    let parts: Vec<_> = differs.map(|(name, value)| format!("{name}: {} instead of {value}", found[*name])).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// In exact, verdicts are those of Clerk's SDK, those listed in `differences.json` apart, and so is who is signed in, the requests in
/// `identity.json` apart. In strict both are those of exact, those listed in `strict.json` apart, each under the switch that makes the
/// difference.
///
/// `CONFORMANCE_WRITE=1` writes `strict.json` anew.
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_those_of_clerks_sdk_or_listed() {
    let corpus = Arc::new(read("cases.json"));
    let exact = answers(&corpus, StrictChoices::exact()).await;
    let cases = corpus["cases"].as_array().unwrap().iter().map(|case| (case["name"].as_str().unwrap(), case));
    let cases: BTreeMap<_, _> = cases.collect();
    let ours = cases.values().filter(|case| is_ours_to_answer(case)).count();
    assert_eq!(ours - exact.len(), STOPPED, "requests with settings that stop the start");
    for (file, fields) in [("differences.json", VERDICT), ("identity.json", IDENTITY)] {
        let from_sdk = |(name, found): (&String, &Value)| {
            Some((name.clone(), difference(fields, &wanted(&cases[name.as_str()]["expect"]), found)?))
        };
        assert_listed(&exact.iter().filter_map(from_sdk).collect(), file);
    }

    let strict = answers(&corpus, StrictChoices::strict()).await;
    let all = [VERDICT, IDENTITY].concat();
    let from_exact =
        |(name, found): (&String, &Value)| Some((name.clone(), difference(&all, exact.get(name)?, found)?));
    let differences: BTreeMap<_, _> = strict.iter().filter_map(from_exact).collect();
    if std::env::var_os("CONFORMANCE_WRITE").is_some() {
        let mut by_switch = BTreeMap::<&str, Vec<&str>>::new();
        for name in differences.keys() {
            by_switch.entry(switch(&corpus, cases[name.as_str()], &exact[name]).await).or_default().push(name);
        }
        let list: Vec<_> =
            by_switch.iter().map(|(switch, cases)| json!({ "switch": switch, "cases": cases })).collect();
        std::fs::write(path("strict.json"), format!("{:#}\n", json!(list))).unwrap();
    }
    assert_listed(&differences, "strict.json");
}

/// The switch that alone makes the difference.
async fn switch(corpus: &Value, case: &Value, exact: &Value) -> &'static str {
    for (name, turn_on) in SWITCHES {
        let mut choices = StrictChoices::exact();
        turn_on(&mut choices);
        if answer(corpus, case, choices).await.as_ref() != Some(exact) {
            return name;
        }
    }
    "several"
}

/// A switch by its name, and how to turn it on.
type Switch = (&'static str, fn(&mut StrictChoices));

const SWITCHES: [Switch; 45] = [
    ("check_class_everywhere", |choices| choices.check_class_everywhere = true),
    ("reject_unrepresentable_values", |choices| choices.reject_unrepresentable_values = true),
    ("plain_key_ids", |choices| choices.plain_key_ids = true),
    ("require_description", |choices| choices.require_description = true),
    ("known_claim_versions_only", |choices| choices.known_claim_versions_only = true),
    ("count_user_features", |choices| choices.count_user_features = true),
    ("name_key_outages", |choices| choices.name_key_outages = true),
    ("check_issuer", |choices| choices.check_issuer = true),
    ("require_session_id", |choices| choices.require_session_id = true),
    ("rs256_only", |choices| choices.rs256_only = true),
    ("reject_unknown_crit", |choices| choices.reject_unknown_crit = true),
    ("strict_aud_types", |choices| choices.strict_aud_types = true),
    ("require_audience", |choices| choices.require_audience = true),
    ("strict_encoding", |choices| choices.strict_encoding = true),
    ("reject_duplicate_claims", |choices| choices.reject_duplicate_claims = true),
    ("strict_times", |choices| choices.strict_times = true),
    ("reject_malformed_actor", |choices| choices.reject_malformed_actor = true),
    ("keep_stale_keys", |choices| choices.keep_stale_keys = true),
    ("refetch_on_bad_signature", |choices| choices.refetch_on_bad_signature = true),
    ("no_handshake_in_query", |choices| choices.no_handshake_in_query = true),
    ("own_cookies_only", |choices| choices.own_cookies_only = true),
    ("count_redirects", |choices| choices.count_redirects = true),
    ("retry_handshake_payload", |choices| choices.retry_handshake_payload = true),
    ("lenient_cookie_azp", |choices| choices.lenient_cookie_azp = true),
    ("no_refresh_for_headers", |choices| choices.no_refresh_for_headers = true),
    ("known_satellites_only", |choices| choices.known_satellites_only = true),
    ("omit_message_header", |choices| choices.omit_message_header = true),
    ("machine_ignores_azp", |choices| choices.machine_ignores_azp = true),
    ("check_machine_state", |choices| choices.check_machine_state = true),
    ("require_m2m_audience", |choices| choices.require_m2m_audience = true),
    ("cache_opaque_tokens", |choices| choices.cache_opaque_tokens = true),
    ("name_class_by_prefix", |choices| choices.name_class_by_prefix = true),
    ("drop_empty_scopes", |choices| choices.drop_empty_scopes = true),
    ("check_machine_subject", |choices| choices.check_machine_subject = true),
    ("require_session_id_in_path", |choices| choices.require_session_id_in_path = true),
    ("plain_error_codes", |choices| choices.plain_error_codes = true),
    ("judge_answers_by_content", |choices| choices.judge_answers_by_content = true),
    ("mend_organizations", |choices| choices.mend_organizations = true),
    ("unknown_status_is_pending", |choices| choices.unknown_status_is_pending = true),
    ("check_class_first", |choices| choices.check_class_first = true),
    ("typed_cookie_claims", |choices| choices.typed_cookie_claims = true),
    ("require_objects", |choices| choices.require_objects = true),
    ("rs256_keys_only", |choices| choices.rs256_keys_only = true),
    ("require_user_subject", |choices| choices.require_user_subject = true),
    ("strict_questions", |choices| choices.strict_questions = true),
];

#[test]
fn every_switch_is_in_the_published_table() {
    let table = std::fs::read_to_string(path("../../docs/clerk-compatibility.md")).unwrap();
    let on = format!("{:?}", StrictChoices::strict()).matches(": true").count();
    assert_eq!(on, SWITCHES.len(), "every switch that strict turns on is asked alone here");
    let strict = read("strict.json");
    for (name, _) in SWITCHES {
        let entry = strict.as_array().unwrap().iter().find(|entry| entry["switch"] == name);
        let count = entry.map_or(String::new(), |entry| entry["cases"].as_array().unwrap().len().to_string());
        let is_row = |line: &str| line.starts_with(&format!("| `{name}` |")) && line.ends_with(&format!("| {count} |"));
        assert!(table.lines().any(is_row), "{name}: {count}");
    }
    for (file, prefix) in [("differences.json", ""), ("identity.json", ""), ("has.json", "`has`: ")] {
        for entry in read(file).as_array().unwrap() {
            let row = format!("| {prefix}{} | {} |", text(entry, "why").unwrap(), texts(&entry["cases"]).len());
            assert!(table.lines().any(|line| line == row), "{row}");
        }
    }
}
