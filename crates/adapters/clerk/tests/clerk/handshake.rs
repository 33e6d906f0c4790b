//! What a browser brings back from a handshake (`clerk.md` §3.9), in the strict default.

use std::sync::Arc;

use portal_clerk::{AuthenticateRequestOptions, RequestState, StrictChoices};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::browsing::{Asked, LIVE_SUFFIX, PAGE, production, production_with_api, set_cookies, verdict};
use crate::cookie_path::{
    NOBODY, SIGNED_IN, UAT, assert_verdict, development, development_with_api, expired, good, header_values, rows,
    satellite, with_session,
};
use crate::minting::{KEY, NOW, OTHER, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, until};

#[tokio::test]
async fn a_missing_party_is_accepted_in_a_cookie_and_a_wrong_one_never() {
    let mut options = production();
    options.authorized_parties = vec!["https://portal.example".into()];
    let refused = ("signed-out", "token-invalid-authorized-parties");
    for (azp, in_cookie, in_header) in [
        (json!("https://portal.example"), SIGNED_IN, SIGNED_IN),
        (json!(null), SIGNED_IN, refused),
        (json!(""), SIGNED_IN, refused),
        (json!("https://evil.example"), refused, refused),
        (json!("https://portal.example/"), refused, refused),
        (json!("https://PORTAL.example"), refused, refused),
        (json!("https://portal.example.evil.example"), refused, refused),
        (json!(" "), refused, refused),
        (json!(["https://portal.example"]), refused, refused),
        (json!(0), refused, refused),
        (json!(false), refused, refused),
    ] {
        let token = session(&json!({ "azp": azp }));
        let cookie = Asked::page(PAGE).cookies(&with_session(&token));
        let bearer = Asked::page(PAGE).header("authorization", &format!("Bearer {token}"));
        // What is remembered of one carrier must not count for the other, whichever comes first.
        for cookie_first in [true, false] {
            let setup = Setup::new(options.clone());
            for turn in 0..4 {
                if (turn % 2 == 0) == cookie_first {
                    assert_verdict(&cookie.send(&setup).await, in_cookie, &format!("cookie {azp}"));
                } else {
                    assert_verdict(&bearer.send(&setup).await, in_header, &format!("header {azp}"));
                }
            }
        }
    }
    // An expired token with a wrong party is refused for its party, so it costs no handshake.
    let token = session(&json!({ "azp": "https://evil.example", "exp": NOW - 60 }));
    let setup = Setup::new(options);
    assert_verdict(&Asked::page(PAGE).cookies(&with_session(&token)).send(&setup).await, refused, "expired");
    // A token of nobody's making is not ours to be lenient with.
    let token = session(&json!({ "azp": null, "iss": "https://clerk.other.com" }));
    let cookies = format!("__session_{LIVE_SUFFIX}={token}; __client_uat_{LIVE_SUFFIX}={UAT}");
    assert_eq!(verdict(&Asked::page(PAGE).cookies(&cookies).send(&setup).await), (refused.0, refused.1.to_owned()));
}

pub(crate) const SESSION_COOKIE: &str = "Path=/; Secure; SameSite=Lax";

pub(crate) fn directives(list: &[&str]) -> Reply {
    Reply::json(200, &json!({ "directives": list }))
}

/// What a good handshake sets.
fn session_directives() -> [String; 2] {
    [format!("__client_uat={UAT}; Path=/; Domain=example.com"), format!("__session={}; {SESSION_COOKIE}", good())]
}

/// A handshake token with these cookies.
fn handshake_token(head: &Value, list: &[&str]) -> String {
    KEY.token(&header(head), &json!({ "handshake": list }))
}

#[tokio::test]
async fn c0_a_nonce_is_exchanged_once_and_its_cookies_are_taken_over() {
    let set = session_directives();
    let server = FakeClerk::start(directives(&[&set[0], &set[1]])).await;
    for (setup, url, cookies, location) in [
        (Setup::new(production_with_api(server.url())), PAGE.to_owned(), "__clerk_handshake_nonce=n%201", None),
        (
            Setup::new(development_with_api(server.url())),
            format!("{PAGE}?a=1&__clerk_handshake_nonce=n+1&__clerk_db_jwt=b&__clerk_help=h&__clerk_handshake=x&z=2"),
            "",
            Some("https://portal.example/page?a=1&z=2"),
        ),
    ] {
        let before = server.hits();
        let state = Asked::page(&url).cookies(cookies).send(&setup).await;
        assert_verdict(&state, SIGNED_IN, &url);
        assert_eq!(set_cookies(&state), set);
        assert_eq!(state.location(), location);
        assert_eq!(header_values(state.headers(), "access-control-allow-origin"), ["null"]);
        assert_eq!(header_values(state.headers(), "access-control-allow-credentials"), ["true"]);
        assert_eq!(header_values(state.headers(), "cache-control").len(), usize::from(location.is_some()));
        assert_eq!(server.hits(), before + 1);
        let request = server.requests().pop().unwrap();
        assert!(request.starts_with("GET /v1/clients/handshake_payload?nonce=n+1 HTTP/1.1\n"), "{request}");
    }
}

