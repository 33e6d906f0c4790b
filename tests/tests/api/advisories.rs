//! One named test per published advisory whose class concerns the whole program. Those that concern one crate are tested there.

mod caches;
mod crowd;
mod edge;
mod ownership;
mod secrets;

use std::path::Path;
use std::time::Duration;

use e2e::{Portal, soon, within};
use portal_dev_idp::SigningAlgorithm;
use reqwest::Method;
use serde_json::{Value, json};

use e2e::world::{World, operations};

/// CVE-2024-22206 (identity confusion in Clerk's Next.js helpers): no header, cookie, query or body field chooses whose data is read.
#[tokio::test(flavor = "multi_thread")]
async fn t01_a_request_cannot_choose_whose_data_it_reads() {
    let portal = Portal::start().await;
    let victim = portal.get("/v1/me", &portal.token("alice")).await;
    let (user, clerk, account) =
        (victim.text_at("/user/id"), victim.text_at("/user/clerk_id"), victim.text_at("/active_account/id"));
    let token = portal.token("stranger");
    let own = portal.get("/v1/me", &token).await.json();
    let with = async |request: reqwest::RequestBuilder| portal.send(request.bearer_auth(&token)).await;
    for name in [
        "x-user-id",
        "x-clerk-user-id",
        "x-clerk-auth-status",
        "x-clerk-auth-token",
        "x-forwarded-user",
        "x-account-id",
        "x-original-user",
        "x-remote-user",
        "x-authenticated-userid",
        "x-middleware-subrequest",
        "x-principal",
        "x-sub",
    ] {
        for value in [&user, &clerk, &account] {
            assert_eq!(with(portal.request(Method::GET, "/v1/me").header(name, value)).await.json(), own, "{name}");
        }
    }
    let other = portal.token("alice");
    let cookies = format!("__session={other}; user_id={user}; __client_uat=1");
    assert_eq!(with(portal.request(Method::GET, "/v1/me").header("Cookie", cookies)).await.json(), own);
    for query in
        [format!("user_id={user}"), format!("userId={clerk}"), format!("sub={clerk}"), format!("account_id={account}")]
    {
        assert_eq!(with(portal.request(Method::GET, &format!("/v1/me?{query}"))).await.json(), own, "{query}");
    }
    let mine = portal.personal_account("stranger").await;
    for field in [
        "user_id",
        "account_id",
        "made_by",
        "created_by",
        "org_id",
        "role",
        "owner",
        "permissions",
        "scopes",
        "id",
        "kid",
    ] {
        let body = json!({ "name": "x", field: account });
        let answer = with(portal.request(Method::POST, &format!("/v1/accounts/{mine}/api-keys")).json(&body)).await;
        answer.assert_problem(422, "invalid_body");
    }
}

