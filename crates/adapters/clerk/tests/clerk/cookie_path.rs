//! Verdicts on requests of browsers, row by row (`clerk.md` §3.7, with H3 and H4 of §3.6), in the strict default.

use std::collections::BTreeMap;

use portal_clerk::{
    AuthenticateRequestOptions, ClerkOptions, RequestState, SatelliteOptions, SecretString, StateHeaders,
};
use serde_json::json;
use url::Url;

use crate::browsing::{Asked, LIVE_SUFFIX, PAGE, TEST_SUFFIX, production, set_cookies, verdict};
use crate::minting::{KEY, NOW, OTHER, claims, header};
use crate::setup::{SECRET_KEY, Setup, session, with_public_key};

/// A second before the good token was minted.
pub(crate) const UAT: i64 = NOW - 1;
pub(crate) const NOBODY: (&str, &str) = ("signed-out", "session-token-and-uat-missing");
pub(crate) const SIGNED_IN: (&str, &str) = ("signed-in", "-");

pub(crate) fn good() -> String {
    session(&json!({}))
}

pub(crate) fn expired() -> String {
    session(&json!({ "iat": NOW - 100, "nbf": NOW - 110, "exp": NOW - 40 }))
}

/// A browser that was signed in before any of the tokens was minted.
pub(crate) fn with_session(token: &str) -> String {
    format!("__client_uat={}; __session={token}", NOW - 1_000)
}

pub(crate) fn development() -> ClerkOptions {
    with_public_key()
}

pub(crate) fn development_with_api(url: &str) -> ClerkOptions {
    let mut options = development();
    options.secret_key = Some(SecretString::from(SECRET_KEY));
    options.api_url = url.into();
    options
}

pub(crate) fn satellite(mut options: ClerkOptions, auto_sync: bool) -> ClerkOptions {
    options.satellite = Some(SatelliteOptions {
        domain: Some("portal.example".into()),
        sign_in_url: Some("https://example.com/sign-in?x=1".into()),
        auto_sync,
    });
    options
}

pub(crate) fn assert_verdict(state: &RequestState, expected: (&str, &str), row: &str) {
    let (status, reason) = verdict(state);
    assert_eq!((status, reason.as_str()), expected, "{row}");
}

/// The address and the parameters of a redirect.
pub(crate) fn sent_to(state: &RequestState) -> (String, Vec<(String, String)>) {
    let mut url = Url::parse(state.location().expect("a redirect")).unwrap();
    let parameters = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.into(), parameters)
}

pub(crate) fn parameter(state: &RequestState, name: &str) -> Option<String> {
    let parameters: BTreeMap<_, _> = sent_to(state).1.into_iter().collect();
    parameters.get(name).cloned()
}

pub(crate) fn header_values<'s>(headers: &'s StateHeaders, name: &str) -> Vec<&'s str> {
    headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// What every handshake through the Frontend API has (§3.8).
pub(crate) fn assert_handshake(state: &RequestState, token: Option<&str>, row: &str) {
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
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) cookies: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) expected: (&'static str, &'static str),
    /// In the redirect, if there is one.
    pub(crate) token: Option<String>,
}

impl Row {
    pub(crate) fn new(name: &'static str, cookies: impl Into<String>, expected: (&'static str, &'static str)) -> Self {
        Self { name, cookies: cookies.into(), headers: Vec::new(), expected, token: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) fn asked(&self) -> Asked {
        let asked = Asked::page(PAGE).cookies(&self.cookies);
        self.headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value))
    }
}

/// C7 to C18 and H3, H4 at a production instance without a Backend API.
pub(crate) fn rows() -> Vec<Row> {
    let machine = KEY.token(&header(&json!({ "cat": null })), &claims(&json!({ "sub": "mch_1" })));
    let template = KEY.token(&header(&json!({ "cat": "cl_B7d4PD222AAA" })), &claims(&json!({})));
    let access = KEY.token(&header(&json!({ "typ": "at+jwt" })), &claims(&json!({})));
    let early = session(&json!({ "nbf": NOW + 6 }));
    let future = session(&json!({ "iat": NOW + 6 }));
    let without_session_id = session(&json!({ "sid": null }));
    let unreadable = session(&json!({ "fea": "o:a,broken" }));
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
            "C11: before C12",
            format!("__session={machine}; __client_uat={}", NOW + 1),
            ("signed-out", "token-type-mismatch"),
        ),
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
        Row::new("C18: with features that cannot be read", with_session(&unreadable), SIGNED_IN),
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
