//! Every operation of the OpenAPI document answers each kind of caller as its requirement says.
//!
//! The requirement comes from the document, the roles from the policy matrix: an operation without a sample here fails, and so does one
//! whose answers do not follow from what it declares.

use e2e::{Answer, Portal};
use portal_dev_idp::SigningAlgorithm;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// How to call an operation so that it succeeds.
pub(super) struct Sample {
    operation: &'static str,
    body: Option<fn(&World) -> Value>,
    /// Column of the policy matrix, after the role, that says who may.
    column: usize,
    /// Whether its success takes the world away from what comes after it.
    pub(super) destroys: bool,
    /// Status of success.
    pub(super) success: u16,
}

/// Something in the account that another member made.
const ACCOUNT: usize = 2;
/// What everybody made themselves.
const OWN: usize = 3;
/// The membership of a viewer.
const VIEWER: usize = 4;
/// The membership of an editor.
const EDITOR: usize = 5;

const fn plain(operation: &'static str) -> Sample {
    Sample { operation, body: None, column: ACCOUNT, destroys: false, success: 200 }
}

const fn own(operation: &'static str) -> Sample {
    Sample { column: OWN, ..plain(operation) }
}

const fn of_viewer(operation: &'static str) -> Sample {
    Sample { column: VIEWER, ..plain(operation) }
}

const SAMPLES: &[Sample] = &[
    plain("getAuthStatus"),
    plain("getMe"),
    Sample { body: Some(|_| json!({ "preferences": { "theme": "dark" } })), ..plain("updateMe") },
    plain("listMyAccounts"),
    plain("listMySessions"),
    plain("revokeMySession"),
    plain("signOut"),
    plain("getAccount"),
    Sample { body: Some(|_| json!({ "name": "Acme & Sons" })), ..plain("updateAccount") },
    Sample { destroys: true, success: 204, ..plain("deleteAccount") },
    Sample { body: Some(|world| json!({ "user_id": world.member })), destroys: true, ..plain("transferOwnership") },
    plain("listMembers"),
    of_viewer("getMember"),
    Sample { body: Some(|_| json!({ "role": "editor" })), destroys: true, column: EDITOR, ..plain("updateMember") },
    Sample { destroys: true, success: 204, ..of_viewer("removeMember") },
    plain("listInvitations"),
    Sample {
        body: Some(|_| json!({ "email": "new@example.test", "role": "viewer" })),
        success: 201,
        ..of_viewer("createInvitation")
    },
    of_viewer("revokeInvitation"),
    plain("listApiKeys"),
    Sample { body: Some(|_| json!({ "name": "coverage" })), success: 201, ..plain("createApiKey") },
    plain("getApiKey"),
    plain("revokeApiKey"),
    Sample { body: Some(|_| json!({ "type": "user.updated" })), ..plain("receiveClerkWebhook") },
    own("listAuditEvents"),
    Sample { body: Some(|world| json!({ "key": world.secret })), ..plain("verifyApiKey") },
    plain("getLiveness"),
    plain("getReadiness"),
    plain("getOpenApi"),
    plain("getMetrics"),
];

/// Acme with a fifth member, an invitation, a key that its admin made, and service tokens.
pub(super) struct World {
    pub(super) portal: Portal,
    pub(super) account: String,
    pub(super) member: String,
    pub(super) invitation: String,
    pub(super) key: String,
    secret: String,
    pub(super) session: String,
    all_scopes: String,
    revoked: String,
}

impl World {
    pub(super) async fn new() -> Self {
        let portal = Portal::start().await;
        let account = portal.acme().await;
        let member = portal.add_member("nina", "org:viewer").await;
        let invitation = json!({ "email": "invited@example.test", "role": "viewer" });
        let path = format!("/v1/accounts/{account}/invitations");
        let invitation = portal.post(&path, &portal.token("adam"), &invitation).await.text_at("/id");
        let (key, secret) = portal.create_key("adam", &account).await;
        let create = ["create", "--name", "all", "--scope", "keys:verify,metrics:read"];
        let all_scopes = portal.service_token(&create).await;
        let revoked = portal.service_token(&["create", "--name", "gone", "--scope", "keys:verify,metrics:read"]).await;
        portal.service_token(&["revoke", "--name", "gone"]).await;
        let session = portal.idp.add_session(&portal.person("alice").user_id).unwrap().id;
        Self { portal, account, member, invitation, key, secret, session, all_scopes, revoked }
    }

