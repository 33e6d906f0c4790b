//! Lists of the Backend API, and its limit of requests.

use std::sync::Arc;
use std::time::Duration;

use portal_dev_idp::{DevIdp, Organization, Person};
use serde_json::Value;

use crate::client::{backend, get, read, refusal, send};
use crate::{HandClock, idp, key};

fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().expect("an array").iter().map(|item| item[field].as_str().expect("text")).collect()
}

#[actix_web::test]
async fn users_are_a_bare_array_in_pages() {
    let idp = idp();
    for number in 0..8 {
        idp.add_person(Person { created_at: 1_800_000_000_000 + number, ..Person::new(&format!("new-{number}")) });
    }
    let page = async |query: &str| {
        let list = read(&idp, &format!("/users{query}")).await;
        each(&list, "id").into_iter().map(|id| id.replace("user_dev_", "")).collect::<Vec<_>>()
    };
    assert_eq!(page("").await.len(), 10);
    assert_eq!(page("?limit=500").await.len(), 13);
    assert_eq!(page("?limit=3").await, ["new_7", "new_6", "new_5"], "the newest first");
    assert_eq!(page("?limit=2&offset=1&order_by=created_at").await, ["adam", "edith"]);
    assert_eq!(page("?limit=2&order_by=%2Bcreated_at&starting_after=user_dev_edith").await, ["victor", "stranger"]);
    assert_eq!(page("?limit=1&order_by=-first_name").await, ["victor"]);
    assert_eq!(page("?user_id=user_dev_alice&user_id=user_dev_adam").await, ["adam", "alice"]);
    assert_eq!(page("?email_address=edith@example.test").await, ["edith"]);
    assert_eq!(page("?organization_id=org_dev_acme&order_by=first_name").await, ["adam", "alice", "edith", "victor"]);
    assert_eq!(page("?query=CARVER").await, ["edith"]);
    assert!(page("?banned=true").await.is_empty());
    assert_eq!(
        read(&idp, "/users/count?query=new-").await,
        serde_json::json!({ "object": "total_count", "total_count": 8 })
    );
    assert_eq!(read(&idp, "/users/count").await["total_count"], 13);
    let list = read(&idp, "/users?user_id=user_dev_alice").await;
    assert_eq!(list[0], read(&idp, "/users/user_dev_alice").await);
    for query in [
        "limit=0",
        "limit=501",
        "offset=x",
        "order_by=shoe_size",
        "banned=maybe",
        "order_by=-email_address&starting_after=x",
    ] {
        let answer = backend(&idp, &format!("/__clerk/v1/users?{query}")).await;
        assert_eq!(answer.error(), refusal(422, "form_param_value_invalid"), "{query}");
    }
}

#[actix_web::test]
async fn organizations_come_with_their_number() {
    let idp = idp();
    let zoe = Person::new("zoe").member_of(Organization::new("Globex", "user_dev_zoe"), "org:admin");
    idp.add_person(zoe);
    let list = read(&idp, "/organizations?order_by=name").await;
    assert_eq!(list["total_count"], 2);
    assert_eq!(each(&list["data"], "name"), ["Acme", "Globex"]);
    assert!(list["data"][0].get("members_count").is_none(), "only on demand");
    let counted = read(&idp, "/organizations?include_members_count=true&order_by=-members_count&limit=1").await;
    assert_eq!((&counted["data"][0]["members_count"], &counted["total_count"]), (&4.into(), &2.into()));
    assert_eq!(counted["data"][0], read(&idp, "/organizations/acme").await);
    assert_eq!(each(&read(&idp, "/organizations?user_id=user_dev_zoe").await["data"], "slug"), ["globex"]);
    assert_eq!(each(&read(&idp, "/organizations?query=GLO").await["data"], "slug"), ["globex"]);
    assert_eq!(each(&read(&idp, "/organizations?offset=1&order_by=name").await["data"], "slug"), ["globex"]);
}

#[actix_web::test]
async fn members_of_an_organization_are_listed() {
    let idp = idp();
    let list = read(&idp, "/organizations/org_dev_acme/memberships?order_by=first_name&limit=3").await;
    assert_eq!(list["total_count"], 4);
    let members = list["data"].as_array().unwrap();
    let ids: Vec<_> = members.iter().map(|held| held["public_user_data"]["user_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["user_dev_adam", "user_dev_alice", "user_dev_edith"]);
    let own = read(&idp, "/users/user_dev_adam/organization_memberships").await;
    assert_eq!(members[0], own["data"][0]);
    assert_eq!(read(&idp, "/organizations/acme/memberships?role=org:admin").await["total_count"], 2);
    assert_eq!(read(&idp, "/organizations/acme/memberships?user_id=user_dev_adam").await["total_count"], 1);
    let none = backend(&idp, "/__clerk/v1/organizations/org_none/memberships").await;
    assert_eq!(none.error(), refusal(404, "resource_not_found"));
}

#[actix_web::test]
async fn lists_want_the_secret_key() {
    let idp = idp();
    for path in [
        "users",
        "users/count",
        "organizations",
        "organizations/acme/memberships",
        "organizations/acme/invitations",
        "sessions?user_id=x",
    ] {
        let answer = send(&idp, get(&format!("/__clerk/v1/{path}"))).await;
        assert_eq!(answer.error(), refusal(401, "authorization_header_format_invalid"), "{path}");
    }
}

#[actix_web::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let clock = HandClock::new();
    let idp = DevIdp::new(key(), Arc::clone(&clock) as _);
    idp.set_rate_limit(Some(2));
    let ask = async || backend(&idp, "/__clerk/v1/users").await;
    assert_eq!(ask().await.status, 200);
    clock.advance(Duration::from_millis(3_500));
    assert_eq!(ask().await.status, 200);
    for _ in 0..3 {
        let refused = ask().await;
        assert_eq!(refused.error(), refusal(429, "too_many_requests"));
        assert_eq!(refused.headers.get("retry-after").unwrap(), "7");
    }
    assert_eq!(backend(&idp, "/__clerk/v1/jwks").await.status, 200, "the key set has no limit");
    clock.advance(Duration::from_millis(6_500));
    assert_eq!(ask().await.status, 200, "the first request is ten seconds ago");
    assert_eq!(ask().await.headers.get("retry-after").unwrap(), "4");
    idp.set_rate_limit(None);
    assert_eq!(ask().await.status, 200);
}
