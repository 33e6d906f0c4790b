//! Opaque machine tokens, about which the Backend API is asked.

use std::time::Duration;

use portal_clerk::{ClerkOptions, SecretString, StrictChoices, TokenType};
use serde_json::{Value, json};

use crate::machine_setup::Machines;
use crate::minting::NOW;
use crate::server::{FakeClerk, Reply, nobody};
use crate::setup::{impatient, with_keys_of, with_public_key};

const TOKENS: [(&str, TokenType); 3] =
    [("mt_s3cret", TokenType::M2mToken), ("oat_s3cret", TokenType::OauthToken), ("ak_s3cret", TokenType::ApiKey)];

fn described(token: &str, change: &Value) -> Value {
    let subject = if token.starts_with("mt_") { "mch_9" } else { "user_1" };
    let mut body = json!({
        "object": "x", "id": "id_1", "subject": subject, "scopes": ["mch_1", "read"], "revoked": false, "expired": false,
        "revocation_reason": null, "expiration": null, "claims": null, "created_at": NOW * 1_000, "updated_at": NOW * 1_000,
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

fn strict(url: &str) -> ClerkOptions {
    ClerkOptions { machine_id: Some("mch_1".to_owned()), ..with_keys_of(url) }
}

fn exact(url: &str) -> ClerkOptions {
    ClerkOptions { choices: StrictChoices::exact(), token_cache_entries: 100, ..with_keys_of(url) }
}

#[tokio::test]
async fn each_class_has_its_own_question_and_auth_object() {
    for ((token, token_type), path, question) in [
        (TOKENS[0], "/m2m_tokens/verify", json!({ "token": "mt_s3cret" })),
        (TOKENS[1], "/oauth_applications/access_tokens/verify", json!({ "access_token": "oat_s3cret" })),
        (TOKENS[2], "/api_keys/verify", json!({ "secret": "ak_s3cret" })),
    ] {
        let expiration = NOW * 1_000 + 60_123;
        let change = json!({ "claims": { "a": 1 }, "client_id": "client_1", "expiration": expiration });
        let server = FakeClerk::start(Reply::json(200, &described(token, &change))).await;
        let auth = Machines::new(strict(server.url())).ask(token).await.unwrap();
        assert_eq!((auth.token_type, auth.id.as_str()), (token_type, "id_1"));
        assert_eq!(auth.scopes, ["mch_1", "read"]);
        assert_eq!((auth.claims.as_deref(), auth.client_id.as_deref()), (Some(r#"{"a":1}"#), Some("client_1")));
        assert_eq!(auth.expires_at.unwrap().unix_millis(), expiration);
        let machine = token_type == TokenType::M2mToken;
        assert_eq!((auth.user_id.is_some(), auth.machine_id.is_some()), (!machine, machine));

        let request = &server.requests()[0];
        assert!(request.starts_with(&format!("POST {path} HTTP/1.1\n")), "{request}");
        for header in [
            "authorization: Bearer sk_test_s3cret\n",
            "clerk-api-version: 2026-05-12\n",
            "content-type: application/json\n",
        ] {
            assert!(request.contains(header), "{header} in {request}");
        }
        assert_eq!(serde_json::from_str::<Value>(request.split_once("\n\n").unwrap().1).unwrap(), question);
    }
}

#[tokio::test]
async fn the_subject_of_an_api_key_may_be_an_organization_or_a_machine_and_what_is_unknown_has_no_id() {
    for (subject, user, organization, machine) in
        [("user_1", true, false, false), ("org_1", false, true, false), ("mch_1", false, false, true)]
    {
        let server = FakeClerk::start(Reply::json(200, &described("ak_1", &json!({ "subject": subject })))).await;
        let auth = Machines::new(exact(server.url())).ask("ak_1").await.unwrap();
        assert_eq!(auth.subject, subject);
        let ids = (auth.user_id.is_some(), auth.organization_id.is_some(), auth.machine_id.is_some());
        assert_eq!(ids, (user, organization, machine), "{subject}");
    }
    for (token, subject) in [
        ("ak_1", "sess_1"),
        ("ak_1", "user_../x"),
        ("oat_1", "org_1"),
        ("oat_1", "mch_1"),
        ("mt_1", "user_1"),
        ("mt_1", "mch_"),
    ] {
        let server = FakeClerk::start(Reply::json(200, &described(token, &json!({ "subject": subject })))).await;
        let auth = Machines::new(exact(server.url())).ask(token).await.unwrap();
        assert_eq!(auth.subject, subject);
        assert_eq!(
            (&auth.user_id, &auth.organization_id, &auth.machine_id),
            (&None, &None, &None),
            "{token} {subject}"
        );
        let mut checked = exact(server.url());
        checked.choices.check_machine_subject = true;
        let out = Machines::new(checked).ask(token).await.unwrap_err();
        assert_eq!((out.reason.as_str().as_ref(), out.outage), ("token-invalid", false), "{token} {subject}");
    }
}

#[tokio::test]
async fn table_4_3_each_status_has_its_code() {
    let refused = json!({ "errors": [{ "message": "The provided key is wrong.", "code": "clerk_key_invalid" }] });
    let not_found = ["Machine token not found", "OAuth token not found", "API key not found"];
    for ((token, token_type), not_found) in TOKENS.into_iter().zip(not_found) {
        for (reply, reason, message, outage) in [
            (Reply::json(401, &refused), "secret-key-invalid", "The provided key is wrong.", true),
            (Reply::status(401, "<html>"), "secret-key-invalid", "Invalid secret key", true),
            (
                Reply::json(401, &json!({ "errors": [{ "message": "a\r\nb" }] })),
                "secret-key-invalid",
                "Invalid secret key",
                true,
            ),
            (Reply::status(404, "{}"), "token-invalid", not_found, false),
            (Reply::status(400, "{}"), "unexpected-error", "Unexpected error", false),
            (Reply::status(403, "{}"), "unexpected-error", "Unexpected error", false),
            (Reply::status(429, "{}"), "unexpected-error", "Unexpected error", true),
            (Reply::status(500, "{}"), "unexpected-error", "Unexpected error", true),
            (Reply::status(302, "").with("location", "/v1"), "unexpected-error", "Unexpected error", true),
            (Reply::json(200, &json!(null)), "unexpected-error", "Unexpected error", true),
            (Reply::json(200, &json!(5)), "unexpected-error", "Unexpected error", true),
            (json_text("<html>"), "unexpected-error", "Unexpected error", true),
        ] {
            let server = FakeClerk::start(reply.clone()).await;
            let out = Machines::new(exact(server.url())).ask(token).await.unwrap_err();
            let Reply::Http { status, .. } = reply else { panic!("no status") };
            assert_eq!(out.message, format!("{message} (code={reason}, status={status})"));
            assert_eq!((out.reason.as_str().as_ref(), out.outage), (reason, outage), "{}", out.message);
            assert_eq!(out.token_type, Some(token_type));
            assert_eq!(server.hits(), 1, "nothing is repeated or followed");
        }
    }
}

fn json_text(body: &str) -> Reply {
    Reply::status(200, body).with("content-type", "application/json")
}

#[tokio::test]
async fn an_answer_that_describes_nothing_is_no_verdict_and_in_exact_a_good_token() {
    let nothing = ("unexpected-error", true);
    for (name, reply, in_strict) in [
        ("a page", Reply::status(200, "<html>"), nothing),
        ("a text", Reply::status(200, r#"{"id":5,"subject":"user_1"}"#), nothing),
        ("a list", json_text("[]"), nothing),
        ("a text of JSON", json_text("\"text\""), nothing),
        ("an empty object", json_text("{}"), nothing),
        ("no subject", json_text(r#"{"id":"id_1"}"#), nothing),
        ("a dead token", json_text(r#"{"active":false}"#), ("token-invalid", false)),
        ("no content", Reply::status(204, ""), nothing),
    ] {
        let server = FakeClerk::start(reply).await;
        for (token, _) in TOKENS {
            let out = Machines::new(strict(server.url())).ask(token).await.unwrap_err();
            assert_eq!((out.reason.as_str().as_ref(), out.outage), in_strict, "{token} {name}");
            let auth = Machines::new(exact(server.url())).ask(token).await.unwrap();
            assert_eq!((auth.subject.as_str(), &auth.user_id), ("", &None), "{token} {name}");
        }
    }
    let server = FakeClerk::start(json_text(r#"{"id":5,"subject":["user_1"],"client_id":"client_1"}"#)).await;
    let auth = Machines::new(exact(server.url())).ask("oat_1").await.unwrap();
    assert_eq!((auth.id.as_str(), auth.subject.as_str(), auth.client_id.as_deref()), ("5", "user_1", None));
    let mut by_content = exact(server.url());
    by_content.choices.judge_answers_by_content = true;
    assert_eq!(Machines::new(by_content).ask("oat_1").await.unwrap().client_id.as_deref(), Some("client_1"));
}

#[tokio::test]
async fn silence_is_an_outage_and_tells_no_secret() {
    let server = FakeClerk::start(Reply::Hang(Vec::new())).await;
    for url in [server.url().to_owned(), nobody()] {
        let out = Machines::new(impatient(&url)).ask("ak_s3cret").await.unwrap_err();
        assert_eq!(out.message, "Unexpected error (code=unexpected-error, status=n/a)");
        assert!(out.outage);
        assert!(!format!("{out:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_dead_token_is_refused_although_the_api_describes_it() {
    let past = (NOW - 5) * 1_000;
    for change in [
        json!({ "revoked": true }),
        json!({ "revoked": "yes" }),
        json!({ "expired": true }),
        json!({ "expired": 1 }),
        json!({ "expiration": past }),
        json!({ "expiration": -1 }),
        json!({ "expiration": "2025-01-01" }),
        json!({ "expiration": u64::MAX }),
        json!({ "active": false }),
        json!({ "active": "no" }),
    ] {
        for (token, _) in TOKENS {
            let server = FakeClerk::start(Reply::json(200, &described(token, &change))).await;
            let (reason, message) = Machines::new(strict(server.url())).refusal(token).await;
            assert_eq!(reason, "token-invalid", "{token} {change}");
            assert_eq!(
                message, "The token is revoked, expired or inactive. (code=token-invalid, status=200)",
                "{token} {change}"
            );
            assert!(Machines::new(exact(server.url())).ask(token).await.is_ok(), "{token} {change}");
        }
    }
    let alive = json!({ "expiration": past + 1, "active": true, "revoked": null, "expired": null });
    let server = FakeClerk::start(Reply::json(200, &described("ak_1", &alive))).await;
    assert!(Machines::new(strict(server.url())).ask("ak_1").await.is_ok());
}

#[tokio::test]
async fn a_machines_token_must_be_meant_for_this_machine() {
    let reply = |scopes: Value| Reply::json(200, &described("mt_1", &json!({ "scopes": scopes })));
    for (scopes, accepted) in
        [(json!(["mch_2", "mch_1"]), true), (json!(["mch_2"]), false), (json!([]), false), (json!(null), false)]
    {
        let server = FakeClerk::start(reply(scopes.clone())).await;
        let verdict = Machines::new(strict(server.url())).ask("mt_1").await;
        assert_eq!(verdict.is_ok(), accepted, "{scopes}");
        if let Err(out) = verdict {
            assert_eq!(out.reason.as_str(), "token-verification-failed");
        }
        assert!(Machines::new(exact(server.url())).ask("mt_1").await.is_ok(), "{scopes}");

        // Clerk compares where the machine itself asks.
        let machine_secret_key = Some(SecretString::from("ak_own_s3cret"));
        let hits = server.hits();
        assert!(
            Machines::new(ClerkOptions { machine_secret_key, ..with_keys_of(server.url()) }).ask("mt_1").await.is_ok()
        );
        assert!(server.requests()[hits].contains("authorization: Bearer ak_own_s3cret\n"));
    }
    let server = FakeClerk::start(reply(json!(["mch_1"]))).await;
    let (reason, _) = Machines::new(with_keys_of(server.url())).refusal("mt_1").await;
    assert_eq!((reason.as_str(), server.hits()), ("token-verification-failed", 0));
}

#[tokio::test]
async fn the_machine_secret_key_is_for_machines_alone() {
    let server = FakeClerk::start(Reply::json(200, &described("mt_1", &json!({})))).await;
    let machine_secret_key = Some(SecretString::from("ak_own_s3cret"));
    let both = ClerkOptions { machine_secret_key: machine_secret_key.clone(), ..exact(server.url()) };
    let both = Machines::new(both);
    assert!(both.ask("mt_1").await.is_ok());
    server.set(Reply::json(200, &described("ak_1", &json!({}))));
    assert!(both.ask("ak_1").await.is_ok() && both.ask("oat_1").await.is_ok());
    for (request, key) in server.requests().iter().zip(["ak_own_s3cret", "sk_test_s3cret", "sk_test_s3cret"]) {
        assert!(request.contains(&format!("authorization: Bearer {key}\n")), "{request}");
    }

    // Without the secret key of the instance, only machines can be asked about.
    server.set(Reply::json(200, &described("mt_1", &json!({}))));
    let hits = server.hits();
    let alone =
        Machines::new(ClerkOptions { machine_secret_key, api_url: server.url().to_owned(), ..with_public_key() });
    assert!(alone.ask("mt_1").await.is_ok());
    let out = alone.ask("ak_1").await.unwrap_err();
    assert_eq!((out.reason.as_str().as_ref(), out.outage), ("secret-key-invalid", true));
    assert_eq!(server.hits(), hits + 1);
}

#[tokio::test]
async fn good_answers_are_remembered_for_a_minute_and_no_longer_than_the_token_lives() {
    let remembering = |url: &str| ClerkOptions { token_cache_entries: 100, ..strict(url) };
    let server = FakeClerk::start(Reply::json(200, &described("ak_1", &json!({})))).await;
    let machines = Machines::new(remembering(server.url()));
    for (after, hits) in [(0, 1), (59_999, 1), (1, 2), (59_999, 2)] {
        machines.advance(Duration::from_millis(after));
        assert!(machines.ask("ak_1").await.is_ok());
        assert_eq!(server.hits(), hits, "{after}");
    }
    assert!(machines.ask("ak_2").await.is_ok());
    assert_eq!(server.hits(), 3, "another token");

    server.set(Reply::json(200, &described("ak_1", &json!({ "expiration": NOW * 1_000 + 10_000 }))));
    let machines = Machines::new(remembering(server.url()));
    for (after, hits) in [(0, 4), (9_999, 4), (1, 5)] {
        machines.advance(Duration::from_millis(after));
        assert!(machines.ask("ak_1").await.is_ok());
        assert_eq!(server.hits(), hits, "{after}");
    }
}

#[tokio::test]
async fn refusals_are_never_remembered_and_neither_is_anything_where_the_cache_is_off() {
    let server = FakeClerk::start(Reply::status(404, "{}")).await;
    let machines = Machines::new(ClerkOptions { token_cache_entries: 100, ..strict(server.url()) });
    assert!(machines.ask("ak_1").await.is_err());
    server.set(Reply::json(200, &described("ak_1", &json!({}))));
    assert!(machines.ask("ak_1").await.is_ok());
    for options in [strict(server.url()), exact(server.url())] {
        let (machines, hits) = (Machines::new(options), server.hits());
        assert!(machines.ask("ak_1").await.is_ok() && machines.ask("ak_1").await.is_ok());
        assert_eq!(server.hits(), hits + 2);
    }
}

#[tokio::test]
async fn a_token_longer_than_any_header_is_not_asked_about() {
    let server = FakeClerk::start(Reply::json(200, &described("ak_1", &json!({})))).await;
    let of_length = |length: usize| format!("ak_{}", "x".repeat(length - "ak_".len()));
    let machines = Machines::new(exact(server.url()));
    for length in [16 * 1_024 + 1, 20_000] {
        assert_eq!(machines.refusal(&of_length(length)).await.0, "token-invalid", "{length}");
    }
    assert_eq!(server.hits(), 0);
    assert!(machines.ask(&of_length(16 * 1_024)).await.is_ok());
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn a_long_description_is_read_and_an_endless_one_is_not() {
    for (length, readable) in [(8 * 1_024, true), (300 * 1_024, false)] {
        let change = json!({ "claims": { "a": "x".repeat(length) } });
        let server = FakeClerk::start(Reply::json(200, &described("ak_1", &change))).await;
        let verdict = Machines::new(strict(server.url())).ask("ak_1").await;
        assert_eq!(verdict.as_ref().err().map(|out| out.outage), (!readable).then_some(true), "{length}");
    }
}
