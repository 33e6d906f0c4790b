//! Every operation of the OpenAPI document answers each kind of caller as its requirement says.
//!
//! The requirement comes from the document, the roles from the policy matrix: an operation without a sample here fails, and so does one
//! whose answers do not follow from what it declares.

use e2e::world::{Operation, World, operations};
use portal_dev_idp::SigningAlgorithm;
use serde_json::{Value, json};

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
            "session" | "service" | "api-key" => {
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
            "api-key" => api_key(world, &operation).await,
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
    let needed = ["keys:feed", "keys:verify", "metrics:read"].into_iter().find(|scope| scope_allows(action, scope));
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

async fn api_key(world: &World, operation: &Operation) {
    let portal = &world.portal;
    let path = world.path(operation);
    assert_eq!(operation.security, json!([{ "api_key": [] }]), "{path}");
    let table = table(operation.action.as_deref().unwrap()).unwrap();
    let row = table.lines().find(|line| line.trim_start().starts_with("api key")).unwrap();
    assert!(row.trim_end().ends_with("yes"), "{row}");

    portal.send(world.request(operation, &path)).await.assert_problem(401, "api_key_required");
    // What was called before may have ended the world's.
    let (_, good) = portal.create_key("adam", &world.account).await;
    for bad in ["nonsense", &world.all_scopes, &portal.token("alice"), &good[..good.len() - 1]] {
        world.call(operation, &path, bad).await.assert_problem(401, "invalid_api_key");
    }
    let (gone, secret) = portal.create_key("adam", &world.account).await;
    portal.post(&format!("/v1/api-keys/{gone}/revoke"), &portal.token("adam"), &json!({})).await;
    world.call(operation, &path, &secret).await.assert_problem(401, "invalid_api_key");
    let allowed = world.call(operation, &path, &good).await;
    assert_eq!(allowed.status.as_u16(), operation.sample.success, "{path}: {allowed:?}");
}

fn scope_allows(action: &str, scope: &str) -> bool {
    let table = table(action).unwrap_or_else(|| panic!("no {action}"));
    table.lines().any(|line| line.split_whitespace().take(3).eq(["service", scope, "yes"]))
}