/// The same, for every operation that reads something of a person's.
#[tokio::test(flavor = "multi_thread")]
async fn t01_no_operation_reads_what_a_request_names_beside_its_path() {
    let world = World::new().await;
    let portal = &world.portal;
    let victim = portal.get("/v1/me", &portal.token("alice")).await;
    let names = [
        victim.text_at("/user/id"),
        victim.text_at("/user/clerk_id"),
        victim.text_at("/user/email"),
        portal.personal_account("alice").await,
        world.account.clone(),
        world.key.clone(),
        portal.token("alice"),
    ];
    let (token, mine) = (portal.token("stranger"), portal.personal_account("stranger").await);
    let (key, _) = portal.create_key("stranger", &mine).await;
    let session = portal.person("stranger").session_id;
    let myself = portal.get("/v1/me", &token).await.text_at("/user/id");
    let mut asked = 0;
    for operation in operations().iter().filter(|operation| operation.requirement == "session") {
        if operation.method != Method::GET {
            continue;
        }
        let path = operation.path.replace("{account_id}", &mine).replace("{key_id}", &key);
        let path = path.replace("{session_id}", &session).replace("{user_id}", &myself);
        let plain = portal.get(&path, &token).await;
        // A personal account has no invitations.
        assert!(plain.status == 200 || plain.text.contains("personal_account"), "{path}: {plain:?}");
        for name in &names {
            let request = |path: &str| portal.request(Method::GET, path).bearer_auth(&token);
            let requests = [
                request(&path).header("x-user-id", name).header("x-account-id", name).header("x-clerk-user-id", name),
                request(&path).header("x-organization-id", name).header("x-forwarded-user", name),
                request(&path).header("cookie", format!("__session={name}; user_id={name}; account_id={name}")),
                request(&path).json(&json!({ "user_id": name, "account_id": name, "id": name })),
                request(&format!("{path}?user_id={name}")),
                request(&format!("{path}?account_id={name}&id={name}")),
            ];
            for request in requests {
                let answer = portal.send(request).await;
                assert!(answer.status == 400 || answer.status == plain.status, "{path}: {answer:?}");
                for told in &names {
                    assert!(!answer.text.contains(told.as_str()), "{path} tells {told}: {answer:?}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 200, "{asked}");
}

/// CVE-2026-25537 (a wrong-typed `exp` or `nbf` was taken as absent).
#[tokio::test(flavor = "multi_thread")]
async fn t11_wrong_typed_times_are_refused() {
    let portal = Portal::start().await;
    let wrong: [Value; 8] = [
        json!("9999999999"),
        json!(null),
        json!([9_999_999_999_i64]),
        json!({}),
        json!(true),
        json!(-1),
        json!("NaN"),
        json!(1e300),
    ];
    for claim in ["exp", "nbf", "iat"] {
        for value in &wrong {
            // In the past, a number is nothing special for these two.
            if claim != "exp" && *value == json!(-1) {
                continue;
            }
            let token = portal.idp.mint().encode(&portal.token_spec("alice").claim(claim, value.clone()));
            let answer = portal.get("/v1/me", &token).await;
            assert_eq!(answer.status, 401, "{claim} = {value}: {answer:?}");
        }
    }
    let endless = portal.idp.mint().encode(&portal.token_spec("alice").without_claim("exp"));
    portal.get("/v1/me", &endless).await.assert_problem(401, "unauthenticated");
}

/// CVE-2026-31813 (issuer and key location taken from the token).
#[tokio::test(flavor = "multi_thread")]
async fn t16_keys_and_issuer_come_from_the_configuration() {
    let portal = Portal::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let attacker = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    for header in ["jku", "x5u", "jwk", "x5c"] {
        let spec = portal.token_spec("alice").header(header, attacker.as_str()).signed_by(e2e::FOREIGN_KEY.clone());
        portal.get("/v1/me", &portal.idp.mint().encode(&spec)).await.assert_problem(401, "unauthenticated");
    }
    let spec = portal.token_spec("alice").claim("iss", attacker.as_str()).signed_by(e2e::FOREIGN_KEY.clone());
    portal.get("/v1/me", &portal.idp.mint().encode(&spec)).await.assert_problem(401, "unauthenticated");
    let spec = portal.token_spec("alice").algorithm(SigningAlgorithm::None).claim("iss", attacker.as_str());
    portal.get("/v1/me", &portal.idp.mint().encode(&spec)).await.assert_problem(401, "unauthenticated");
    // Whoever had called would wait in the queue of the listener.
    let called = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
    assert!(called.is_err(), "somebody fetched keys from an address in a token");
}

/// CVE-2026-8922 (a moment before which tokens count no more, at two levels of which one hid the other): that of a person and that of
/// everybody work alone and together, the later one counts, and every server keeps to it within a second.
#[tokio::test(flavor = "multi_thread")]
async fn t18_epochs_of_a_person_and_of_everybody_work_alone_and_the_later_one_counts() {
    // By the real clock: moments are told by the database's.
    let portal = Portal::start().await;
    let servers = [portal.replica(), portal.replica()];
    let next_second = async || {
        let second = portal.now().unix_seconds();
        within(Duration::from_secs(5), "the next second", async || portal.now().unix_seconds() > second).await;
    };
    // Of sessions of their own, so that none ends by name.
    let token = |name: &str, age: u64| {
        let id = portal.idp.add_session(&portal.person(name).user_id).unwrap().id;
        let issued = portal.now().minus(Duration::from_secs(age)).unix_seconds();
        portal.idp.mint().encode(&portal.token_spec(name).claim("sid", id).claim("iat", issued))
    };
    let ends = async |ended: &[&str], lives: &[&str]| {
        for server in &servers {
            for token in ended {
                soon("an epoch is heard of", async || server.get("/v1/me", token).await.status != 200).await;
                server.get("/v1/me", token).await.assert_problem(401, "session_ended");
                assert_eq!(server.get("/v1/auth/status", token).await.text_at("/reason"), "session-ended");
            }
            for token in lives {
                assert_eq!(server.get("/v1/me", token).await.status, 200);
                assert_eq!(server.get("/v1/auth/status", token).await.text_at("/status"), "signed-in");
            }
        }
    };
    let everywhere = async |name: &str| {
        let answer = portal.post("/v1/auth/sign-out?everywhere=true", &token(name, 0), &json!({})).await;
        answer.assert_problem(503, "identity_unavailable");
        assert_eq!(answer.json().get("reason"), None, "the token was judged");
    };
    let (alice, stranger) = (token("alice", 1), token("stranger", 1));
    ends(&[], &[&alice, &stranger]).await;
    assert_eq!(portal.get("/v1/me", &alice).await.status, 200, "it has the provider's keys");

    // The person's alone, with a provider that tells of no session.
    portal.idp.set_outage(true);
    everywhere("alice").await;
    let new = token("alice", 0);
    ends(&[&alice], &[&stranger, &new]).await;

    // Everybody's is later.
    let edith = token("edith", 0);
    next_second().await;
    let told = portal.sessions(&["end-all", "--reason", "tokens in a log"]).await.unwrap();
    let moment = "SELECT to_char(minted_before AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') AS text
                  FROM session_epochs WHERE person = '*'";
    let moment = portal.database.texts(moment).await.unwrap().concat();
    assert!(!moment.is_empty() && told.contains(&moment), "{told} {moment}");
    let (alice, other) = (token("alice", 0), token("stranger", 0));
    ends(&[&new, &stranger, &edith], &[&alice, &other]).await;

    // The person's is the later one again.
    let another = token("alice", 0);
    next_second().await;
    everywhere("alice").await;
    ends(&[&alice, &another], &[&other, &token("alice", 0)]).await;
    // A server that starts now knows both.
    portal.idp.set_outage(false);
    let late = portal.replica();
    for token in [&alice, &stranger] {
        late.get("/v1/me", token).await.assert_problem(401, "session_ended");
    }
    assert_eq!(late.get("/v1/me", &other).await.status, 200);

    let record =
        "SELECT actor_id || ' ' || action || ' ' || subject || ' ' || reason AS text FROM platform_audit_events";
    assert_eq!(portal.database.texts(record).await.unwrap(), ["operator sessions.ended platform tokens in a log"]);
    assert!(portal.sessions(&["end-all"]).await.is_err(), "an operator says why");
}

/// CVE-2026-8922 again, at the levels that end by name: a key, a session, an organization. Each ends alone, on a server that knew it, and
/// what is made after a later moment at another level brings none of them back.
#[tokio::test(flavor = "multi_thread")]
async fn t18_what_ended_by_name_ends_alone_and_no_later_moment_brings_it_back() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let other = portal.replica();
    let (acme, own) = (portal.acme().await, portal.personal_account("alice").await);
    let gateway = portal.gateway("edge").await;
    let (key, ended_key) = portal.create_key("alice", &acme).await;
    let [(_, of_acme), (_, of_alice)] =
        [portal.create_key("alice", &acme).await, portal.create_key("alice", &own).await];
    let session = portal.idp.add_session(&portal.person("alice").user_id).unwrap().id;
    let ended_session = || portal.idp.mint().encode(&portal.token_spec("alice").claim("sid", session.clone()));
    let path = format!("/v1/accounts/{acme}");
    let status = async |path: &str, token: &str| other.get(path, token).await.status.as_u16();
    let decisions = async || {
        let mut found = Vec::new();
        for key in [&ended_key, &of_acme, &of_alice] {
            found.push(other.post("/v1/keys/verify", &gateway, &json!({ "key": key })).await.text_at("/decision"));
        }
        found
    };
    assert_eq!(decisions().await, ["allow", "allow", "allow"]);
    assert_eq!(status(&path, &ended_session()).await, 200);

    let revoked = portal.post(&format!("/v1/api-keys/{key}/revoke"), &portal.token("alice"), &json!({})).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    soon("the end of a key", async || decisions().await == ["deny", "allow", "allow"]).await;

    portal.idp.revoke_session(&session).unwrap();
    portal.idp.webhooks_settled().await;
    soon("the end of a session", async || status("/v1/me", &ended_session()).await == 401).await;
    assert_eq!(status(&path, &portal.token("alice")).await, 200, "another session of hers");

    let deleted = portal.delete(&path, &portal.token("alice")).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    soon("the end of an organization", async || status(&path, &portal.token("alice")).await == 404).await;
    soon("the end of its keys", async || decisions().await == ["deny", "deny", "allow"]).await;
    assert_eq!(status("/v1/me", &portal.token("alice")).await, 200);

    portal.sessions(&["end-all", "--reason", "tokens in a log"]).await.unwrap();
    // Made after that moment, or in its very second.
    soon("later tokens count", async || status("/v1/me", &portal.token("alice")).await == 200).await;
    assert_eq!(status("/v1/me", &ended_session()).await, 401);
    assert_eq!(status(&path, &portal.token("alice")).await, 404);
    assert_eq!(decisions().await, ["deny", "deny", "allow"]);
}

/// CVE-2025-49011, CVE-2025-65111, CVE-2026-55866 (a cached check answered for other inputs): whatever is asked at the same time, of whatever
/// is remembered, each token gets what it gets alone.
#[tokio::test(flavor = "multi_thread")]
async fn t30_what_is_asked_together_is_answered_as_if_it_were_asked_alone() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let named = |name: &str, role: &str| portal.token_spec(name).organization("org_dev_acme", "acme", role);
    let mut specs: Vec<_> = ["alice", "adam", "edith", "victor", "stranger"].map(|name| portal.token_spec(name)).into();
    specs.extend([
        named("alice", "viewer"),
        named("alice", "unheard_of"),
        named("victor", "admin"),
        portal.token_spec("alice").without_claim("o"),
        portal.token_spec("alice").impersonated_by("user_support"),
        named("alice", "viewer").impersonated_by("user_support"),
        portal.token_spec("alice").driven_by_agent("agent_1"),
        portal.token_spec("alice").corrupt_signature(),
    ]);
    let tokens: Vec<_> = specs.iter().map(|spec| portal.idp.mint().encode(spec)).collect();
    let paths = ["/v1/me".to_owned(), format!("/v1/accounts/{acme}"), format!("/v1/accounts/{acme}/api-keys")];
    let questions: Vec<_> = tokens.iter().flat_map(|token| paths.iter().map(move |path| (token, path))).collect();
    let ask = async |(token, path): (&String, &String)| {
        let answer = portal.get(path, token).await;
        (answer.status, answer.without_request_id())
    };
    // Twice, so that what is read again because of a token has been.
    let mut alone = Vec::new();
    for _ in 0..2 {
        alone.clear();
        for question in &questions {
            alone.push(ask(*question).await);
        }
    }
    let different = alone.iter().map(|(_, body)| body.to_string()).collect::<std::collections::BTreeSet<_>>().len();
    assert!(different > 15, "the tokens differ in what they get: {different}");
    // Each in another order, with strides that meet every question once.
    for stride in [1, 2, 5, 7, 11, 16, 17, 19] {
        let order: Vec<_> = (0..questions.len()).map(|place| place * stride % questions.len()).collect();
        let answers = futures_util::future::join_all(order.iter().map(|place| ask(questions[*place]))).await;
        for (place, answer) in order.iter().zip(answers) {
            assert_eq!(answer, alone[*place], "{:?} in strides of {stride}", questions[*place]);
        }
    }
}

/// CVE-2026-42208 (SQL injection before authentication): what stands in `Authorization` reaches the database only as a parameter.
#[tokio::test(flavor = "multi_thread")]
async fn t25_the_authorization_header_is_never_sql() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("alice")).await;
    let account = portal.personal_account("alice").await;
    portal.create_key("alice", &account).await;
    let service = portal.gateway("gateway").await;
    let rows = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM service_tokens) AS count";
    let before = portal.database.count(rows).await.unwrap();
    let hostile = [
        "' OR '1'='1",
        "'; DROP TABLE users; --",
        "\\'; SELECT pg_sleep(10); --",
        "\" OR 1=1",
        "%27%20OR%201=1",
        "') UNION SELECT 1 --",
        "$1",
        "{}",
        "\u{2019} OR 1=1",
        "portal_svc_' OR 1=1",
        "cort_live_' OR 1=1",
    ];
    for text in hostile {
        for path in ["/v1/me", "/v1/auth/status", "/metrics"] {
            for value in [
                text.to_owned(),
                format!("Bearer {text}"),
                format!("Basic {text}"),
                format!("Bearer portal_svc_{text}"),
            ] {
                let answer =
                    portal.send(portal.request(Method::GET, path).header("Authorization", value.as_bytes())).await;
                assert!(matches!(answer.status.as_u16(), 200 | 401), "{path} {value}: {answer:?}");
            }
        }
        // Valid in every way but the secret, so that the look-up itself is reached.
        let verdict = portal.verify(&service, text).await;
        assert_eq!(verdict.json()["code"], "invalid_api_key", "{text}");
    }
    assert_eq!(portal.database.count(rows).await.unwrap(), before);
}

