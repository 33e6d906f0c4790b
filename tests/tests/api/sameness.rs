//! A stranger with the id of something real gets what a stranger with a random id gets: status, headers, body, and the same statements
//! are run for both. How long it takes is compared by the example `stranger_timing`.

use e2e::world::{Ids, Operation, World, operations};
use e2e::{Answer, Portal, Replica};
use reqwest::Method;
use serde_json::{Value, json};

/// What a stranger can see of an answer, and what happened for it.
#[derive(Debug, Clone)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    statements: Vec<String>,
}

impl Seen {
    fn new(answer: &Answer, statements: Vec<String>) -> Self {
        let mut headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
            .map(|(name, value)| (name.to_string(), comparable(name.as_str(), value.to_str().unwrap())))
            .collect();
        headers.sort();
        let body = serde_json::from_str(&answer.text).map_or_else(
            |_| answer.text.clone(),
            |mut body: Value| {
                body.as_object_mut().map(|body| body.remove("request_id"));
                body.to_string()
            },
        );
        Self { status: answer.status.as_u16(), headers, body, statements }
    }

    /// In what two of them differ.
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, one: String, two: String| {
            if one != two {
                found.push(format!("{what}: {one} and {two}"));
            }
        };
        compare("status", self.status.to_string(), other.status.to_string());
        compare("headers", format!("{:?}", self.headers), format!("{:?}", other.headers));
        compare("body", self.body.clone(), other.body.clone());
        compare("statements", format!("{:#?}", self.statements), format!("{:#?}", other.statements));
        found
    }
}

/// How many requests are left goes down by one with each, whatever it asks for.
fn comparable(name: &str, value: &str) -> String {
    if name != "ratelimit" {
        return value.to_owned();
    }
    value.split(';').filter(|part| !part.starts_with("r=")).collect::<Vec<_>>().join(";")
}

/// Sends a request of the stranger.
async fn ask(portal: &Portal, server: &Replica, method: &Method, (path, body): (&str, Option<&str>)) -> Seen {
    let mut request = server.request(method.clone(), path).bearer_auth(portal.token("stranger"));
    if let Some(body) = body {
        request = request.header("Content-Type", "application/json").body(body.to_owned());
    }
    server.wired.store.statements().start();
    let answer = portal.send(request).await;
    Seen::new(&answer, server.wired.store.statements().finish())
}

/// Both, twice, of a server that knows the stranger and has never heard of either: what differs when it hears of one for the first time
/// is seen as well.
async fn both(portal: &Portal, method: &Method, real: (&str, Option<&str>), absent: (&str, Option<&str>)) -> [Seen; 2] {
    let mut tries = 0;
    loop {
        let server = portal.replica();
        server.hearing().await;
        assert_eq!(server.get("/v1/me", &portal.token("stranger")).await.status, 200);
        let pair = async || [ask(portal, &server, method, real).await, ask(portal, &server, method, absent).await];
        let mut seen = pair().await;
        if seen[0].differences(&seen[1]).is_empty() {
            seen = pair().await;
        }
        tries += 1;
        // A server that does not hear of changes for a moment reads the stranger again, by chance for one of both. A difference that
        // is due to the ids is there every time.
        if tries == 5 || seen[0].differences(&seen[1]).is_empty() {
            return seen;
        }
    }
}

#[track_caller]
fn assert_same(what: &str, [real, absent]: &[Seen; 2]) {
    let differences = real.differences(absent);
    assert!(differences.is_empty(), "{what}: a stranger can tell what is there: {differences:#?}");
}