#[tokio::test]
async fn c0_a_production_instance_ignores_the_query() {
    let set = session_directives();
    let server = FakeClerk::start(directives(&[&set[0], &set[1]])).await;
    let setup = Setup::new(production_with_api(server.url()));
    let token = handshake_token(&json!({}), &[&set[0], &set[1]]);
    let signed_in = with_session(&good());
    for query in ["__clerk_handshake_nonce=n".to_owned(), format!("__clerk_handshake={token}")] {
        let url = format!("{PAGE}?{query}");
        for (cookies, expected) in [
            ("", NOBODY),
            ("__client_uat=5", ("handshake", "client-uat-but-no-session-token")),
            (signed_in.as_str(), SIGNED_IN),
        ] {
            let state = Asked::page(&url).cookies(cookies).send(&setup).await;
            assert_verdict(&state, expected, cookies);
            assert!(!set_cookies(&state).iter().any(|line| line.contains("__session")), "{query}");
        }
    }
    assert_eq!(server.hits(), 0);
    // What is in the cookies counts, whatever the query says.
    let asked = Asked::page(&format!("{PAGE}?__clerk_handshake_nonce=of-a-stranger"));
    assert_verdict(&asked.cookies("__clerk_handshake_nonce=own").send(&setup).await, SIGNED_IN, "own nonce");
    assert!(server.requests()[0].starts_with("GET /v1/clients/handshake_payload?nonce=own "));
}

#[tokio::test]
async fn c0_of_the_cookies_of_a_handshake_only_clerks_are_taken_over() {
    let set = session_directives();
    let list = [
        "theme=dark; Path=/",
        &set[0],
        "__clerk_handshake_nonce=; Max-Age=0",
        "__refresh_naoXFJnI=r; HttpOnly",
        "__Host-session=x",
        "session=x; Domain=portal.example",
        "__clerk_x=1\r\nx-evil: 1",
        "__client_uat=\u{e9}",
        "__sess=1",
        &set[1],
        "=__session=x",
        "",
    ];
    let kept = [set[0].as_str(), list[2], list[3], &set[1]];
    let server = FakeClerk::start(directives(&list)).await;
    let nonce = "__clerk_handshake_nonce=n".to_owned();
    for cookies in [nonce, format!("__clerk_handshake={}", handshake_token(&json!({}), &list))] {
        let state = Asked::page(PAGE).cookies(&cookies).send(&Setup::new(production_with_api(server.url()))).await;
        assert_verdict(&state, SIGNED_IN, &cookies);
        assert_eq!(set_cookies(&state), kept);
    }
}

#[tokio::test]
async fn c0_a_handshake_without_a_session_signs_out_with_its_cookies() {
    let set = session_directives();
    let gone = "__session=; Max-Age=0; Path=/";
    for list in [vec![], vec![set[0].as_str()], vec![set[1].as_str(), gone], vec!["theme=dark"]] {
        let kept: Vec<_> = list.iter().copied().filter(|line| line.starts_with("__")).collect();
        let server = FakeClerk::start(directives(&list)).await;
        let cookies = format!("{}; __clerk_handshake_nonce=n", with_session(&good()));
        let state = Asked::page(PAGE).cookies(&cookies).send(&Setup::new(production_with_api(server.url()))).await;
        assert_verdict(&state, ("signed-out", "session-token-missing"), "no session");
        assert_eq!((set_cookies(&state), state.is_outage(), state.location()), (kept, false, None));
    }
}

