//! Writes to users, organizations and memberships: the answer, the effect, the event and the refusals.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use portal_dev_idp::DevIdp;
use serde_json::{Value, json};

use crate::client::{call, read, refusal, send};
use crate::receiver::Receiver;
use crate::{NOW, idp};

/// Answer of a write that is allowed.
async fn done(idp: &DevIdp, method: Method, path: &str, body: &Value) -> Value {
    let answer = call(idp, method, path, body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

async fn refused(idp: &DevIdp, method: Method, path: &str, body: &Value) -> (u16, String) {
    call(idp, method, path, body).await.error()
}

#[actix_web::test]
async fn a_user_is_updated() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let body = json!({ "first_name": "Ada", "username": "ada" });
    let user = done(&idp, Method::PATCH, "/users/user_dev_alice", &body).await;
    assert_eq!(
        (&user["first_name"], &user["last_name"], &user["username"]),
        (&"Ada".into(), &"Archer".into(), &"ada".into())
    );
    assert_eq!(user["updated_at"], NOW * 1_000);
    assert_eq!(user, read(&idp, "/users/user_dev_alice").await);
    assert_eq!(receiver.events(&idp).await, [("user.updated".to_owned(), user)]);

    let again = done(&idp, Method::PATCH, "/users/user_dev_alice", &json!({ "username": null })).await;
    assert_eq!((&again["username"], &again["updated_at"]), (&Value::Null, &(NOW * 1_000 + 1).into()));

    done(&idp, Method::PATCH, "/users/user_dev_adam", &body).await;
    let taken = refused(&idp, Method::PATCH, "/users/user_dev_alice", &body).await;
    assert_eq!(taken, refusal(422, "form_identifier_exists"));
    let path = "/users/user_dev_alice";
    assert_eq!(
        refused(&idp, Method::PATCH, path, &json!({ "public_metadata": {} })).await,
        refusal(422, "form_param_unknown")
    );
    assert_eq!(
        refused(&idp, Method::PATCH, path, &json!({ "first_name": 1 })).await,
        refusal(422, "form_param_value_invalid")
    );
    assert_eq!(refused(&idp, Method::PATCH, path, &json!([])).await, refusal(400, "request_body_invalid"));
    assert_eq!(refused(&idp, Method::PATCH, "/users/user_none", &json!({})).await, refusal(404, "resource_not_found"));
    let bearer = format!("Bearer {}", idp.instance().secret_key());
    let form = TestRequest::patch().uri("/__clerk/v1/users/user_dev_alice").set_form([("first_name", "x")]);
    let form = form.insert_header(("host", "localhost")).insert_header(("authorization", bearer));
    assert_eq!(send(&idp, form).await.error(), refusal(415, "unsupported_content_type"));
}

#[actix_web::test]
async fn a_user_is_deleted() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let deleted = done(&idp, Method::DELETE, "/users/user_dev_victor", &Value::Null).await;
    assert_eq!(deleted, json!({ "object": "user", "id": "user_dev_victor", "deleted": true }));
    assert_eq!(receiver.events(&idp).await, [("user.deleted".to_owned(), deleted)]);
    let again = refused(&idp, Method::DELETE, "/users/user_dev_victor", &Value::Null).await;
    assert_eq!(again, refusal(404, "resource_not_found"));
    assert!(idp.person("victor").is_err());
}

#[actix_web::test]
async fn an_organization_is_made_renamed_and_deleted() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let body = json!({ "name": "Globex Inc", "created_by": "user_dev_stranger" });
    let made = done(&idp, Method::POST, "/organizations", &body).await;
    assert_eq!((&made["slug"], &made["created_by"]), (&"globex-inc".into(), &"user_dev_stranger".into()));
    let id = made["id"].as_str().unwrap();
    let path = format!("/organizations/{id}");
    let events = receiver.events(&idp).await;
    assert_eq!(
        events.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["organization.created", "organizationMembership.created"]
    );
    assert_eq!((&events[1].1["role"], &events[1].1["organization"]["id"]), (&"org:admin".into(), &id.into()));
    assert_eq!(read(&idp, &path).await["members_count"], 1);

    let renamed = done(&idp, Method::PATCH, "/organizations/globex-inc", &json!({ "name": "Hank's" })).await;
    assert_eq!(
        (&renamed["name"], &renamed["slug"], &renamed["updated_at"]),
        (&"Hank's".into(), &"globex-inc".into(), &(NOW * 1_000 + 1).into())
    );
    assert_eq!(receiver.events(&idp).await, [("organization.updated".to_owned(), renamed.clone())]);
    assert_eq!(idp.person("stranger").unwrap().memberships[0].organization.name, "Hank's");

    let second = done(&idp, Method::POST, "/organizations", &json!({ "name": "Globex Inc" })).await;
    assert!(second["slug"].as_str().unwrap().starts_with("globex-inc-"), "{second}");
    assert_eq!(receiver.kinds(&idp).await, ["organization.created"]);

    let deleted = done(&idp, Method::DELETE, &path, &Value::Null).await;
    assert_eq!(deleted, json!({ "object": "organization", "id": id, "slug": "globex-inc", "deleted": true }));
    assert_eq!(receiver.events(&idp).await, [("organization.deleted".to_owned(), deleted)]);
    assert!(idp.person("stranger").unwrap().memberships.is_empty());
    for (method, path) in [(Method::DELETE, path.as_str()), (Method::PATCH, &path)] {
        assert_eq!(refused(&idp, method, path, &json!({})).await, refusal(404, "resource_not_found"));
    }
}

