//! Sessions: how they begin, what the Backend API tells of them, and how they end.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portal_dev_idp::{DevIdp, SessionStatus};
use serde_json::{Value, json};

use crate::client::{Answer, backend, call, get, read, refusal, send};
use crate::receiver::Receiver;
use crate::{AZP, HandClock, NOW, idp, key};

async fn sign_in(idp: &DevIdp, name: &str) -> String {
    let form = TestRequest::post().uri("/__clerk/sign-in").set_form([("person", name)]);
    let answer = send(idp, form.insert_header(("host", "localhost:8080"))).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookies = answer.headers.get_all("set-cookie").map(|line| line.to_str().expect("text"));
    let cookie = cookies.into_iter().find(|line| line.starts_with("__client=")).expect("a cookie");
    cookie.split(';').next().expect("a pair").to_owned()
}

async fn handshake(idp: &DevIdp, cookie: &str) -> Answer {
    let path = "/__clerk/v1/client/handshake?redirect_url=/portal";
    send(idp, get(path).insert_header(("cookie", cookie))).await
}

/// Whether a handshake gives this browser a session token.
async fn gets_tokens(idp: &DevIdp, cookie: &str) -> bool {
    let answer = handshake(idp, cookie).await;
    let back = answer.headers.get("location").expect("an address").to_str().expect("text");
    let (_, token) = back.split_once("__clerk_handshake=").expect("a token");
    let claims = token.split('.').nth(1).expect("claims");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url without padding");
    String::from_utf8(claims).expect("UTF-8").contains("__session=ey")
}

#[actix_web::test]
async fn the_first_token_begins_the_session_that_it_names() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    assert_eq!(read(&idp, "/sessions?user_id=user_dev_alice").await, json!([]));
    let alice = idp.person("alice").unwrap();
    idp.fresh_session_token(&alice, AZP);
    idp.live_session_token(&alice, AZP).unwrap();
    let session = read(&idp, "/sessions/sess_dev_alice").await;
    let now = NOW * 1_000;
    let mut shown = session.clone();
    assert!(shown["latest_activity"].take()["id"].is_string());
    assert_eq!(
        shown,
        json!({
            "object": "session",
            "id": "sess_dev_alice",
            "user_id": "user_dev_alice",
            "client_id": "client_dev_alice",
            "actor": null,
            "status": "active",
            "last_active_organization_id": "org_dev_acme",
            "last_active_at": now,
            "latest_activity": null,
            "expire_at": now + 7 * 86_400_000,
            "abandon_at": now + 30 * 86_400_000,
            "created_at": now,
            "updated_at": now,
            "tasks": null,
        })
    );
    assert_eq!(read(&idp, "/sessions?user_id=user_dev_alice&status=active").await, json!([session]));
    let paged = read(&idp, "/sessions?user_id=user_dev_alice&paginated=true").await;
    assert_eq!(paged, json!({ "data": [session], "total_count": 1 }));

    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "session.created");
    assert_eq!((&data["id"], &data["user"]), (&session["id"], &read(&idp, "/users/user_dev_alice").await));
    assert!(data.get("tasks").is_none());
}

#[actix_web::test]
async fn a_list_needs_to_know_whose_sessions() {
    let idp = idp();
    let ask = async |path: &str| backend(&idp, &format!("/__clerk/v1/sessions{path}")).await.error();
    assert_eq!(ask("").await, refusal(400, "missing_query_parameter"));
    assert_eq!(ask("?user_id=x&status=asleep").await, refusal(422, "form_param_value_invalid"));
    assert_eq!(ask("/sess_none").await, refusal(404, "resource_not_found"));
    assert_eq!(read(&idp, "/sessions?user_id=user_none").await, json!([]));
}

