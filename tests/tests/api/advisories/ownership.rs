//! Whose something is, and what a credential can be made to carry.

use std::collections::BTreeSet;

use portal_dev_idp::Person;
use reqwest::Method;
use serde_json::{Value, json};

use e2e::Portal;
use e2e::world::{Operation, World, operations};

/// Members that other programs believed.
const FORGED: [&str; 35] = [
    "user_id",
    "userId",
    "user",
    "owner",
    "owner_id",
    "account_id",
    "accountId",
    "account",
    "org_id",
    "orgId",
    "organization_id",
    "organizationId",
    "tenant_id",
    "team_id",
    "created_by",
    "createdBy",
    "made_by",
    "id",
    "kid",
    "secret",
    "role",
    "role_id",
    "roles",
    "is_admin",
    "admin",
    "permissions",
    "scopes",
    "allowed_routes",
    "models",
    "features",
    "email_verified",
    "emailVerified",
    "verified",
    "state",
    "__proto__",
];

/// Operations of signed-in people that take a body, with a body that is valid.
fn with_bodies(world: &World) -> Vec<(Operation, Value)> {
    let operations = operations().into_iter().filter(|operation| operation.requirement == "session");
    operations.filter_map(|operation| world.body(&operation).map(|body| (operation, body))).collect()
}

/// What the document says that the operation's body may have.
fn members_of(operation: &Operation) -> BTreeSet<String> {
    let document: Value = serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
    let described = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
    let schema = &described["requestBody"]["content"]["application/json"]["schema"];
    let place = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
    let schema = place.map_or(schema, |place| document.pointer(place).unwrap());
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The value with one more member in each of its objects in turn.
fn forged(body: &Value, name: &str, value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match body {
        Value::Object(members) => {
            let mut with = members.clone();
            with.insert(name.to_owned(), value.clone());
            found.push(Value::Object(with));
            for (key, inner) in members {
                found.extend(forged(inner, name, value).into_iter().map(|inner| {
                    let mut with = members.clone();
                    with.insert(key.clone(), inner);
                    Value::Object(with)
                }));
            }
        }
        Value::Array(items) => {
            for (place, inner) in items.iter().enumerate() {
                found.extend(forged(inner, name, value).into_iter().map(|inner| {
                    let mut with = items.clone();
                    with[place] = inner;
                    Value::Array(with)
                }));
            }
        }
        _ => {}
    }
    found
}

/// CVE-2025-61928 (keys for any user), CVE-2026-47102 (role by mass assignment): what a body says beyond what it may is refused, everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn t23_forged_members_of_a_body_are_refused_by_every_operation() {
    let world = World::new().await;
    let portal = &world.portal;
    let victim = portal.get("/v1/me", &portal.token("stranger")).await.text_at("/user/id");
    let rows = "SELECT (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM memberships) + (SELECT count(*) FROM audit_events) AS count";
    let before = portal.database.count(rows).await.unwrap();
    let operations = with_bodies(&world);
    assert!(!operations.is_empty());
    for (operation, body) in &operations {
        let declared = members_of(operation);
        assert!(body.as_object().unwrap().keys().all(|name| declared.contains(name)), "{declared:?}");
        for name in FORGED {
            // Where a member is asked for, tests of the operation say who may give it.
            if declared.contains(name) {
                continue;
            }
            for value in [json!(victim), json!(["*"]), json!(true), json!(null)] {
                for body in forged(body, name, &value) {
                    let request = portal.request(operation.method.clone(), &world.path(operation)).json(&body);
                    let answer = portal.send(request.bearer_auth(portal.token("alice"))).await;
                    answer.assert_problem(422, "invalid_body");
                }
            }
        }
    }
    assert_eq!(portal.database.count(rows).await.unwrap(), before, "nothing was made");
}

/// The same class: where no body is asked for, none is believed.
#[tokio::test(flavor = "multi_thread")]
async fn t23_a_body_that_nobody_asked_for_is_not_read() {
    let shared = World::new().await;
    for operation in operations().iter().filter(|operation| operation.method != Method::GET) {
        if operation.requirement != "session" || shared.body(operation).is_some() {
            continue;
        }
        let own = if operation.sample.destroys { Some(World::new().await) } else { None };
        forged_body_is_not_read(own.as_ref().unwrap_or(&shared), operation).await;
    }
}

async fn forged_body_is_not_read(world: &World, operation: &Operation) {
    let portal = &world.portal;
    let other = portal.personal_account("stranger").await;
    let (theirs, _) = portal.create_key("stranger", &other).await;
    let forged =
        json!({ "account_id": other, "key_id": theirs, "id": theirs, "user_id": "user_dev_stranger", "role": "owner" });
    let request = portal.request(operation.method.clone(), &world.path(operation)).json(&forged);
    let answer = portal.send(request.bearer_auth(portal.token("alice"))).await;
    assert_eq!(answer.status.as_u16(), operation.sample.success, "{}: {answer:?}", operation.path);
    portal.idp.sign_in("alice").unwrap();
    let key = portal.get(&format!("/v1/api-keys/{theirs}"), &portal.token("stranger")).await;
    assert_eq!(key.text_at("/state"), "active", "{}", operation.path);
    assert_eq!(portal.get("/v1/me", &portal.token("stranger")).await.status, 200, "{}", operation.path);
}

