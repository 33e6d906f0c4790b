//! Exchanging a token that is too old (`clerk.md` §3.11), in the strict default.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portal_clerk::{AuthenticateRequestOptions, ClerkOptions, StrictChoices};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::browsing::{Asked, LIVE_SUFFIX, PAGE, production_with_api, set_cookies};
use crate::cookie_path::{SIGNED_IN, assert_handshake, assert_verdict, expired, good, with_session};
use crate::handshake::SESSION_COOKIE;
use crate::minting::{KEY, NOW, OTHER, TestKey};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, until};

/// A browser whose token is over, with a refresh token.
fn renewable(refresh: &str) -> Asked {
    let cookies = format!("{}; __refresh_{LIVE_SUFFIX}={refresh}", with_session(&expired()));
    Asked::page(PAGE).cookies(&cookies)
}

fn fresh() -> Reply {
    let set = [format!("__session={}; {SESSION_COOKIE}", good()), format!("__refresh_{LIVE_SUFFIX}=r2; HttpOnly")];
    Reply::json(200, &json!({ "object": "cookies", "cookies": ["theme=dark", set[0], set[1]] }))
}

#[tokio::test]
async fn c13_an_expired_token_is_exchanged_and_only_clerks_cookies_are_taken_over() {
    let server = FakeClerk::start(fresh()).await;
    let setup = Setup::new(production_with_api(server.url()));
    for asked in [renewable("r"), renewable("r").by_script()] {
        let state = asked.send(&setup).await;
        assert_verdict(&state, SIGNED_IN, "C13");
        let set = set_cookies(&state);
        assert_eq!((set.len(), set[1]), (2, "__refresh_naoXFJnI=r2; HttpOnly"));
        assert!(set[0].starts_with("__session=") && state.location().is_none());
    }
    assert_eq!(server.hits(), 2, "one exchange after the other is two");
    for method in ["POST", "HEAD"] {
        let state = renewable("r").method(method).send(&setup).await;
        assert_verdict(&state, ("signed-out", "session-token-expired-refresh-non-eligible-non-get"), method);
    }
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn c13_the_provider_learns_about_the_browser_but_never_its_credentials() {
    let server = FakeClerk::start(fresh()).await;
    let setup = Setup::new(production_with_api(server.url()));
    let asked = renewable("r3fresh")
        .header("cookie", "theme=h1dden; other_app=h1dden")
        .header("authorization", "Basic h1dden")
        .header("accept", "text/html")
        .header("host", "portal.example")
        .header("origin", "https://portal.example")
        .header("referer", "https://portal.example/before")
        .header("x-internal", "h1dden");
    assert_verdict(&asked.send(&setup).await, SIGNED_IN, "C13");
    let request = server.requests().pop().unwrap();
    assert!(request.starts_with("POST /v1/sessions/sess_2GbDB4enNdCa5vS1zpC3Xzg9tK9/refresh HTTP/1.1\n"), "{request}");
    assert!(!request.contains("h1dden"), "{request}");
    let (_, body) = request.split_once("\n\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        json!({
            "format": "cookie",
            "expired_token": expired_in(&asked),
            "refresh_token": "r3fresh",
            "request_origin": "https://portal.example",
            "request_headers": {
                "accept": ["text/html"],
                "host": ["portal.example"],
                "origin": ["https://portal.example"],
                "referer": ["https://portal.example/before"],
                "sec-fetch-dest": ["document"],
            },
        })
    );
    // With suffixed cookies the provider is told so.
    let cookies =
        format!("__session_{LIVE_SUFFIX}={}; __client_uat_{LIVE_SUFFIX}=5; __refresh_{LIVE_SUFFIX}=r", expired());
    assert_verdict(&Asked::page(PAGE).cookies(&cookies).send(&setup).await, SIGNED_IN, "suffixed");
    assert!(server.requests()[1].contains("/refresh?suffixed_cookies=true HTTP/1.1\n"));
}

fn expired_in(asked: &Asked) -> String {
    let (_, line) = asked.headers.iter().find(|(name, _)| name == "cookie").unwrap();
    line.split("; ").find_map(|cookie| cookie.strip_prefix("__session=")).unwrap().to_owned()
}

