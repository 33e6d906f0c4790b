//! Many requests at once: none has anything of another.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Answer, Portal};
use futures_util::future::join_all;
use portal_dev_idp::Person;
use reqwest::Method;
use serde_json::json;

const PEOPLE: [&str; 5] = ["alice", "adam", "edith", "victor", "stranger"];

/// One that checks each kind of permission, and changes nothing when it is asked again.
fn questions(account: &str, key: &str) -> [(Method, String); 5] {
    [
        (Method::GET, format!("/v1/accounts/{account}")),
        (Method::GET, format!("/v1/accounts/{account}/api-keys")),
        (Method::GET, format!("/v1/accounts/{account}/audit-events")),
        (Method::GET, format!("/v1/api-keys/{key}")),
        (Method::POST, format!("/v1/api-keys/{key}/revoke")),
    ]
}

async fn verdict(portal: &Portal, question: &(Method, String), token: &str) -> u16 {
    let (method, path) = question;
    portal.send(portal.request(method.clone(), path).bearer_auth(token)).await.status.as_u16()
}

/// The verdicts for everybody, one after the other.
async fn in_turn(portal: &Portal, questions: &[(Method, String)]) -> Vec<Vec<u16>> {
    let mut all = Vec::new();
    for person in PEOPLE {
        let mut verdicts = Vec::new();
        for question in questions {
            verdicts.push(verdict(portal, question, &portal.token(person)).await);
        }
        all.push(verdicts);
    }
    all
}

/// The same for all at once, so many times.
async fn at_once(portal: &Portal, questions: &[(Method, String)], times: usize) -> Vec<Vec<Vec<u16>>> {
    let round = || {
        join_all(PEOPLE.map(|person| {
            let token = portal.token(person);
            async move { join_all(questions.iter().map(|question| verdict(portal, question, &token))).await }
        }))
    };
    join_all((0..times).map(|_| round())).await
}

/// CVE-2025-49011, CVE-2025-65111, CVE-2026-55866 (concurrent cached checks): at once everybody gets what they get in turn, and while a role
/// changes, what they had before or have after.
#[tokio::test(flavor = "multi_thread")]
async fn t30_permissions_at_once_are_those_in_turn_while_memberships_change() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let account = portal.acme().await;
    let (key, _) = portal.create_key("adam", &account).await;
    let questions = questions(&account, &key);
    in_turn(&portal, &questions).await;
    let member = portal.person("edith");
    let with = |role: Option<&str>| match role {
        None => Person { memberships: Vec::new(), active_organization: None, ..member.clone() },
        Some(role) => {
            let mut person = member.clone();
            person.memberships[0].role = format!("org:{role}");
            person
        }
    };
    let mut before = in_turn(&portal, &questions).await;
    let mut seen = BTreeSet::new();
    for (step, role) in ["viewer", "admin", "editor", "viewer", "editor", "admin", "viewer"]
        .into_iter()
        .map(Some)
        .chain([None])
        .enumerate()
    {
        let mut changed = with(role);
        for membership in &mut changed.memberships {
            membership.updated_at += i64::try_from(step + 1).unwrap() * 1_000;
        }
        portal.idp.add_person(changed);
        let (during, ()) = tokio::join!(at_once(&portal, &questions, 8), portal.idp.webhooks_settled());
        let after = settled(&portal, &questions, role).await;
        for round in &during {
            for (person, verdicts) in round.iter().enumerate() {
                for (which, verdict) in verdicts.iter().enumerate() {
                    let possible = [before[person][which], after[person][which]];
                    assert!(
                        possible.contains(verdict),
                        "{} asks {:?}: {verdict} of {possible:?}",
                        PEOPLE[person],
                        questions[which]
                    );
                }
            }
        }
        for round in at_once(&portal, &questions, 8).await {
            assert_eq!(round, after, "at once and in turn, with {role:?}");
        }
        seen.insert(after[2].clone());
        before = after;
    }
    assert_eq!(before[2], [404; 5], "who is no member sees nothing");
    assert!(seen.len() >= 3, "the roles differ in what they may: {seen:?}");
}

/// The verdicts in turn, once the role is known here.
async fn settled(portal: &Portal, questions: &[(Method, String)], role: Option<&str>) -> Vec<Vec<u16>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let told = portal.get(&questions[0].1, &portal.token("edith")).await;
        if told.json()["role"].as_str() == role {
            return in_turn(portal, questions).await;
        }
        assert!(Instant::now() < deadline, "{role:?} was not heard of: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A request that fails in one of many ways, with a text of its own in whatever it may carry; and how it must fail.
async fn fail(portal: &Portal, account: &str, number: usize) -> (String, Answer, u16, &'static str) {
    let marker = format!("mark{number:05}x");
    let token = portal.token("stranger");
    let keys = format!("/v1/accounts/{account}/api-keys");
    let get = |path: &str| portal.request(Method::GET, path).header("x-marker", &marker);
    let post = |path: &str| portal.request(Method::POST, path).header("x-marker", &marker).bearer_auth(&token);
    let (request, status, code) = match number % 10 {
        0 => (get(&format!("/v1/{marker}")).bearer_auth(&token), 404, "not_found"),
        1 => (get("/v1/me").bearer_auth(&marker), 401, "unauthenticated"),
        2 => (get(&format!("{keys}?{marker}=1")).bearer_auth(&token), 400, "invalid_query"),
        3 => (get(&format!("{keys}?cursor={marker}")).bearer_auth(&token), 400, "invalid_cursor"),
        4 => (post(&keys).json(&json!({ &marker: &marker })), 422, "invalid_body"),
        5 => (
            post(&keys).header("content-type", "application/json").body(format!("{{\"{marker}")),
            400,
            "malformed_json",
        ),
        6 => (
            post(&keys).header("content-type", format!("text/{marker}")).body(marker.clone()),
            415,
            "unsupported_media_type",
        ),
        7 => (get(&format!("/v1/accounts/acc_{marker}")).bearer_auth(&token), 404, "not_found"),
        8 => (post("/v1/keys/verify").json(&json!({ "key": marker })), 401, "invalid_service_token"),
        _ => {
            (portal.request(Method::DELETE, &format!("/v1/me?{marker}")).bearer_auth(&token), 405, "method_not_allowed")
        }
    };
    let answer = portal.send(request).await;
    (marker, answer, status, code)
}

/// Ory v26.2.5 (an error object was shared): of a thousand that fail at once, none is told anything of another.
#[tokio::test(flavor = "multi_thread")]
async fn t31_a_thousand_failures_at_once_have_nothing_of_each_other() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let failures = join_all((0..1_000).map(|number| fail(&portal, &account, number))).await;
    let mut ids = BTreeSet::new();
    for (marker, answer, status, code) in &failures {
        answer.assert_problem(*status, code);
        assert!(ids.insert(answer.header("x-request-id").to_owned()), "an id came twice: {answer:?}");
        let whole = format!("{:?} {}", answer.headers, answer.text);
        let foreign =
            whole.match_indices("mark").map(|(place, _)| whole[place..].chars().take(marker.len()).collect::<String>());
        let foreign: Vec<_> =
            foreign.filter(|found| found != marker && found[4..9].bytes().all(|byte| byte.is_ascii_digit())).collect();
        assert!(foreign.is_empty(), "{marker} was told {foreign:?}: {answer:?}");
    }
    assert_eq!(ids.len(), 1_000);
}