/// CVE-2026-47101 and GHSA-xr8f-h2gw-9xh6 (keys wider than who made them): a key does inference, and nothing that its maker can do here.
#[tokio::test(flavor = "multi_thread")]
async fn t24_a_minted_key_is_never_wider_than_who_minted_it() {
    let world = World::new().await;
    let portal = &world.portal;
    let path = format!("/v1/accounts/{}/api-keys", world.account);
    let change = format!("/v1/api-keys/{}", world.key);
    for (wide, code) in [
        (json!({ "scopes": ["*"] }), "invalid_scopes"),
        (json!({ "scopes": ["inference", "billing:write"] }), "invalid_scopes"),
        (json!({ "scopes": ["inference", "keys:verify"] }), "invalid_scopes"),
        (json!({ "permissions": ["manage-members"] }), "invalid_body"),
        (json!({ "allowed_routes": ["/*"] }), "invalid_body"),
        (json!({ "role": "owner" }), "invalid_body"),
        (json!({ "models": ["*"], "unlimited": true }), "invalid_body"),
        (json!({ "environment": "service" }), "invalid_body"),
        (json!({ "made_by": "usr_01jdzqzr4ne5z8p5t2z6fj7x3b" }), "invalid_body"),
    ] {
        let mut body = json!({ "name": "wide" });
        body.as_object_mut().unwrap().extend(wide.as_object().unwrap().clone());
        portal.post(&path, &portal.token("alice"), &body).await.assert_problem(422, code);
        portal.patch(&change, &portal.token("alice"), &body).await.assert_problem(422, code);
    }
    // Whoever may not make a key as wide gets none by changing, freeing or renewing that of somebody else.
    for person in ["edith", "victor"] {
        let token = portal.token(person);
        let wider = json!({ "scopes": ["inference", "usage:read"], "networks": null, "rate_limits": null });
        portal.patch(&change, &token, &wider).await.assert_problem(403, "forbidden");
        for act in ["rotate", "enable", "disable"] {
            portal.post(&format!("{change}/{act}"), &token, &json!({})).await.assert_problem(403, "forbidden");
        }
    }
    let untouched = portal.get(&change, &portal.token("alice")).await.json();
    assert_eq!((&untouched["revision"], &untouched["scopes"]), (&json!(1), &json!(["inference"])), "{untouched}");
    portal.post(&path, &portal.token("victor"), &json!({ "name": "x" })).await.assert_problem(403, "forbidden");

    let gateway = portal.gateway("gateway").await;
    for person in ["alice", "edith"] {
        let (key, secret) = portal.create_key(person, &world.account).await;
        let rotated = portal.post(&format!("/v1/api-keys/{key}/rotate"), &portal.token(person), &json!({})).await;
        let renewed = rotated.text_at("/secret");
        for operation in
            operations().iter().filter(|operation| matches!(operation.requirement.as_str(), "session" | "service"))
        {
            for secret in [&secret, &renewed] {
                let request = portal.request(operation.method.clone(), &world.path(operation)).bearer_auth(secret);
                let request = world.body(operation).into_iter().fold(request, |request, body| request.json(&body));
                assert_eq!(portal.send(request).await.status, 401, "{}: a key of {person}", operation.path);
            }
        }
        let ask = async |scope: &str| {
            let verdict = portal.post("/v1/keys/verify", &gateway, &json!({ "key": renewed, "scope": scope })).await;
            verdict.text_at("/code")
        };
        assert_eq!(ask("inference").await, "valid");
        assert_eq!(ask("usage:read").await, "scope_missing");
        // The most that its maker can ask for.
        let widest = json!({ "scopes": ["inference", "usage:read"] });
        assert_eq!(portal.patch(&format!("/v1/api-keys/{key}"), &portal.token(person), &widest).await.status, 200);
        assert_eq!((ask("inference").await, ask("usage:read").await), ("valid".to_owned(), "valid".to_owned()));
        for scope in
            ["*", "keys:verify", "metrics:read", "billing:read", "keys:write", "inference:admin", "admin", "Inference"]
        {
            assert_eq!(ask(scope).await, "scope_missing", "{scope}");
        }
    }
}

async fn provisioned(portal: &Portal, person: &Person) -> (String, Value) {
    portal.idp.add_person(person.clone());
    let token = portal.idp.fresh_session_token(person, "https://portal.example.test");
    let me = portal.get("/v1/me", &token).await;
    (me.text_at("/user/id"), portal.get("/v1/me/accounts", &token).await.json())
}

