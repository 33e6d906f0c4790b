//! Verdicts on requests of browsers, row by row (`clerk.md` §3.7, with H3 and H4 of §3.6), in the strict default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portal_clerk::{
    AuthenticateRequestOptions, ClerkOptions, RequestState, SatelliteOptions, SecretString, StateHeaders,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

use crate::browsing::{Asked, LIVE_SUFFIX, PAGE, TEST_SUFFIX, production, production_with_api, set_cookies, verdict};
use crate::minting::{KEY, NOW, OTHER, claims, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{SECRET_KEY, Setup, session, until, with_public_key};

/// A second before the good token was minted.
const UAT: i64 = NOW - 1;
const NOBODY: (&str, &str) = ("signed-out", "session-token-and-uat-missing");
const SIGNED_IN: (&str, &str) = ("signed-in", "-");

fn good() -> String {
    session(&json!({}))
}

fn expired() -> String {
    session(&json!({ "iat": NOW - 100, "nbf": NOW - 110, "exp": NOW - 40 }))
}

/// A browser that was signed in before any of the tokens was minted.
fn with_session(token: &str) -> String {
    format!("__client_uat={}; __session={token}", NOW - 1_000)
}

fn development() -> ClerkOptions {
    with_public_key()
}

fn development_with_api(url: &str) -> ClerkOptions {
    let mut options = development();
    options.secret_key = Some(SecretString::from(SECRET_KEY));
    options.api_url = url.into();
    options
}

fn satellite(mut options: ClerkOptions, auto_sync: bool) -> ClerkOptions {
    options.satellite = Some(SatelliteOptions {
        domain: Some("portal.example".into()),
        sign_in_url: Some("https://example.com/sign-in?x=1".into()),
        auto_sync,
    });
    options
}

fn assert_verdict(state: &RequestState, expected: (&str, &str), row: &str) {
    let (status, reason) = verdict(state);
    assert_eq!((status, reason.as_str()), expected, "{row}");
}

/// The address and the parameters of a redirect.
fn sent_to(state: &RequestState) -> (String, Vec<(String, String)>) {
    let mut url = Url::parse(state.location().expect("a redirect")).unwrap();
    let parameters = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.into(), parameters)
}

fn parameter(state: &RequestState, name: &str) -> Option<String> {
    let parameters: BTreeMap<_, _> = sent_to(state).1.into_iter().collect();
    parameters.get(name).cloned()
}

fn header_values<'s>(headers: &'s StateHeaders, name: &str) -> Vec<&'s str> {
    headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// What every handshake through the Frontend API has (§3.8).
fn assert_handshake(state: &RequestState, token: Option<&str>, row: &str) {
    let (address, parameters) = sent_to(state);
    assert_eq!(address, "https://clerk.example.com/v1/client/handshake", "{row}");
    let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    let first = ["redirect_url", "__clerk_api_version", "suffixed_cookies", "__clerk_hs_reason", "format"];
    assert_eq!(names[..5], first, "{row}");
    assert_eq!(parameters[1].1, "2026-05-12", "{row}");
    assert_eq!(Some(&parameters[3].1), state.reason().map(|reason| reason.as_str().into_owned()).as_ref(), "{row}");
    assert_eq!(parameters[4].1, "nonce", "{row}");
    assert_eq!(parameter(state, "__session").as_deref(), token, "{row}");
    assert_eq!(header_values(state.headers(), "cache-control"), ["no-store"], "{row}");
    assert_eq!(set_cookies(state), ["__clerk_redirect_count=1; SameSite=Lax; HttpOnly; Max-Age=2"], "{row}");
}

/// A row of the table: its name, the cookies, the further headers, and the verdict.
struct Row {
    name: &'static str,
    cookies: String,
    headers: Vec<(&'static str, String)>,
    expected: (&'static str, &'static str),
    /// In the redirect, if there is one.
    token: Option<String>,
}

impl Row {
    fn new(name: &'static str, cookies: impl Into<String>, expected: (&'static str, &'static str)) -> Self {
        Self { name, cookies: cookies.into(), headers: Vec::new(), expected, token: None }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    fn asked(&self) -> Asked {
        let asked = Asked::page(PAGE).cookies(&self.cookies);
        self.headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value))
    }
}