    pub(super) fn path(&self, operation: &Operation) -> String {
        self.fill(&operation.path)
    }

    /// The path of a route with ids of this world.
    pub(super) fn fill(&self, route: &str) -> String {
        let path = route.replace("{account_id}", &self.account).replace("{key_id}", &self.key);
        let path = path.replace("{user_id}", &self.member).replace("{invitation_id}", &self.invitation);
        path.replace("{session_id}", &self.session)
    }

    pub(super) fn body(&self, operation: &Operation) -> Option<Value> {
        operation.sample.body.map(|body| body(self))
    }

    fn request(&self, operation: &Operation, path: &str) -> RequestBuilder {
        let request = self.portal.request(operation.method.clone(), path);
        match self.body(operation) {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    async fn call(&self, operation: &Operation, path: &str, token: &str) -> Answer {
        self.portal.send(self.request(operation, path).bearer_auth(token)).await
    }
}

pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) requirement: String,
    pub(super) action: Option<String>,
    security: Value,
    pub(super) sample: &'static Sample,
}

pub(super) fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let sample = SAMPLES.iter().find(|sample| sample.operation == id);
            found.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                requirement: operation["x-requirement"].as_str().unwrap_or_else(|| panic!("{id} has none")).to_owned(),
                action: operation["x-action"].as_str().map(ToOwned::to_owned),
                security: operation["security"].clone(),
                sample: sample.unwrap_or_else(|| panic!("{id} has no sample: nobody knows how to call it")),
            });
        }
    }
    assert_eq!(found.len(), SAMPLES.len(), "a sample is of no operation");
    found
}

/// The action's table in the committed policy matrix.
fn table(action: &str) -> Option<&'static str> {
    let text = include_str!("../../../docs/policy-matrix.txt");
    text.split("\n\n").find(|table| table.split_whitespace().next() == Some(action))
}

/// Nobody can be let in by an action that nobody reviewed.
#[test]
fn every_operation_that_needs_a_caller_names_an_action_of_the_policy_matrix() {
    for operation in operations() {
        let (path, action) = (&operation.path, operation.action.as_deref());
        match operation.requirement.as_str() {
            "session" | "service" => {
                assert!(action.is_some_and(|action| table(action).is_some()), "{path}: {action:?}");
            }
            _ => assert_eq!(action, None, "{path}"),
        }
    }
    assert!(table("view-self").is_some() && table("view").is_none() && table("#").is_some());
}