/// GHSA-g38m-r43w-p2q7, GHSA-7rqj-j65f-68wh, pre-hijacking: an e-mail address never makes two people one.
#[tokio::test(flavor = "multi_thread")]
async fn t32_accounts_are_never_linked_by_e_mail() {
    let portal = Portal::start().await;
    portal.acme().await;
    let alice = portal.get("/v1/me", &portal.token("alice")).await;
    let email = alice.text_at("/user/email");
    let (local, domain) = email.split_once('@').unwrap();
    let addresses = [
        email.clone(),
        email.to_uppercase(),
        format!("{local}+tag@{domain}"),
        format!("{local}@{}", domain.to_uppercase()),
        format!("{local}.@{domain}"),
        format!("a.{}@{domain}", &local[1..]),
        format!("{}@{domain}", local.replace('a', "\u{430}")),
        format!("{}@{domain}", local.replace('i', "\u{131}")),
        format!("{local}\u{200b}@{domain}"),
        format!("{}@{domain}", local.replace('a', "\u{ff41}")),
        format!("{local}@{domain}."),
        format!(" {email}"),
    ];
    let mut ids = vec![alice.text_at("/user/id")];
    for (number, address) in addresses.iter().enumerate() {
        for verified in [true, false] {
            let mut person = Person::new(&format!("twin{number}{verified}"));
            (person.email, person.email_verified) = (address.clone(), verified);
            let (id, accounts) = provisioned(&portal, &person).await;
            assert!(!ids.contains(&id), "{address:?} is somebody else");
            ids.push(id);
            let accounts = accounts["data"].as_array().unwrap();
            assert_eq!(accounts.len(), 1, "{address:?}: {accounts:?}");
            assert_eq!((&accounts[0]["kind"], &accounts[0]["role"]), (&json!("personal"), &json!("owner")));
        }
    }
    // An address that changes into somebody else's later, and one that is free again.
    portal.send_webhooks();
    let mut mover = portal.person("stranger");
    let before = provisioned(&portal, &mover).await;
    mover.email = email.clone();
    mover.updated_at += 1_000;
    assert_eq!(provisioned(&portal, &mover).await, before);
    portal.idp.remove_person(&portal.person("alice").user_id);
    portal.idp.webhooks_settled().await;
    let mut heir = Person::new("heir");
    heir.email.clone_from(&email);
    let (id, accounts) = provisioned(&portal, &heir).await;
    assert!(!ids.contains(&id) && accounts["data"].as_array().unwrap().len() == 1, "{accounts}");
    let members = "SELECT users.provider_id AS text FROM memberships JOIN users ON users.id = user_id \
         JOIN accounts ON accounts.id = account_id WHERE provider_organization_id IS NOT NULL";
    for member in portal.database.texts(members).await.unwrap() {
        let known = ["alice", "adam", "edith", "victor"].map(|name| format!("user_dev_{name}"));
        assert!(known.contains(&member), "{member} came into Acme");
    }
}

/// CVE-2026-27946 (people verified their own address): only the provider's record says that an address is verified.
#[tokio::test(flavor = "multi_thread")]
async fn t38_nobody_verifies_their_own_address_and_hints_are_not_repeated() {
    let portal = Portal::start().await;
    let mut person = Person::new("unverified");
    person.email_verified = false;
    portal.idp.add_person(person.clone());
    let spec = || portal.token_spec("unverified");
    let claims = [
        ("email_verified", json!(true)),
        ("email_verified", json!("true")),
        ("verified", json!(true)),
        ("email", json!("alice@example.test")),
    ];
    for (claim, value) in claims {
        let me = portal.get("/v1/me", &portal.idp.mint().encode(&spec().claim(claim, value.clone()))).await;
        assert_eq!(me.json()["user"]["email_verified"], false, "{claim} = {value}: {me:?}");
        assert_eq!(me.text_at("/user/email"), person.email);
    }
    for query in ["email_verified=true", "verified=1"] {
        let me = portal.get(&format!("/v1/me?{query}"), &portal.token("unverified")).await;
        assert_eq!(me.json()["user"]["email_verified"], false, "{query}");
    }
    for method in [Method::PATCH, Method::PUT, Method::POST] {
        for path in ["/v1/me", "/v1/me/email", "/v1/me/verify"] {
            let request = portal.request(method.clone(), path).bearer_auth(portal.token("unverified"));
            let refused = portal.send(request.json(&json!({ "email_verified": true }))).await;
            assert!(matches!(refused.status.as_u16(), 404 | 405 | 422), "{method} {path}: {refused:?}");
        }
    }
    let marker = "hint-7f3a@example.test";
    for name in ["login_hint", "email", "email_address", "identifier", "username", "error_description", "message"] {
        for path in ["/sign-in", "/v1/auth/status", "/v1/nothing", "/v1/me"] {
            let page = portal.send(portal.request(Method::GET, &format!("{path}?{name}={marker}"))).await;
            assert!(!page.text.contains("hint-7f3a"), "{path}, {name}: {page:?}");
        }
    }
}