/// C7 to C18 and H3, H4 at a production instance without a Backend API.
fn rows() -> Vec<Row> {
    let machine = KEY.token(&header(&json!({ "cat": null })), &claims(&json!({ "sub": "mch_1" })));
    let template = KEY.token(&header(&json!({ "cat": "cl_B7d4PD222AAA" })), &claims(&json!({})));
    let access = KEY.token(&header(&json!({ "typ": "at+jwt" })), &claims(&json!({})));
    let early = session(&json!({ "nbf": NOW + 6 }));
    let future = session(&json!({ "iat": NOW + 6 }));
    let without_session_id = session(&json!({ "sid": null }));
    let (good, expired) = (good(), expired());
    let no_refresh = ("handshake", "session-token-expired-refresh-non-eligible-no-refresh-cookie");
    let foreign = session(&json!({ "iss": "https://clerk.other.com" }));
    let of_this_second = session(&json!({ "iat": UAT }));
    let own = |token: &str| format!("__session_{LIVE_SUFFIX}={token}; __client_uat_{LIVE_SUFFIX}={UAT}");
    vec![
        Row::new("C7: nothing", "", NOBODY),
        Row::new("C7: signed out", "__client_uat=0", NOBODY),
        Row::new("C7: a mark without meaning", "__client_uat=x", NOBODY),
        Row::new("C7: of another instance", format!("__session_other={good}; __client_uat_other={UAT}"), NOBODY),
        Row::new("C8", format!("__session={good}"), ("handshake", "session-token-but-no-client-uat")).with_token(&good),
        Row::new(
            "C8: 0",
            format!("__session={good}; __client_uat=0"),
            ("handshake", "session-token-but-no-client-uat"),
        )
        .with_token(&good),
        Row::new("C9", format!("__client_uat={UAT}"), ("handshake", "client-uat-but-no-session-token")),
        Row::new(
            "C9: an empty session",
            format!("__client_uat={UAT}; __session="),
            ("handshake", "client-uat-but-no-session-token"),
        ),
        Row::new("C10", with_session("x.y.z"), ("signed-out", "token-invalid")),
        Row::new("C10: a machine's opaque token", with_session("mt_secret"), ("signed-out", "token-invalid")),
        Row::new("C11: a machine", with_session(&machine), ("signed-out", "token-type-mismatch")),
        Row::new("C11: a template", with_session(&template), ("signed-out", "token-type-mismatch")),
        Row::new("C11: an access token", with_session(&access), ("signed-out", "token-type-mismatch")),
        Row::new(
            "C12",
            format!("__session={good}; __client_uat={}", NOW + 1),
            ("handshake", "session-token-iat-before-client-uat"),
        )
        .with_token(&good),
        Row::new("C12: equal seconds pass", format!("__session={of_this_second}; __client_uat={UAT}"), SIGNED_IN),
        Row::new("C13: the refresh cookie has no suffix", with_session(&expired) + "; __refresh=r", no_refresh)
            .with_token(&expired),
        Row::new("C14: expired", with_session(&expired), no_refresh).with_token(&expired),
        Row::new("C14: nbf", with_session(&early), ("handshake", "session-token-nbf")).with_token(&early),
        Row::new("C14: iat", with_session(&future), ("handshake", "session-token-iat-in-the-future"))
            .with_token(&future),
        Row::new("C15: signature", with_session(&OTHER.session(&json!({}))), ("signed-out", "token-invalid-signature")),
        Row::new(
            "C15: claims",
            with_session(&session(&json!({ "sub": 1 }))),
            ("signed-out", "token-verification-failed"),
        ),
        Row::new("C15: no session", with_session(&without_session_id), ("signed-out", "token-verification-failed")),
        Row::new("C18", with_session(&good), SIGNED_IN),
        Row::new("C18: suffixed", own(&good), SIGNED_IN),
        Row::new(
            "C18: beside another instance",
            format!("{}; __session={foreign}; __client_uat=0", own(&good)),
            SIGNED_IN,
        ),
        Row::new(
            "C8: an unreadable token hides the suffixed one",
            own(&good) + "; __session=a.b.c; __client_uat=0",
            ("handshake", "session-token-but-no-client-uat"),
        )
        .with_token("a.b.c"),
        Row::new("H3", "", no_refresh).header("authorization", format!("Bearer {expired}")).with_token(&expired),
        Row::new("H3: a refresh cookie does not count", format!("__refresh_{LIVE_SUFFIX}=r"), no_refresh)
            .header("authorization", format!("Bearer {expired}"))
            .with_token(&expired),
        Row::new("H4: nbf", "", ("handshake", "session-token-nbf"))
            .header("authorization", format!("Bearer {early}"))
            .with_token(&early),
        Row::new("H4: iat", "", ("handshake", "session-token-iat-in-the-future"))
            .header("authorization", format!("Bearer {future}"))
            .with_token(&future),
    ]
}