/// Every advisory that was ever covered stays covered, by a test that has its number in its name.
#[test]
fn no_advisory_loses_its_test() {
    let mut sources = String::new();
    read_all(&e2e::checkout().join("tests/tests"), &mut sources);
    read_all(&e2e::checkout().join("crates"), &mut sources);
    let covered = [
        1, 2, 4, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18, 19, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 38, 39, 40, 41,
    ]
    .map(|number| format!("t{number:02}_"));
    for name in covered {
        let test = sources
            .lines()
            .any(|line| line.split("fn ").nth(1).is_some_and(|rest| rest.starts_with('t') && rest.contains(&name)));
        assert!(test, "{name}");
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// RUSTSEC-2023-0071 (timing leak of the `rsa` crate, no fix): the crate is not in the tree.
#[test]
fn t22_the_rsa_crate_is_absent() {
    assert!(!locked().iter().any(|(name, _)| name == "rsa"));
}

/// GHSA-h395-gr6q-cpjc is in no `RustSec` snapshot: floors are enforced whatever a scanner knows. `deny.toml` holds the same.
#[test]
fn t40_t41_versions_with_known_advisories_are_absent() {
    let floors = [
        ("jsonwebtoken", [10, 3, 0]),
        ("rustls-webpki", [0, 103, 13]),
        ("h2", [0, 4, 16]),
        ("time", [0, 3, 47]),
        ("tokio-postgres", [0, 7, 18]),
        ("postgres-protocol", [0, 6, 12]),
        ("aws-lc-sys", [0, 39, 0]),
        ("bcrypt", [0, 19, 2]),
        ("svix", [1, 17, 0]),
        ("sqlx", [0, 8, 1]),
    ];
    let deny = include_str!("../../../deny.toml");
    let locked = locked();
    for (name, floor) in floors {
        let [major, minor, patch] = floor;
        let rule = format!("{{ name = \"{name}\", version = \"<{major}.{minor}.{patch}\" }}");
        assert!(deny.contains(&rule), "deny.toml lacks {rule}");
        for (_, version) in locked.iter().filter(|(known, _)| known == name) {
            assert!(*version >= floor, "{name} {version:?}");
        }
    }
    assert!(locked.iter().any(|(name, _)| name == "jsonwebtoken"), "the lock file was read");
}

/// Name and version of every locked package.
fn locked() -> Vec<(String, [u64; 3])> {
    let lock = include_str!("../../../Cargo.lock");
    let value = |line: Option<&str>| line.and_then(|line| line.split('"').nth(1)).unwrap_or_default().to_owned();
    lock.split("[[package]]")
        .skip(1)
        .map(|package| {
            let mut lines = package.lines().filter(|line| !line.is_empty());
            let (name, version) = (value(lines.next()), value(lines.next()));
            let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
            (name, std::array::from_fn(|_| numbers.next().unwrap_or(0)))
        })
        .collect()
}