async fn operation_is_the_same(world: &World, ids: &Ids, operation: &Operation, own: &str) -> Option<Seen> {
    let Operation { method, path: template, .. } = operation;
    let (path, body) = (world.path(operation), world.body(operation).map(|body| body.to_string()));
    let absent_body = body.as_deref().map(|body| ids.replaced_in(body));
    let mut seen = None;
    if template.contains('{') {
        let absent = ids.replaced_in(&path);
        assert_ne!(path, absent, "{template}: nobody knows a random id for it");
        assert!(!absent.contains('{'), "{template}: nobody knows an id for it");
        let pair = both(&world.portal, method, (&path, body.as_deref()), (&absent, absent_body.as_deref())).await;
        assert_same(template, &pair);
        assert_eq!(pair[0].status, 404, "{template}: {:?}", pair[0]);
        seen = Some(pair[0].clone());
    }
    // What somebody else has, named in the body of a request about what is one's own.
    if body != absent_body {
        let path = path.replace(&world.account, own);
        let pair = both(&world.portal, method, (&path, body.as_deref()), (&path, absent_body.as_deref())).await;
        assert_same(&format!("{template}, the body"), &pair);
        seen = Some(pair[0].clone());
    }
    seen
}

/// CVE-2025-27507 and its class (ids of others).
#[tokio::test(flavor = "multi_thread")]
async fn t26_a_stranger_cannot_tell_a_real_id_from_a_random_one_by_anything() {
    let world = World::new().await;
    let ids = Ids::of(&world).await;
    let own = world.portal.personal_account("stranger").await;
    let mut asked = 0;
    for operation in operations().iter().filter(|operation| operation.requirement == "session") {
        let Some(seen) = operation_is_the_same(&world, &ids, operation, &own).await else { continue };
        asked += 1;
        // In which account a key is, only the database knows.
        let looked_up = operation.path.contains("{key_id}");
        assert!(!looked_up || !seen.statements.is_empty(), "{}: no statement was noted", operation.path);
    }
    assert!(asked >= 6, "{asked} operations have an id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_for_a_member_is_seen() {
    let world = World::new().await;
    let ids = Ids::of(&world).await;
    let path = format!("/v1/accounts/{}/api-keys", world.account);
    let portal = &world.portal;
    let member = async |path: &str| {
        portal.wired.store.statements().start();
        let answer = portal.get(path, &portal.token("victor")).await;
        Seen::new(&answer, portal.wired.store.statements().finish())
    };
    let (own, absent) = (member(&path).await, member(&ids.replaced_in(&path)).await);
    let differences = own.differences(&absent);
    let what: Vec<_> = differences.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!((own.status, absent.status), (200, 404));
    assert_eq!(what, ["status", "headers", "body", "statements"], "{differences:#?}");
}

#[test]
fn each_kind_of_difference_is_noticed() {
    let seen = Seen {
        status: 404,
        headers: vec![("vary".to_owned(), "Cookie".to_owned())],
        body: json!({ "code": "not_found" }).to_string(),
        statements: vec!["SELECT 1".to_owned(), "SELECT 2".to_owned()],
    };
    assert!(seen.differences(&seen.clone()).is_empty());
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let statements = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    for (what, other) in [
        ("status", Seen { status: 403, ..seen.clone() }),
        ("headers", Seen { headers: header("vary", "Origin"), ..seen.clone() }),
        ("headers", Seen { headers: header("x-hint", "Cookie"), ..seen.clone() }),
        ("headers", Seen { headers: Vec::new(), ..seen.clone() }),
        ("body", Seen { body: json!({ "code": "not_found", "detail": "x" }).to_string(), ..seen.clone() }),
        ("statements", Seen { statements: statements(&["SELECT 1"]), ..seen.clone() }),
        ("statements", Seen { statements: statements(&["SELECT 1", "SELECT 2", "SELECT 2"]), ..seen.clone() }),
        ("statements", Seen { statements: statements(&["SELECT 2", "SELECT 1"]), ..seen.clone() }),
        ("statements", Seen { statements: statements(&["SELECT 1", "SELECT 3"]), ..seen.clone() }),
    ] {
        let differences = seen.differences(&other);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].starts_with(what), "{differences:?}");
    }
    assert_eq!(comparable("ratelimit", "\"a\";r=1;t=1, \"b\";r=9;t=2"), "\"a\";t=1, \"b\";t=2");
    assert_eq!(comparable("retry-after", "r=1"), "r=1");
}
