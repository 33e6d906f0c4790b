//! What people choose here.

use e2e::Portal;
use portal_dev_idp::Person;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_chooses_a_username_and_how_things_are_shown() {
    let portal = Portal::start().await;
    let token = portal.token("alice");
    let before = portal.get("/v1/me", &token).await.json();
    assert_eq!((&before["user"]["username"], &before["user"]["preferences"]), (&Value::Null, &json!({})));
    let wanted = json!({
        "username": "alice_1",
        "preferences": { "theme": "dark", "time_zone": "Europe/Amsterdam", "locale": "pt-BR" },
        "custom": { "tour": "done", "beta": "yes" },
    });
    let changed = portal.patch("/v1/me", &token, &wanted).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    for user in [changed.json(), portal.get("/v1/me", &token).await.json()["user"].clone()] {
        for name in ["username", "preferences", "custom"] {
            assert_eq!(user[name], wanted[name], "{user}");
        }
        assert_eq!(user["email"], before["user"]["email"]);
    }
    let less = json!({ "preferences": { "theme": null }, "custom": { "beta": null } });
    let changed = portal.patch("/v1/me", &token, &less).await.json();
    assert_eq!(changed["preferences"], json!({ "time_zone": "Europe/Amsterdam", "locale": "pt-BR" }));
    assert_eq!((&changed["custom"], &changed["username"]), (&json!({ "tour": "done" }), &json!("alice_1")));
    let nothing = json!({ "username": null, "preferences": null, "custom": null });
    let changed = portal.patch("/v1/me", &token, &nothing).await.json();
    assert_eq!(
        (&changed["preferences"], &changed["custom"], &changed["username"]),
        (&json!({}), &json!({}), &Value::Null)
    );

    let account = portal.personal_account("alice").await;
    let path = format!("/v1/accounts/{account}/audit-events?action=profile.updated");
    assert_eq!(portal.get(&path, &token).await.json()["data"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_username_is_one_persons_whatever_two_of_them_do_at_once() {
    let portal = Portal::start().await;
    let other = portal.replica();
    let (alice, adam) = (portal.token("alice"), portal.token("adam"));
    for token in [&alice, &adam] {
        assert_eq!(portal.get("/v1/me", token).await.status, 200);
    }
    let body = json!({ "username": "boss" });
    let (one, another) = tokio::join!(portal.patch("/v1/me", &alice, &body), portal.patch("/v1/me", &adam, &body));
    let mut answers = [one, another];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers[0].status, 200);
    answers[1].assert_problem(409, "username_taken");
    let names = [other.get("/v1/me", &alice).await.json(), other.get("/v1/me", &adam).await.json()];
    assert_eq!(names.iter().filter(|me| me["user"]["username"] == "boss").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t38_what_the_provider_tells_of_a_person_cannot_be_set_here() {
    let portal = Portal::start().await;
    let unverified = Person { email_verified: false, ..Person::new("nora") };
    portal.idp.add_person(unverified);
    let token = portal.token("nora");
    let me = portal.get("/v1/me", &token).await.json();
    assert_eq!(me["user"]["email_verified"], false);
    for (name, value) in [
        ("email_verified", json!(true)),
        ("email", json!("alice@example.test")),
        ("id", me["user"]["id"].clone()),
        ("clerk_id", json!("user_dev_alice")),
        ("state", json!("active")),
        ("role", json!("owner")),
        ("first_name", json!("Alice")),
    ] {
        let body = json!({ name: value });
        portal.patch("/v1/me", &token, &body).await.assert_problem(422, "invalid_body");
    }
    assert_eq!(portal.get("/v1/me", &token).await.json()["user"], me["user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_none_are_refused_in_words_that_repeat_nothing() {
    let portal = Portal::start().await;
    let token = portal.token("alice");
    let many: serde_json::Map<_, _> = (0..21).map(|number| (format!("f{number}"), json!(""))).collect();
    for (body, code) in [
        (json!({ "username": "S3cret" }), "invalid_profile"),
        (json!({ "username": 7 }), "invalid_body"),
        (json!({ "preferences": { "theme": "s3cret" } }), "invalid_body"),
        (json!({ "preferences": { "time_zone": "Europe/S3cret" } }), "invalid_profile"),
        (json!({ "preferences": { "locale": "s3cret text" } }), "invalid_profile"),
        (json!({ "preferences": { "s3cret": "x" } }), "invalid_body"),
        (json!({ "preferences": ["dark", null, null] }), "invalid_body"),
        (json!({ "custom": { "S3cret": "x" } }), "invalid_profile"),
        (json!({ "custom": { "x": "s3cret".repeat(50) } }), "invalid_profile"),
        (json!({ "custom": { "x": { "s3cret": 1 } } }), "invalid_body"),
        (json!({ "custom": many }), "invalid_profile"),
    ] {
        let refused = portal.patch("/v1/me", &token, &body).await;
        refused.assert_problem(422, code);
        assert!(!refused.text.to_lowercase().contains("s3cret"), "{refused:?}");
    }
    let same = portal.patch("/v1/me", &token, &json!({})).await;
    assert_eq!(same.json()["custom"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_address_is_known_to_be_unverified_makes_no_keys_and_invites_nobody() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let acme = portal.acme().await;
    let mut adam = Person { email_verified: false, ..portal.person("adam") };
    portal.idp.add_person(adam.clone());
    portal.idp.webhooks_settled().await;
    let token = portal.token("adam");
    let (keys, invitations) = (format!("/v1/accounts/{acme}/api-keys"), format!("/v1/accounts/{acme}/invitations"));
    let invitation = json!({ "email": "new@example.test", "role": "viewer" });
    portal.post(&keys, &token, &json!({ "name": "x" })).await.assert_problem(403, "email_not_verified");
    portal.post(&invitations, &token, &invitation).await.assert_problem(403, "email_not_verified");
    assert_eq!(portal.get(&keys, &token).await.status, 200, "reading goes on");
    let me = portal.get("/v1/me", &token).await.json();
    assert!(!me["permissions"].as_array().unwrap().contains(&json!("create-key")), "{me}");
    adam.email_verified = true;
    portal.idp.add_person(adam);
    portal.idp.webhooks_settled().await;
    assert_eq!(portal.post(&keys, &token, &json!({ "name": "x" })).await.status, 201);
    assert_eq!(portal.post(&invitations, &token, &invitation).await.status, 201);
}