#[tokio::test]
async fn c13_a_failed_exchange_says_why_and_asks_the_browser() {
    let error = |code: &str| Reply::json(422, &json!({ "errors": [{ "code": code }] }));
    let cookies = |list: Value| Reply::json(200, &json!({ "object": "cookies", "cookies": list }));
    let forged = format!("__session={}", OTHER.session(&json!({})));
    for (reply, why) in [
        (error("refresh_token_revoked"), "refresh_token_revoked"),
        (error("unexpected_error"), "fetch-error"),
        (error(""), "unexpected-sdk-error"),
        (error("bad code\r\nx: y"), "unexpected-bapi-error"),
        (Reply::status(500, ""), "unexpected-bapi-error"),
        (Reply::status(200, ""), "unexpected-bapi-error"),
        (Reply::status(200, "<html>"), "fetch-error"),
        (Reply::status(500, "<html>"), "unexpected-bapi-error"),
        (cookies(json!(["__session=a", 1])), "unexpected-sdk-error"),
        (Reply::Raw(Vec::new()), "fetch-error"),
        (cookies(json!([])), "unexpected-sdk-error"),
        (cookies(json!(["theme=dark"])), "unexpected-sdk-error"),
        (cookies(json!(["__client_uat=1"])), "invalid-session-token"),
        (cookies(json!([forged])), "invalid-session-token"),
        (cookies(json!([format!("__session={}", expired())])), "invalid-session-token"),
    ] {
        let server = FakeClerk::start(reply).await;
        let setup = Setup::new(production_with_api(server.url()));
        let reason = format!("session-token-expired-refresh-{why}");
        let asked = renewable("r");
        let state = asked.send(&setup).await;
        assert_verdict(&state, ("handshake", &reason), why);
        assert_handshake(&state, Some(&expired_in(&asked)), why);
        assert_eq!(server.hits(), 1, "{why}");
        let state = renewable("r").by_script().send(&setup).await;
        assert_verdict(&state, ("signed-out", &reason), why);
        assert!(state.location().is_none() && set_cookies(&state).is_empty(), "{why}");
    }
    // A session id that is none never becomes part of an address.
    let server = FakeClerk::start(fresh()).await;
    let setup = Setup::new(production_with_api(server.url()));
    for sid in [json!(null), json!(7), json!("../users"), json!("sess_a/b"), json!("sess_%2e%2e"), json!("user_1")] {
        let token = session(&json!({ "exp": NOW - 40, "sid": sid }));
        let cookies = format!("{}; __refresh_{LIVE_SUFFIX}=r", with_session(&token));
        let state = Asked::page(PAGE).cookies(&cookies).send(&setup).await;
        let reason = "session-token-expired-refresh-expired-session-token-missing-sid-claim";
        assert_verdict(&state, ("handshake", reason), &sid.to_string());
    }
    assert_eq!(server.hits(), 0);
}

/// Exact goes by what an answer calls itself, as Clerk's SDK does; strict by what it holds.
#[tokio::test]
async fn c13_what_calls_itself_json_and_is_none_is_no_answer_in_exact() {
    for (status, content_type, in_exact, in_strict) in [
        (500, "application/json", "fetch-error", "unexpected-bapi-error"),
        (500, "text/html", "unexpected-bapi-error", "unexpected-bapi-error"),
        (200, "application/json", "fetch-error", "fetch-error"),
        (200, "text/html", "unexpected-sdk-error", "fetch-error"),
    ] {
        let server = FakeClerk::start(Reply::status(status, "<html>").with("content-type", content_type)).await;
        for (choices, why) in [(StrictChoices::exact(), in_exact), (StrictChoices::strict(), in_strict)] {
            let setup = Setup::new(ClerkOptions { choices, ..production_with_api(server.url()) });
            let state = renewable("r").send(&setup).await;
            let reason = format!("session-token-expired-refresh-{why}");
            assert_verdict(&state, ("handshake", &reason), &format!("{status} {content_type}"));
        }
    }
}

#[tokio::test]
async fn c13_requests_at_the_same_time_share_one_exchange() {
    const BROWSERS: usize = 20;
    let gate = Arc::new(Semaphore::new(0));
    let server = FakeClerk::start(Reply::Gated(Arc::clone(&gate), Box::new(fresh()))).await;
    let setup = Arc::new(Setup::new(production_with_api(server.url())));
    let started = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    // The signature in the expired token is the same in all of them: one token, minted once.
    let (asked, other) = (renewable("one"), renewable("other"));
    for number in 0..=BROWSERS {
        let asked = if number == BROWSERS { other.clone() } else { asked.clone() };
        let (setup, started) = (Arc::clone(&setup), Arc::clone(&started));
        asking.spawn(async move {
            started.fetch_add(1, Ordering::Relaxed);
            asked.send(&setup).await
        });
    }
    // On this runtime a task that started went on until it had to wait, which is for the exchange.
    until(|| started.load(Ordering::Relaxed) == BROWSERS + 1 && server.hits() == 2).await;
    gate.add_permits(2);
    let states = asking.join_all().await;
    assert_eq!(states.len(), BROWSERS + 1);
    for state in states {
        assert_verdict(&state, SIGNED_IN, "C13");
        assert_eq!(set_cookies(&state).len(), 2);
    }
    assert_eq!(server.hits(), 2, "one per refresh token");
    let of = |token: &str| server.requests().iter().filter(|request| request.contains(token)).count();
    assert_eq!((of("\"refresh_token\":\"one\""), of("\"refresh_token\":\"other\"")), (1, 1));
}