#[tokio::test]
async fn c7_to_c18_at_a_production_instance() {
    let setup = Setup::new(production());
    for row in rows() {
        let state = row.asked().send(&setup).await;
        assert_verdict(&state, row.expected, row.name);
        match state {
            RequestState::Handshake(_) => assert_handshake(&state, row.token.as_deref(), row.name),
            _ => assert!(state.location().is_none() && set_cookies(&state).is_empty(), "{}", row.name),
        }
    }
}

#[tokio::test]
async fn who_cannot_be_sent_away_is_signed_out_for_the_same_reason() {
    let setup = Setup::new(production());
    for row in rows() {
        let (status, reason) = row.expected;
        let status = if status == "handshake" { "signed-out" } else { status };
        let state = row.asked().by_script().send(&setup).await;
        assert_verdict(&state, (status, reason), row.name);
        assert!(state.location().is_none() && set_cookies(&state).is_empty(), "{}", row.name);
        for method in ["POST", "HEAD", "get"] {
            let state = row.asked().method(method).send(&setup).await;
            let reason = if reason.ends_with("-no-refresh-cookie") {
                "session-token-expired-refresh-non-eligible-non-get"
            } else {
                reason
            };
            assert_verdict(&state, (status, reason), row.name);
            assert!(state.location().is_none() && set_cookies(&state).is_empty(), "{} {method}", row.name);
        }
    }
}

#[tokio::test]
async fn c5_and_c6_a_development_instance_asks_for_its_browser_first() {
    let setup = Setup::new(development());
    let cookies = with_session(&good());
    for (row, url, cookies, expected) in [
        ("C6", PAGE.to_owned(), String::new(), ("handshake", "dev-browser-missing")),
        ("C6: signed in", PAGE.to_owned(), cookies.clone(), ("handshake", "dev-browser-missing")),
        ("C5", format!("{PAGE}?__clerk_db_jwt=b&a=1"), cookies.clone(), ("handshake", "dev-browser-sync")),
        ("C5: empty", format!("{PAGE}?__clerk_db_jwt=&a=1"), cookies.clone(), ("handshake", "dev-browser-sync")),
        ("C7", PAGE.to_owned(), "__clerk_db_jwt=b".to_owned(), NOBODY),
        (
            "C7: suffixed",
            PAGE.to_owned(),
            format!("__clerk_db_jwt_{TEST_SUFFIX}=b; __client_uat_{TEST_SUFFIX}=0; __client_uat=0"),
            NOBODY,
        ),
        ("C18", PAGE.to_owned(), format!("{cookies}; __clerk_db_jwt=b"), SIGNED_IN),
    ] {
        let state = Asked::page(&url).cookies(&cookies).send(&setup).await;
        assert_verdict(&state, expected, row);
        if expected.0 == "handshake" {
            assert_handshake(&state, cookies.split_once("__session=").map(|(_, token)| token), row);
            let back = parameter(&state, "redirect_url").unwrap();
            assert!(!back.contains("__clerk_db_jwt"), "{row}: {back}");
            assert_eq!(parameter(&state, "__clerk_db_jwt").as_deref(), url.contains("=b").then_some("b"), "{row}");
        }
        assert_eq!(Asked::page(&url).cookies(&cookies).by_script().send(&setup).await.location(), None, "{row}");
    }
}

