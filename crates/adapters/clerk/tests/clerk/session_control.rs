//! Sessions that are ended at the Backend API.

use std::time::Duration;

use portal_clerk::{ClerkSessions, DirectoryError, ProviderSessionId};
use portal_identity::SessionControl;
use serde_json::{Value, json};

use crate::server::{FakeClerk, Reply};
use crate::setup::with_keys_of;

async fn revoke(server: &FakeClerk, id: &str) -> Result<(), DirectoryError> {
    let sessions = ClerkSessions::new(&with_keys_of(server.url()).validate().unwrap()).unwrap();
    sessions.revoke(&ProviderSessionId::as_written(id)).await
}

fn session(id: &str, status: &Value) -> Reply {
    Reply::json(200, &json!({ "object": "session", "id": id, "status": status }))
}

#[tokio::test]
async fn a_session_that_clerk_ends_or_does_not_know_has_ended() {
    for reply in [session("sess_1", &json!("revoked")), Reply::status(404, "{}")] {
        let server = FakeClerk::start(reply).await;
        revoke(&server, "sess_1").await.unwrap();
        assert_eq!(server.hits(), 1);
        assert!(server.requests()[0].starts_with("POST /v1/sessions/sess_1/revoke HTTP/1.1\n"));
    }
}

#[tokio::test]
async fn nobody_is_asked_about_an_id_that_clerk_does_not_make() {
    let server = FakeClerk::start(Reply::status(500, "")).await;
    for id in ["sess_1/../../users", "sess_1?x", "user_1"] {
        revoke(&server, id).await.unwrap();
    }
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn what_clerk_refuses_to_end_has_ended_only_if_it_is_over() {
    let server = FakeClerk::start(Reply::status(400, "{}")).await;
    for (reply, is_over) in [
        (session("sess_1", &json!("ended")), true),
        (session("sess_1", &json!("revoked")), true),
        (session("sess_1", &json!("expired")), true),
        (Reply::status(404, "{}"), true),
        (session("sess_1", &json!("active")), false),
        (session("sess_1", &json!("pending")), false),
        (session("sess_1", &json!("unheard-of")), false),
        (session("sess_1", &json!(null)), false),
        (session("sess_2", &json!("ended")), false),
        (Reply::status(200, "not JSON"), false),
        (Reply::status(503, ""), false),
    ] {
        let told = String::from_utf8(reply.body()).unwrap();
        server.set(reply);
        server.route("/v1/sessions/sess_1/revoke", Reply::status(400, "{}"));
        assert_eq!(revoke(&server, "sess_1").await.is_ok(), is_over, "{told:?}");
    }
}

#[tokio::test]
async fn an_outage_a_limit_and_a_refused_key_say_nothing_of_the_session() {
    let invalid = json!({ "errors": [{ "code": "clerk_key_invalid" }] });
    for reply in [
        Reply::status(503, ""),
        Reply::status(429, "").with("retry-after", "7"),
        Reply::status(401, ""),
        Reply::json(400, &invalid),
    ] {
        let server = FakeClerk::start(session("sess_1", &json!("ended"))).await;
        server.route("/v1/sessions/sess_1/revoke", reply);
        match revoke(&server, "sess_1").await.unwrap_err() {
            DirectoryError::RateLimited { retry_after } => assert_eq!(retry_after, Some(Duration::from_secs(7))),
            DirectoryError::Unavailable(_) | DirectoryError::SecretKeyInvalid => {}
            error @ DirectoryError::Malformed(_) => panic!("{error}"),
        }
        assert_eq!(server.hits(), 1);
    }
}