/// What the committed policy matrix says for a role.
fn matrix(action: &str, role: &str, column: usize) -> String {
    let table = table(action).unwrap_or_else(|| panic!("no {action}"));
    let row = table.lines().find(|line| line.trim_start().starts_with(role)).unwrap_or_else(|| panic!("no {role}"));
    row.split_whitespace().nth(column).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_every_kind_of_caller_as_it_declares() {
    let shared = World::new().await;
    for operation in operations() {
        let own = if operation.sample.destroys { Some(World::new().await) } else { None };
        let world = own.as_ref().unwrap_or(&shared);
        match operation.requirement.as_str() {
            "public" => public(world, &operation).await,
            "session" => session(world, &operation).await,
            "service" => service(world, &operation).await,
            "signature" => signature(world, &operation).await,
            other => panic!("{other}: a new requirement needs rows"),
        }
    }
}

async fn public(world: &World, operation: &Operation) {
    assert_eq!(operation.security, Value::Null, "{}", operation.path);
    let path = world.path(operation);
    let anonymous = world.portal.send(world.request(operation, &path)).await;
    assert_eq!(anonymous.status.as_u16(), operation.sample.success, "{path}: {anonymous:?}");
    let with_nonsense = world.call(operation, &path, "nonsense").await;
    assert_eq!(with_nonsense.status.as_u16(), operation.sample.success, "{path}: {with_nonsense:?}");
}

/// Whoever sends it, what nobody signed is refused.
async fn signature(world: &World, operation: &Operation) {
    assert_eq!(operation.security, Value::Null, "{}", operation.path);
    let path = world.path(operation);
    world.portal.send(world.request(operation, &path)).await.assert_problem(400, "invalid_webhook");
    for token in [world.portal.token("alice"), world.all_scopes.clone(), world.secret.clone()] {
        world.call(operation, &path, &token).await.assert_problem(400, "invalid_webhook");
    }
}

async fn session(world: &World, operation: &Operation) {
    let portal = &world.portal;
    let path = world.path(operation);
    assert_eq!(operation.security, json!([{ "session": [] }]), "{path}");
    let action = operation.action.as_deref().unwrap();

    portal.send(world.request(operation, &path)).await.assert_problem(401, "unauthenticated");
    let spec = portal.token_spec("alice");
    let unsigned = portal.idp.mint().encode(&spec.algorithm(SigningAlgorithm::None));
    for bad in ["nonsense", &unsigned, &world.all_scopes, &world.secret] {
        world.call(operation, &path, bad).await.assert_problem(401, "unauthenticated");
    }
    if operation.path.contains('{') {
        let hidden = world.call(operation, &path, &portal.token("stranger")).await;
        // That this is what a random id gets, too, is tested in `sameness`.
        hidden.assert_problem(404, "not_found");
    }
    // Sessions belong to people and to no account.
    if operation.path.contains('{') && !operation.path.contains("{session_id}") {
        let column = operation.sample.column;
        let mut refused = 0;
        for (person, role) in [("victor", "viewer"), ("edith", "editor"), ("adam", "admin"), ("alice", "owner")] {
            if matrix(action, role, column) == "no" {
                refused += 1;
                world.call(operation, &path, &portal.token(person)).await.assert_problem(403, "forbidden");
            }
        }
        assert_eq!(refused == 0, matrix(action, "viewer", column) == "yes", "{path}: no role is too low, so all may");
    }
    let allowed = world.call(operation, &path, &portal.token("alice")).await;
    assert_eq!(allowed.status.as_u16(), operation.sample.success, "{path}: {allowed:?}");
    if action == "end-sessions" {
        portal.idp.sign_in("alice").unwrap();
    }
}

async fn service(world: &World, operation: &Operation) {
    let portal = &world.portal;
    let path = world.path(operation);
    assert_eq!(operation.security, json!([{ "service": [] }]), "{path}");
    let action = operation.action.as_deref().unwrap();

    portal.send(world.request(operation, &path)).await.assert_problem(401, "service_token_required");
    for bad in ["nonsense", &world.secret, &portal.token("alice"), &world.revoked] {
        world.call(operation, &path, bad).await.assert_problem(401, "invalid_service_token");
    }
    let needed = ["keys:verify", "metrics:read"].into_iter().find(|scope| scope_allows(action, scope));
    let needed = needed.unwrap_or_else(|| panic!("{path}: no scope allows it"));
    let other = if needed == "keys:verify" { "metrics:read" } else { "keys:verify" };
    let name = operation.sample.operation.to_lowercase();
    let narrow = portal.service_token(&["create", "--name", &name, "--scope", other]).await;
    world.call(operation, &path, &narrow).await.assert_problem(403, "scope_missing");
    for (header, value) in
        [("Origin", "https://portal.example.test"), ("Cookie", "a=b"), ("Sec-Fetch-Site", "same-origin")]
    {
        let request = world.request(operation, &path).bearer_auth(&world.all_scopes).header(header, value);
        portal.send(request).await.assert_problem(403, "browser_not_allowed");
    }
    let allowed = world.call(operation, &path, &world.all_scopes).await;
    assert_eq!(allowed.status.as_u16(), operation.sample.success, "{path}: {allowed:?}");
}

fn scope_allows(action: &str, scope: &str) -> bool {
    let table = table(action).unwrap_or_else(|| panic!("no {action}"));
    table.lines().any(|line| line.split_whitespace().take(3).eq(["service", scope, "yes"]))
}