#[tokio::test]
async fn c1_to_c3_a_satellite_asks_its_primary_domain() {
    let needs = ("handshake", "satellite-needs-syncing");
    let uat = format!("__client_uat={UAT}");
    for (row, auto, query, cookies, expected) in [
        ("C1", false, "", "", NOBODY),
        ("C2: asked to", false, "?__clerk_synced=false", "", needs),
        ("C2: asked to, with cookies", false, "?__clerk_synced=false", uat.as_str(), needs),
        ("C2: by itself", true, "", "", needs),
        ("C2: done", true, "?__clerk_synced=true", "", NOBODY),
        ("C2: cookies", true, "", uat.as_str(), ("handshake", "client-uat-but-no-session-token")),
    ] {
        let url = format!("{PAGE}{query}");
        let production = Setup::new(satellite(production(), auto));
        let state = Asked::page(&url).cookies(cookies).send(&production).await;
        assert_verdict(&state, expected, row);
        if expected.0 == "handshake" {
            assert_eq!(sent_to(&state).0, "https://clerk.portal.example/v1/client/handshake", "{row}");
        }
        let development = Setup::new(satellite(development(), auto));
        let state = Asked::page(&url).cookies(&format!("__clerk_db_jwt=b; {cookies}")).send(&development).await;
        assert_verdict(&state, expected, row);
        if expected == needs {
            let (address, parameters) = sent_to(&state);
            assert_eq!(address, "https://example.com/sign-in", "C3 {row}");
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(parameters, [("x", "1"), ("__clerk_redirect_url", url.as_str())], "C3 {row}");
        }
        // Only a browser that opens a page is sent; a frame is not.
        let framed = Asked { headers: Vec::new(), ..Asked::page(&url) }.header("sec-fetch-dest", "iframe");
        assert_ne!(verdict(&framed.send(&production).await).1, "satellite-needs-syncing", "{row}");
    }
}

#[tokio::test]
async fn c4_only_known_satellites_are_answered() {
    let mut options = development();
    options.satellite_origins = vec!["https://satellite.example".into(), "https://other.example:8443".into()];
    let setup = Setup::new(options);
    let ask = |target: &str| {
        let mut url = Url::parse(PAGE).unwrap();
        url.query_pairs_mut().append_pair("__clerk_redirect_url", target);
        Asked::page(url.as_str()).cookies("__clerk_db_jwt=b")
    };
    for (target, location) in [
        ("https://satellite.example/a?b=c", "https://satellite.example/a?b=c&__clerk_db_jwt=b&__clerk_synced=true"),
        (
            "https://satellite.example/?__clerk_synced=false",
            "https://satellite.example/?__clerk_synced=true&__clerk_db_jwt=b",
        ),
        ("https://other.example:8443/", "https://other.example:8443/?__clerk_db_jwt=b&__clerk_synced=true"),
    ] {
        let state = ask(target).send(&setup).await;
        assert_verdict(&state, ("handshake", "primary-responds-to-syncing"), target);
        assert_eq!(state.location(), Some(location));
    }
    for target in [
        "https://evil.example/",
        "http://satellite.example/",
        "https://satellite.example:444/",
        "https://satellite.example.evil.example/",
        "https://satellite.example@evil.example/",
        "https://evil.example/https://satellite.example",
        "//satellite.example/",
        "/a",
        "javascript:alert(1)",
        "data:text/html,x",
        "not a URL",
        "",
    ] {
        let state = ask(target).send(&setup).await;
        assert_verdict(&state, NOBODY, target);
        assert_eq!(state.location(), None, "{target}");
    }
    // A production instance never answers this way.
    let state = ask("https://satellite.example/").send(&Setup::new(production())).await;
    assert_verdict(&state, NOBODY, "production");
}

#[tokio::test]
async fn c16_a_click_from_elsewhere_costs_a_handshake_once() {
    let elsewhere = ("handshake", "primary-domain-cross-origin-sync");
    let setup = Setup::new(production());
    let mut alone = production();
    alone.cross_origin_sync = false;
    let alone = Setup::new(alone);
    for (referer, expected) in [
        ("https://mail.example/", elsewhere),
        ("http://portal.example/", elsewhere),
        ("https://portal.example:8443/", elsewhere),
        ("https://accounts.evil.example/", elsewhere),
        ("https://accounts.example.com.evil.example/", elsewhere),
        ("http://accounts.example.com/", elsewhere),
        ("https://foo-bar-13.accounts.dev/", elsewhere),
        ("https://portal.example/other", SIGNED_IN),
        ("https://clerk.example.com/x", SIGNED_IN),
        ("https://accounts.example.com/sign-in", SIGNED_IN),
        ("not a URL", SIGNED_IN),
    ] {
        let asked = Asked::page(PAGE).header("referer", referer);
        let state = asked.clone().cookies(&with_session(&good())).send(&setup).await;
        assert_verdict(&state, expected, referer);
        let again = asked.clone().cookies(&(with_session(&good()) + "; __clerk_redirect_count=1"));
        assert_verdict(&again.send(&setup).await, SIGNED_IN, referer);
        let asked = asked.cookies(&with_session(&good()));
        for signed_in in [asked.clone().by_script(), asked.clone().method("POST")] {
            assert_verdict(&signed_in.send(&setup).await, SIGNED_IN, referer);
        }
        assert_verdict(&asked.send(&alone).await, SIGNED_IN, referer);
    }
}