#[tokio::test]
async fn c0_what_does_not_verify_counts_for_nothing_in_production_and_is_reported_in_development() {
    let set = session_directives();
    let list = [set[0].as_str(), set[1].as_str()];
    let stranger = OTHER.token(&header(&json!({})), &json!({ "handshake": list }));
    for (row, token, reason) in [
        ("a template", handshake_token(&json!({ "cat": "cl_B7d4PD222AAA" }), &list), "token-invalid"),
        ("a machine", handshake_token(&json!({ "cat": "cl_B7d4PD333AAA" }), &list), "token-invalid"),
        ("a stranger", stranger, "token-invalid-signature"),
        ("no algorithm", handshake_token(&json!({ "alg": "none" }), &list), "token-invalid-algorithm"),
        ("noise", "noise".to_owned(), "token-invalid"),
    ] {
        for (cookies, expected) in [("__x=1".to_owned(), NOBODY), (with_session(&good()), SIGNED_IN)] {
            let cookies = format!("{cookies}; __clerk_handshake={token}");
            let state = Asked::page(PAGE).cookies(&cookies).send(&Setup::new(production())).await;
            assert_verdict(&state, expected, row);
            assert!(set_cookies(&state).is_empty(), "{row}");
        }
        let asked = Asked::page(&format!("{PAGE}?__clerk_handshake={token}"));
        let asked = asked.cookies(&format!("{}; __clerk_db_jwt=b", with_session(&good())));
        let state = asked.send(&Setup::new(development())).await;
        assert_verdict(&state, ("signed-out", reason), row);
        assert!(set_cookies(&state).is_empty() && state.location().is_none(), "{row}");
        // After a change of keys a developer has to know what to do.
        let RequestState::SignedOut(out) = state else { panic!("{row}") };
        assert_eq!(out.message.contains("clear your cookies"), row == "a stranger", "{}", out.message);
    }
    // A session that does not verify does not count either, and its cookies are not taken over.
    let forged = format!("__session={}", OTHER.session(&json!({})));
    let expired = format!("__session={}", expired());
    for (row, directive) in [("forged", forged), ("expired", expired)] {
        let cookies = format!("__clerk_handshake={}", handshake_token(&json!({}), &[&directive]));
        let state = Asked::page(PAGE).cookies(&cookies).send(&Setup::new(production())).await;
        assert_verdict(&state, NOBODY, row);
        assert!(set_cookies(&state).is_empty(), "{row}");
    }
}

#[tokio::test]
async fn c0_a_handshake_may_bring_a_session_without_a_party() {
    let brought = |azp: Value| format!("__session={}", session(&json!({ "azp": azp })));
    let mut options = production();
    options.authorized_parties = vec!["https://portal.example".into()];
    let setup = Setup::new(options);
    for (azp, expected) in [(json!(null), SIGNED_IN), (json!("https://evil.example"), NOBODY)] {
        let cookies = format!("__clerk_handshake={}", handshake_token(&json!({}), &[&brought(azp)]));
        assert_verdict(&Asked::page(PAGE).cookies(&cookies).send(&setup).await, expected, "azp");
    }
}

#[tokio::test]
async fn c0_on_a_development_machine_with_a_wrong_clock_a_handshake_still_signs_in() {
    for (hours, change) in [(-2_i64, "slow"), (2, "fast"), (-23, "slow"), (23, "fast")] {
        let moved = |seconds: i64| seconds - hours * 3_600;
        let token = session(&json!({ "iat": moved(NOW), "nbf": moved(NOW - 10), "exp": moved(NOW + 60) }));
        let token = handshake_token(&json!({}), &[&format!("__session={token}")]);
        let asked = Asked::page(&format!("{PAGE}?__clerk_handshake={token}"));
        assert_verdict(&asked.send(&Setup::new(development())).await, SIGNED_IN, change);
        let asked = Asked::page(PAGE).cookies(&format!("__clerk_handshake={token}"));
        assert_verdict(&asked.send(&Setup::new(production())).await, NOBODY, change);
    }
}

/// Failures of the Backend API that may pass by themselves.
fn outages() -> Vec<(&'static str, Reply)> {
    vec![
        ("500", Reply::status(500, "")),
        ("503", Reply::json(503, &json!({ "errors": [{ "code": "x" }] }))),
        ("429", Reply::status(429, "")),
        ("a closed connection", Reply::Raw(Vec::new())),
    ]
}

#[tokio::test]
async fn c0_a_nonce_is_tried_twice_and_then_it_is_an_outage() {
    let set = session_directives();
    for (row, reply) in outages() {
        let server = FakeClerk::start(reply.clone()).await;
        let setup = Setup::new(production_with_api(server.url()));
        let asked = Asked::page(PAGE).cookies("__clerk_handshake_nonce=n");
        let state = asked.send(&setup).await;
        assert_verdict(&state, ("signed-out", "session-token-missing"), row);
        assert!(state.is_outage(), "{row}");
        assert!(set_cookies(&state).is_empty(), "{row}");
        assert_eq!(server.hits(), 2, "{row}");

        // The second try is as good as the first.
        let gate = Arc::new(Semaphore::new(0));
        server.set(Reply::Gated(Arc::clone(&gate), Box::new(reply)));
        let asking = tokio::spawn(async move { asked.send(&setup).await });
        until(|| server.hits() == 3).await;
        server.set(directives(&[&set[0], &set[1]]));
        gate.add_permits(1);
        assert_verdict(&asking.await.unwrap(), SIGNED_IN, row);
        assert_eq!(server.hits(), 4, "{row}");
    }
}