#[tokio::test]
async fn c13_an_exchange_outlives_the_request_that_began_it() {
    let gate = Arc::new(Semaphore::new(0));
    let server = FakeClerk::start(Reply::Gated(Arc::clone(&gate), Box::new(fresh()))).await;
    let setup = Arc::new(Setup::new(production_with_api(server.url())));
    let started = Arc::new(AtomicUsize::new(0));
    let asked = renewable("r");
    let ask = || {
        let (setup, started, asked) = (Arc::clone(&setup), Arc::clone(&started), asked.clone());
        tokio::spawn(async move {
            started.fetch_add(1, Ordering::Relaxed);
            asked.send(&setup).await
        })
    };
    let first = ask();
    until(|| server.hits() == 1).await;
    let second = ask();
    until(|| started.load(Ordering::Relaxed) == 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(2);
    assert_verdict(&second.await.unwrap(), SIGNED_IN, "the second");
    assert_eq!(server.hits(), 1, "a refresh token is good for one exchange");
}

#[tokio::test]
async fn h3_a_token_in_the_header_is_never_refreshed() {
    let server = FakeClerk::start(fresh()).await;
    let setup = Setup::new(production_with_api(server.url()));
    let token = expired();
    let reason = "session-token-expired-refresh-non-eligible-no-refresh-cookie";
    let asked = renewable("r").header("authorization", &format!("Bearer {token}"));
    assert_verdict(&asked.send(&setup).await, ("handshake", reason), "document");
    assert_verdict(&asked.by_script().send(&setup).await, ("signed-out", reason), "script");
    assert_eq!(server.hits(), 0);
}

/// As in Clerk's SDK what Clerk signed may name any path. What a browser made up may not: it would choose the call.
#[tokio::test]
async fn in_exact_only_a_signed_session_id_can_name_another_path() {
    let server = FakeClerk::start(fresh()).await;
    let mut options = production_with_api(server.url());
    options.choices = StrictChoices::exact();
    let setup = Setup::new(options);
    let with = |key: &TestKey, sid: &str| key.session(&json!({ "exp": NOW - 40, "sid": sid }));
    let cookies = |token: &str| format!("{}; __refresh_{LIVE_SUFFIX}=r", with_session(token));
    let (signed, forged) = (with(&KEY, "sess_2/revoke?"), with(&OTHER, "sess_2/revoke?"));

    assert_verdict(&Asked::page(PAGE).cookies(&cookies(&signed)).send(&setup).await, SIGNED_IN, "signed");
    assert!(server.requests()[0].starts_with("POST /v1/sessions/sess_2/revoke?/refresh HTTP/1.1\n"));

    let header = format!("Bearer {}", expired());
    for (name, token) in [("forged", &forged), ("signed, which nobody has looked at", &signed)] {
        let asked = Asked::page(PAGE).cookies(&cookies(token)).header("authorization", &header);
        let reason = "session-token-expired-refresh-expired-session-token-missing-sid-claim";
        assert_verdict(&asked.send(&setup).await, ("handshake", reason), name);
    }
    assert_eq!(server.hits(), 1);
    let asked = Asked::page(PAGE).cookies(&cookies(&signed)).header("authorization", &format!("Bearer {signed}"));
    assert_verdict(&asked.send(&setup).await, SIGNED_IN, "the same in both");
}

/// The refresh token is used up then: without its cookies the browser would be signed out a minute later.
#[tokio::test]
async fn c13_a_route_for_programs_hands_the_cookies_of_an_exchange_on() {
    let server = FakeClerk::start(fresh()).await;
    let setup = Setup::new(production_with_api(server.url()));
    let state = renewable("r").by_script().send_to(&setup, &AuthenticateRequestOptions::API).await;
    assert_verdict(&state, SIGNED_IN, "C13");
    assert_eq!((state.location(), set_cookies(&state).len(), server.hits()), (None, 2, 1));
    server.set(Reply::status(500, ""));
    let state = renewable("r").send_to(&setup, &AuthenticateRequestOptions::API).await;
    assert_verdict(&state, ("signed-out", "session-token-expired-refresh-unexpected-bapi-error"), "C13");
    assert!(state.location().is_none() && set_cookies(&state).is_empty());
}