#[actix_web::test]
async fn a_revoked_session_gets_no_more_tokens_and_a_new_sign_in_is_a_new_session() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let cookie = sign_in(&idp, "alice").await;
    assert!(gets_tokens(&idp, &cookie).await);
    receiver.deliveries(&idp).await;
    let revoked = call(&idp, Method::POST, "/sessions/sess_dev_alice/revoke", &Value::Null).await.json();
    assert_eq!((&revoked["status"], &revoked["updated_at"]), (&"revoked".into(), &(NOW * 1_000 + 1).into()));
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &data["status"]), ("session.revoked", &"revoked".into()));
    assert!(!gets_tokens(&idp, &cookie).await);
    let alice = idp.person("alice").unwrap();
    idp.live_session_token(&alice, AZP).unwrap_err();

    let again = call(&idp, Method::POST, "/sessions/sess_dev_alice/revoke", &Value::Null).await.json();
    assert_eq!(again, revoked);
    idp.fresh_session_token(&alice, AZP);
    assert_eq!(receiver.kinds(&idp).await, Vec::<String>::new(), "nothing happened");

    let cookie = sign_in(&idp, "alice").await;
    assert_ne!(cookie, "__client=sess_dev_alice");
    assert!(gets_tokens(&idp, &cookie).await);
    assert_eq!(format!("__client={}", idp.person("alice").unwrap().session_id), cookie);
    assert_eq!(receiver.kinds(&idp).await, ["session.created"]);
    let statuses: Vec<_> = idp.sessions("user_dev_alice").iter().map(|session| session.status).collect();
    assert_eq!(statuses, [SessionStatus::Revoked, SessionStatus::Active]);
    assert_eq!(read(&idp, "/sessions?user_id=user_dev_alice&status=revoked").await, json!([revoked]));
    let none = call(&idp, Method::POST, "/sessions/sess_none/revoke", &Value::Null).await;
    assert_eq!(none.error(), refusal(404, "resource_not_found"));
}

#[actix_web::test]
async fn signing_out_ends_the_session() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let cookie = sign_in(&idp, "edith").await;
    let request = TestRequest::post().uri("/__clerk/sign-out").insert_header(("host", "localhost:8080"));
    send(&idp, request.insert_header(("cookie", cookie.clone()))).await;
    assert_eq!(receiver.kinds(&idp).await, ["session.created", "session.ended"]);
    assert_eq!(read(&idp, "/sessions/sess_dev_edith").await["status"], "ended");
    assert!(!gets_tokens(&idp, &cookie).await);
    let page = send(&idp, get("/__clerk").insert_header(("cookie", cookie))).await.text;
    assert!(!page.contains("is signed in as"), "{page}");
    let edith = idp.sign_in("edith").unwrap();
    idp.sign_out(&edith.session_id).unwrap();
    assert_eq!(receiver.kinds(&idp).await, ["session.created", "session.ended"]);
    idp.sign_out("sess_none").unwrap_err();
    idp.sign_in("nobody").unwrap_err();
}

#[actix_web::test]
async fn another_device_is_another_session() {
    let idp = idp();
    idp.sign_in("alice").unwrap();
    let made = call(&idp, Method::POST, "/sessions", &json!({ "user_id": "user_dev_alice" })).await.json();
    assert_eq!(made["status"], "active");
    let list = read(&idp, "/sessions?user_id=user_dev_alice").await;
    assert_eq!((&list[0]["id"], &list[1]["id"]), (&made["id"], &"sess_dev_alice".into()), "the newest first");
    assert!(gets_tokens(&idp, &format!("__client={}", made["id"].as_str().unwrap())).await);
    let none = call(&idp, Method::POST, "/sessions", &json!({ "user_id": "user_none" })).await;
    assert_eq!(none.error(), refusal(404, "resource_not_found"));
}

#[actix_web::test]
async fn a_session_ends_by_itself_after_a_week() {
    let clock = HandClock::new();
    let idp = DevIdp::new(key(), Arc::clone(&clock) as _);
    let cookie = sign_in(&idp, "alice").await;
    clock.advance(Duration::from_hours(7 * 24) - Duration::from_millis(1));
    assert!(gets_tokens(&idp, &cookie).await);
    clock.advance(Duration::from_millis(1));
    assert!(!gets_tokens(&idp, &cookie).await);
    let session = read(&idp, "/sessions/sess_dev_alice").await;
    assert_eq!(session["status"], "expired");
    assert_eq!(session["last_active_at"], NOW * 1_000 + 7 * 86_400_000 - 1);
    assert_ne!(sign_in(&idp, "alice").await, cookie);
}

#[actix_web::test]
async fn somebody_who_was_deleted_gets_nothing() {
    let idp = idp();
    let alice = idp.sign_in("alice").unwrap();
    let cookie = format!("__client={}", alice.session_id);
    idp.remove_person("user_dev_alice");
    assert!(!gets_tokens(&idp, &cookie).await);
    idp.live_session_token(&alice, AZP).unwrap_err();
    assert!(!idp.fresh_session_token(&alice, AZP).is_empty(), "a token from before, for tests");
    assert!(idp.sessions("user_dev_alice").is_empty());
    assert_eq!(backend(&idp, "/__clerk/v1/sessions/sess_dev_alice").await.status, StatusCode::NOT_FOUND);
}