#[tokio::test]
async fn c17_the_organization_follows_the_url_where_a_handshake_is_possible() {
    let mut options = production();
    options.organization_sync.organization_patterns = vec!["/orgs/:slug".into(), "/by-id/:id".into()];
    options.organization_sync.personal_account_patterns = vec!["/me".into()];
    let setup = Setup::new(options);
    let differs = ("handshake", "active-organization-mismatch");
    for (path, expected, target) in [
        ("/orgs/acme", SIGNED_IN, None),
        ("/by-id/org_2abc", SIGNED_IN, None),
        ("/orgs/other", differs, Some("other")),
        ("/by-id/org_other", differs, Some("org_other")),
        ("/me", differs, Some("")),
        ("/page", SIGNED_IN, None),
    ] {
        let asked = Asked::page(&format!("https://portal.example{path}"));
        let state = asked.clone().cookies(&with_session(&good())).send(&setup).await;
        assert_verdict(&state, expected, path);
        if let Some(target) = target {
            assert_eq!(parameter(&state, "organization_id").as_deref(), Some(target), "{path}");
        }
        let cookies = |count: &str| format!("{}; __clerk_redirect_count={count}", with_session(&good()));
        for count in ["3", "7", "-1", "x"] {
            assert_verdict(&asked.clone().cookies(&cookies(count)).send(&setup).await, SIGNED_IN, path);
        }
        let asked = asked.cookies(&with_session(&good()));
        for stays in [asked.clone().by_script(), asked.clone().method("POST")] {
            assert_verdict(&stays.send(&setup).await, SIGNED_IN, path);
        }
        assert_verdict(&asked.send_to(&setup, &AuthenticateRequestOptions::API).await, SIGNED_IN, path);
    }
}

#[tokio::test]
async fn a_chain_of_redirects_ends_at_three_and_at_anything_that_is_no_count() {
    let setup = Setup::new(production());
    let wanted = format!("__client_uat={UAT}");
    for (count, next) in [("0", "1"), ("1", "2"), ("2", "3"), ("", "1")] {
        let asked = Asked::page(PAGE).cookies(&format!("{wanted}; __clerk_redirect_count={count}"));
        let state = asked.send(&setup).await;
        assert_verdict(&state, ("handshake", "client-uat-but-no-session-token"), count);
        assert_eq!(
            set_cookies(&state),
            [format!("__clerk_redirect_count={next}; SameSite=Lax; HttpOnly; Max-Age=2")],
            "{count}"
        );
    }
    for count in NO_MORE {
        let cookies = format!("{wanted}; __clerk_redirect_count={count}");
        let state = Asked::page(PAGE).cookies(&cookies).send(&setup).await;
        assert_verdict(&state, ("signed-out", "client-uat-but-no-session-token"), count);
        assert!(state.location().is_none() && set_cookies(&state).is_empty(), "{count}");
        // With a token in the header, too.
        let asked = Asked::page(PAGE).cookies(&cookies).header("authorization", &format!("Bearer {}", expired()));
        let state = asked.send(&setup).await;
        assert_eq!((verdict(&state).0, state.location()), ("signed-out", None), "{count}");
    }
}

/// Redirect counters that end a chain.
const NO_MORE: [&str; 16] = [
    "3",
    "4",
    "1000",
    "-1",
    "-0.5",
    "x",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e9",
    "0x3",
    "%33",
    "3x",
    "1 2",
    "1,2",
    "%zz",
];

#[tokio::test]
async fn who_is_signed_in_stays_so_at_the_end_of_a_chain() {
    let setup = Setup::new(production());
    for count in NO_MORE {
        let cookies = format!("{}; __clerk_redirect_count={count}", with_session(&good()));
        let asked = Asked::page(PAGE).cookies(&cookies).header("referer", "https://mail.example/");
        assert_verdict(&asked.send(&setup).await, SIGNED_IN, count);
    }
}

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

const SESSION_COOKIE: &str = "Path=/; Secure; SameSite=Lax";

fn directives(list: &[&str]) -> Reply {
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
        (error("bad code\r\nx: y"), "unexpected-bapi-error"),
        (Reply::status(500, ""), "unexpected-bapi-error"),
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
