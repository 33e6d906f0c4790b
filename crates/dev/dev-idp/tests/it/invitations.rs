//! Invitations to an organization.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use portal_dev_idp::{DevIdp, DevIdpError, Person};
use serde_json::{Value, json};

use crate::client::{Answer, backend, call, read, refusal};
use crate::receiver::Receiver;
use crate::{HandClock, NOW, idp, key};

const PATH: &str = "/organizations/org_dev_acme/invitations";

async fn invite(idp: &DevIdp, email: &str) -> Value {
    let body = json!({ "email_address": email, "role": "org:editor", "inviter_user_id": "user_dev_alice" });
    let answer = call(idp, Method::POST, PATH, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn revoke(idp: &DevIdp, invitation: &Value, by: &str) -> Answer {
    let path = format!("{PATH}/{}/revoke", invitation["id"].as_str().expect("an id"));
    call(idp, Method::POST, &path, &json!({ "requesting_user_id": by })).await
}

#[actix_web::test]
async fn an_invitation_has_the_shape_of_clerk() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let made = invite(&idp, "new@example.test").await;
    let (now, id) = (NOW * 1_000, made["id"].as_str().unwrap());
    assert!(id.starts_with("orginv_"));
    assert_eq!(
        made,
        json!({
            "object": "organization_invitation",
            "id": id,
            "email_address": "new@example.test",
            "role": "org:editor",
            "role_name": "Editor",
            "organization_id": "org_dev_acme",
            "inviter_id": "user_dev_alice",
            "public_inviter_data": {
                "user_id": "user_dev_alice",
                "first_name": "Alice",
                "last_name": "Archer",
                "image_url": "",
                "has_image": false,
                "identifier": "alice@example.test",
            },
            "status": "pending",
            "public_metadata": {},
            "private_metadata": {},
            "url": format!("{}/v1/tickets/accept?ticket={id}", idp.instance().issuer()),
            "expires_at": now + 30 * 86_400_000,
            "created_at": now,
            "updated_at": now,
        })
    );
    assert_eq!(read(&idp, &format!("{PATH}/{id}")).await, made);
    assert_eq!(read(&idp, "/organizations/acme").await["pending_invitations_count"], 1);
    let [(kind, mut data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "organizationInvitation.created");
    let organization = data.as_object_mut().unwrap().remove("data").unwrap();
    assert_eq!(organization["public_organization_data"]["slug"], "acme");
    assert_eq!(data, made);
}

#[actix_web::test]
async fn an_invitation_is_accepted_once() {
    let idp = idp();
    let made = invite(&idp, "stranger@example.test").await;
    let id = made["id"].as_str().unwrap();
    let receiver = Receiver::of(&idp);
    let membership = idp.accept_invitation(id, "user_dev_stranger").unwrap();
    assert_eq!((membership.organization.id.as_str(), membership.role.as_str()), ("org_dev_acme", "org:editor"));
    let events = receiver.events(&idp).await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["organizationInvitation.accepted", "organizationMembership.created"]);
    let data = &events[0].1;
    assert_eq!(
        (&data["status"], &data["user_id"], &data["url"]),
        (&"accepted".into(), &"user_dev_stranger".into(), &Value::Null)
    );
    assert_eq!(data["updated_at"], NOW * 1_000 + 1);
    assert_eq!(events[1].1["public_user_data"]["user_id"], "user_dev_stranger");
    assert_eq!(read(&idp, "/organizations/acme").await["members_count"], 5);

    let other = Person::new("zoe");
    idp.add_person(other);
    for (id, user_id) in
        [(id, "user_dev_zoe"), (id, "user_dev_stranger"), (id, "user_none"), ("orginv_none", "user_dev_zoe")]
    {
        let refused = idp.accept_invitation(id, user_id).unwrap_err();
        assert!(matches!(refused, DevIdpError::Refused(_)), "{refused}");
    }
    assert_eq!(
        revoke(&idp, &made, "user_dev_alice").await.error(),
        refusal(404, "organization_invitation_not_pending")
    );
}

#[actix_web::test]
async fn an_invitation_is_revoked() {
    let idp = idp();
    let made = invite(&idp, "new@example.test").await;
    assert_eq!(revoke(&idp, &made, "user_dev_stranger").await.error(), refusal(403, "not_a_member_in_organization"));
    let receiver = Receiver::of(&idp);
    let revoked = revoke(&idp, &made, "user_dev_adam").await.json();
    assert_eq!((&revoked["status"], &revoked["updated_at"]), (&"revoked".into(), &(NOW * 1_000 + 1).into()));
    assert_eq!(receiver.kinds(&idp).await, ["organizationInvitation.revoked"]);
    assert_eq!(revoke(&idp, &made, "user_dev_adam").await.error(), refusal(404, "organization_invitation_not_pending"));
    assert_eq!(
        revoke(&idp, &json!({ "id": "orginv_none" }), "user_dev_adam").await.error(),
        refusal(404, "resource_not_found")
    );
    idp.accept_invitation(made["id"].as_str().unwrap(), "user_dev_stranger").unwrap_err();
    invite(&idp, "new@example.test").await;
}

#[actix_web::test]
async fn invitations_are_listed_by_status() {
    let clock = HandClock::new();
    let idp = DevIdp::new(key(), Arc::clone(&clock) as _);
    let short = json!({ "email_address": "short@example.test", "role": "org:viewer", "expires_in_days": 1 });
    assert_eq!(call(&idp, Method::POST, PATH, &short).await.status, 200);
    clock.advance(Duration::from_hours(1));
    let gone = invite(&idp, "gone@example.test").await;
    revoke(&idp, &gone, "user_dev_alice").await;
    invite(&idp, "new@example.test").await;
    clock.advance(Duration::from_hours(24));
    let list = async |query: &str| {
        let body = read(&idp, &format!("{PATH}{query}")).await;
        let emails = body["data"].as_array().expect("data").iter().map(|held| held["email_address"].clone());
        let names = emails.map(|email| email.as_str().expect("text").replace("@example.test", "")).collect::<Vec<_>>();
        (names.join(" "), body["total_count"].as_u64().expect("a number"))
    };
    assert_eq!(list("?status=pending").await, ("new".to_owned(), 1));
    assert_eq!(list("?status=revoked").await, ("gone".to_owned(), 1));
    assert_eq!(list("?status=expired").await, ("short".to_owned(), 1));
    assert_eq!(list("?status=accepted").await, (String::new(), 0));
    assert_eq!(list("?limit=2").await, ("new gone".to_owned(), 3), "the newest first");
    assert_eq!(list("?order_by=email_address").await.0, "gone new short");
    let wrong = backend(&idp, &format!("/__clerk/v1{PATH}?status=lost")).await;
    assert_eq!(wrong.error(), refusal(422, "form_param_value_invalid"));
}

#[actix_web::test]
async fn what_cannot_be_invited_is_refused() {
    let idp = idp();
    invite(&idp, "new@example.test").await;
    let post = async |email: &str, role: &str, inviter: &str| {
        let body = json!({ "email_address": email, "role": role, "inviter_user_id": inviter });
        call(&idp, Method::POST, PATH, &body).await
    };
    let duplicate = post("NEW@example.test", "org:viewer", "user_dev_adam").await;
    assert_eq!(duplicate.error(), refusal(400, "duplicate_record"));
    assert_eq!(duplicate.json()["errors"][0]["meta"]["email_addresses"], json!(["NEW@example.test"]));
    for (email, role, inviter, status, code) in [
        ("a@example.test", "org:emperor", "user_dev_alice", 404, "resource_not_found"),
        ("a@example.test", "org:viewer", "user_none", 404, "resource_not_found"),
        ("a@example.test", "org:viewer", "user_dev_stranger", 403, "not_a_member_in_organization"),
        ("edith@example.test", "org:viewer", "user_dev_alice", 400, "already_a_member_in_organization"),
        ("example.test", "org:viewer", "user_dev_alice", 422, "form_param_value_invalid"),
    ] {
        assert_eq!(post(email, role, inviter).await.error(), refusal(status, code), "{email} {role} {inviter}");
    }
    for days in [0, 366] {
        let body = json!({ "email_address": "a@example.test", "role": "org:viewer", "expires_in_days": days });
        assert_eq!(call(&idp, Method::POST, PATH, &body).await.error(), refusal(422, "form_param_value_invalid"));
    }
    let nowhere = call(
        &idp,
        Method::POST,
        "/organizations/org_none/invitations",
        &json!({ "email_address": "a@b.test", "role": "org:viewer" }),
    )
    .await;
    assert_eq!(nowhere.error(), refusal(404, "resource_not_found"));
    assert_eq!(read(&idp, PATH).await["total_count"], 1);
}