#[actix_web::test]
async fn an_organization_needs_a_name_and_a_slug_of_its_own() {
    let idp = idp();
    let post = async |body: Value| refused(&idp, Method::POST, "/organizations", &body).await;
    assert_eq!(post(json!({})).await, refusal(422, "form_param_missing"));
    assert_eq!(post(json!({ "name": " " })).await, refusal(422, "form_param_value_invalid"));
    assert_eq!(post(json!({ "name": "x", "slug": "acme" })).await, refusal(422, "form_identifier_exists"));
    assert_eq!(
        post(json!({ "name": "x", "created_by": "user_none" })).await,
        refusal(400, "organization_creator_not_found")
    );
    assert_eq!(post(json!({ "name": "x", "colour": "red" })).await, refusal(422, "form_param_unknown"));
    let blank = refused(&idp, Method::PATCH, "/organizations/acme", &json!({ "name": "" })).await;
    assert_eq!(blank, refusal(422, "form_param_value_invalid"));
    assert_eq!(read(&idp, "/organizations").await["total_count"], 1);
}

#[actix_web::test]
async fn a_membership_is_made_changed_and_deleted() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let list = "/organizations/org_dev_acme/memberships";
    let path = format!("{list}/user_dev_stranger");
    let body = json!({ "user_id": "user_dev_stranger", "role": "org:viewer" });
    let made = done(&idp, Method::POST, list, &body).await;
    assert_eq!((&made["role"], &made["organization"]["members_count"]), (&"org:viewer".into(), &5.into()));
    assert_eq!(receiver.events(&idp).await, [("organizationMembership.created".to_owned(), made.clone())]);
    assert_eq!(refused(&idp, Method::POST, list, &body).await, refusal(400, "already_a_member_in_organization"));

    let changed = done(&idp, Method::PATCH, &path, &json!({ "role": "org:editor" })).await;
    assert_eq!(
        (&changed["id"], &changed["role"], &changed["updated_at"]),
        (&made["id"], &"org:editor".into(), &(NOW * 1_000 + 1).into())
    );
    assert_eq!(receiver.events(&idp).await, [("organizationMembership.updated".to_owned(), changed)]);

    let deleted = done(&idp, Method::DELETE, &path, &Value::Null).await;
    assert_eq!(
        (&deleted["id"], &deleted["role"], &deleted["updated_at"]),
        (&made["id"], &"org:editor".into(), &(NOW * 1_000 + 2).into())
    );
    assert_eq!(receiver.events(&idp).await, [("organizationMembership.deleted".to_owned(), deleted)]);
    assert_eq!(refused(&idp, Method::DELETE, &path, &Value::Null).await, refusal(404, "resource_not_found"));
    assert_eq!(
        refused(&idp, Method::PATCH, &path, &json!({ "role": "org:editor" })).await,
        refusal(404, "resource_not_found")
    );
}

#[actix_web::test]
async fn roles_are_known_and_somebody_stays_admin() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let of = |name: &str| format!("/organizations/org_dev_acme/memberships/user_dev_{name}");
    let patch = async |name: &str, role: &str| call(&idp, Method::PATCH, &of(name), &json!({ "role": role })).await;
    let unknown = patch("edith", "org:emperor").await;
    assert_eq!(unknown.error(), refusal(404, "resource_not_found"));
    assert_eq!(unknown.json()["errors"][0]["meta"]["param_name"], "role");
    assert_eq!(refused(&idp, Method::PATCH, &of("edith"), &json!({})).await, refusal(422, "form_param_missing"));
    assert_eq!(receiver.kinds(&idp).await, Vec::<String>::new(), "what is refused is not told");

    done(&idp, Method::DELETE, &of("alice"), &Value::Null).await;
    let needed = refusal(400, "organization_minimum_permissions_needed");
    assert_eq!(patch("adam", "org:viewer").await.error(), needed);
    assert_eq!(refused(&idp, Method::DELETE, &of("adam"), &Value::Null).await, needed);
    assert_eq!(patch("adam", "org:admin").await.status, 200);
    assert_eq!(patch("edith", "org:admin").await.status, 200);
    assert_eq!(patch("adam", "org:viewer").await.status, 200);
    assert_eq!(read(&idp, "/organizations/acme").await["created_by"], "user_dev_alice", "who left still made it");
}

#[actix_web::test]
async fn writes_want_the_secret_key_and_stop_in_an_outage() {
    let idp = idp();
    let request = || TestRequest::delete().uri("/__clerk/v1/organizations/acme").insert_header(("host", "localhost"));
    assert_eq!(send(&idp, request()).await.error(), refusal(401, "authorization_header_format_invalid"));
    idp.set_outage(true);
    let down = refused(&idp, Method::DELETE, "/organizations/acme", &Value::Null).await;
    assert_eq!(down, refusal(503, "service_unavailable"));
    idp.set_outage(false);
    assert_eq!(read(&idp, "/organizations").await["total_count"], 1);
}