#[tokio::test]
async fn c0_a_refused_nonce_is_no_outage() {
    for status in [400, 401, 403, 404, 410, 422] {
        let server =
            FakeClerk::start(Reply::json(status, &json!({ "errors": [{ "code": "resource_not_found" }] }))).await;
        let cookies = format!("{}; __clerk_handshake_nonce=n", with_session(&good()));
        let state = Asked::page(PAGE).cookies(&cookies).send(&Setup::new(production_with_api(server.url()))).await;
        assert_verdict(&state, ("signed-out", "session-token-missing"), &status.to_string());
        assert!(!state.is_outage(), "{status}");
        assert_eq!(server.hits(), 1, "{status}");
    }
}

#[tokio::test]
async fn c0_only_a_success_with_a_list_of_cookies_brings_any() {
    let set = session_directives();
    for (status, body, expected) in [
        (200, json!({ "directives": set }), SIGNED_IN),
        (422, json!({ "directives": set }), ("signed-out", "session-token-missing")),
        (200, json!({}), ("signed-out", "session-token-missing")),
        (200, json!({ "directives": "__session=a" }), ("signed-out", "session-token-missing")),
        (200, json!({ "directives": [set[0], 1] }), NOBODY),
    ] {
        let server = FakeClerk::start(Reply::json(status, &body)).await;
        let setup = Setup::new(production_with_api(server.url()));
        let state = Asked::page(PAGE).cookies("__clerk_handshake_nonce=n").send(&setup).await;
        assert_verdict(&state, expected, &body.to_string());
        assert_eq!((state.is_outage(), server.hits()), (false, 1), "{body}");
    }
}

/// In exact a text is taken for a list of its letters, as in Clerk's SDK; only that of an answer which is no refusal.
#[tokio::test]
async fn c0_in_exact_only_the_text_of_a_success_is_taken_for_cookies() {
    for (status, body, kept) in [
        (200, json!({ "directives": "ab" }), &["a", "b"][..]),
        (422, json!({ "directives": "ab" }), &[]),
        (200, json!({}), &[]),
    ] {
        let server = FakeClerk::start(Reply::json(status, &body)).await;
        let mut options = production_with_api(server.url());
        options.choices = StrictChoices::exact();
        let state = Asked::page(PAGE).cookies("__clerk_handshake_nonce=n").send(&Setup::new(options)).await;
        assert_eq!(set_cookies(&state), kept, "{status} {body}");
    }
}

#[tokio::test]
async fn without_handshakes_nobody_is_sent_anywhere_and_no_nonce_is_used_up() {
    let set = session_directives();
    let server = FakeClerk::start(directives(&[&set[0], &set[1]])).await;
    let options = AuthenticateRequestOptions::API;
    let production = Setup::new(production_with_api(server.url()));
    let is_quiet = |state: &RequestState| state.location().is_none() && set_cookies(state).is_empty();
    for row in rows() {
        let (status, reason) = row.expected;
        let status = if status == "handshake" { "signed-out" } else { status };
        let state = row.asked().send_to(&production, &options).await;
        assert_verdict(&state, (status, reason), row.name);
        assert!(is_quiet(&state), "{}", row.name);
    }
    let token = handshake_token(&json!({}), &[&set[0], &set[1]]);
    for brought in ["__clerk_handshake_nonce=n".to_owned(), format!("__clerk_handshake={token}")] {
        for (cookies, expected) in [(with_session(&good()), SIGNED_IN), ("a=1".to_owned(), NOBODY)] {
            let asked = Asked::page(PAGE).cookies(&format!("{cookies}; {brought}"));
            let state = asked.send_to(&production, &options).await;
            assert_verdict(&state, expected, &brought);
            assert!(is_quiet(&state), "{brought}");
        }
    }
    let mut synced = development_with_api(server.url());
    synced.satellite_origins = vec!["https://satellite.example".into()];
    let auto = satellite(development_with_api(server.url()), true);
    for (row, options_of, query, reason) in [
        ("C0", synced.clone(), "?__clerk_handshake_nonce=n", "dev-browser-missing"),
        ("C3", auto, "", "satellite-needs-syncing"),
        ("C4", synced.clone(), "?__clerk_redirect_url=https://satellite.example/", "primary-responds-to-syncing"),
        ("C5", synced.clone(), "?__clerk_db_jwt=b", "dev-browser-sync"),
        ("C6", synced, "", "dev-browser-missing"),
    ] {
        let setup = Setup::new(options_of);
        let state = Asked::page(&format!("{PAGE}{query}")).send_to(&setup, &options).await;
        assert_verdict(&state, ("signed-out", reason), row);
        assert!(is_quiet(&state), "{row}");
    }
    assert_eq!(server.hits(), 0);
}
