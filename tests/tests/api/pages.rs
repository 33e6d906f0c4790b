//! Pages in a browser, and what a cookie is worth under `/v1`.

use e2e::{Answer, Portal};
use portal_dev_idp::TokenSpec;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

/// A browser that this development instance knows, and that somebody signed in with long ago.
fn signed_in(token: &str) -> String {
    format!("__clerk_db_jwt=dvb_1; __client_uat=1; __session={token}")
}

/// As a browser asks for a page.
fn document(portal: &Portal, path: &str, cookies: &str) -> RequestBuilder {
    let request = portal.request(Method::GET, path).header("accept", "text/html").header("sec-fetch-dest", "document");
    if cookies.is_empty() { request } else { request.header("cookie", cookies) }
}

async fn open(portal: &Portal, path: &str, cookies: &str) -> Answer {
    portal.send(document(portal, path, cookies)).await
}

fn seconds(spec: &TokenSpec) -> i64 {
    spec.claims["iat"].as_i64().expect("iat is a number")
}

fn expired(portal: &Portal) -> String {
    let spec = portal.token_spec("alice");
    let now = seconds(&spec);
    portal.idp.mint().encode(&spec.claim("exp", now - 6).claim("iat", now - 66).claim("nbf", now - 76))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_in_person_is_greeted() {
    let portal = Portal::start().await;
    let page = open(&portal, "/portal", &signed_in(&portal.token("alice"))).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text.contains("Hello, Alice"), "{page:?}");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "private, no-store");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.header("vary").contains("Cookie"));
    assert_eq!(open(&portal, "/assets/portal.css", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_only_the_address_is_led_to_the_first_page() {
    let portal = Portal::start().await;
    let answer = open(&portal, "/", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/portal"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_party_from_a_handshake_counts_on_a_page() {
    let portal = Portal::start().await;
    let token = portal.idp.mint().encode(&portal.token_spec("alice").without_claim("azp"));
    assert_eq!(open(&portal, "/portal", &signed_in(&token)).await.status, 200);
    portal.get("/v1/me", &token).await.assert_problem(401, "unauthenticated");
    let wrong = portal.idp.mint().encode(&portal.token_spec("alice").claim("azp", "https://evil.example"));
    assert_eq!(open(&portal, "/portal", &signed_in(&wrong)).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_sent_to_the_sign_in_page_and_come_back() {
    let portal = Portal::start().await;
    let answer = open(&portal, "/portal?tab=a%20b&x=1", "__clerk_db_jwt=dvb_1").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = answer.header("location");
    assert_eq!(location, "/sign-in?redirect_url=%2Fportal%3Ftab%3Da%2520b%26x%3D1");
    assert_eq!(answer.header("x-clerk-auth-status"), "signed-out");
    assert_eq!(answer.header("x-clerk-auth-reason"), "session-token-and-uat-missing");
    assert_eq!(answer.header("cache-control"), "private, no-store");

    let page = open(&portal, location, "").await;
    assert_eq!(page.status, 200);
    let back = "redirect_url=https%3A%2F%2Fportal.example.test%2Fportal%3Ftab%3Da%2520b%26x%3D1";
    assert!(page.text.contains(back), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_page_leads_back_to_this_server_only() {
    let portal = Portal::start().await;
    for evil in ["https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example", "%2F%09%2Fevil.example"] {
        let page = open(&portal, &format!("/sign-in?redirect_url={evil}"), "").await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("redirect_url=https%3A%2F%2Fportal.example.test%2Fportal\""), "{page:?}");
        assert!(!page.text.contains("evil"), "{page:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_too_old_goes_through_a_handshake_without_a_visible_step() {
    let portal = Portal::start().await;
    let old = expired(&portal);
    let answer = open(&portal, "/portal", &signed_in(&old)).await;
    assert_eq!(answer.status, 307, "{answer:?}");
    let location = answer.header("location");
    assert!(location.starts_with("https://clerk.portal.localhost/v1/client/handshake?redirect_url="), "{location}");
    assert!(location.contains("session-token-expired-refresh-non-eligible-no-refresh-cookie"), "{location}");
    assert_eq!(answer.header("set-cookie"), "__clerk_redirect_count=1; SameSite=Lax; HttpOnly; Max-Age=2");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("x-clerk-auth-status"), "handshake");

    // After three in a row it is over.
    let cookies = format!("{}; __clerk_redirect_count=3", signed_in(&old));
    assert_eq!(open(&portal, "/portal", &cookies).await.status, 303);

    // What comes back is taken, and the address loses it.
    let fresh = portal.token("alice");
    let directives = json!([format!("__session={fresh}; Path=/; SameSite=Lax"), "__client_uat=1; Path=/"]);
    let handshake = portal.idp.mint().encode(&portal.token_spec("alice").claim("handshake", directives));
    let answer = open(&portal, &format!("/portal?x=1&__clerk_handshake={handshake}"), "__clerk_db_jwt=dvb_1").await;
    assert_eq!(answer.status, 307, "{answer:?}");
    assert_eq!(answer.header("location"), "https://portal.example.test/portal?x=1");
    assert!(answer.header("set-cookie").starts_with("__session="), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_session_is_signed_out_with_its_own_reason() {
    let portal = Portal::start().await;
    let pending = portal.idp.mint().encode(&portal.token_spec("alice").pending());
    let answer = open(&portal, "/portal", &signed_in(&pending)).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("x-clerk-auth-status"), "signed-out");
    assert_eq!(answer.header("x-clerk-auth-reason"), "session-pending");
    let answer = portal.send(portal.request(Method::GET, "/v1/me").header("cookie", signed_in(&pending))).await;
    answer.assert_problem(401, "session_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_503_and_never_a_sign_in_page() {
    let portal = Portal::start().await;
    portal.idp.set_outage(true);
    let cookies = signed_in(&portal.token("alice"));
    let page = open(&portal, "/portal", &cookies).await;
    assert_eq!(page.status, 503, "{page:?}");
    assert_eq!(page.header("retry-after"), "2");
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.text.contains("Sign-ins cannot be checked right now"), "{page:?}");
    // A handshake whose result cannot be fetched is no sign-out either.
    let page = open(&portal, "/portal?__clerk_handshake_nonce=n1", "__clerk_db_jwt=dvb_1").await;
    assert_eq!(page.status, 503, "{page:?}");
    assert!(page.headers.get("location").is_none(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_v1_a_cookie_counts_for_reading_from_the_same_site() {
    let portal = Portal::start().await;
    let cookies = signed_in(&portal.token("alice"));
    let with_cookies = |method, path: &str| portal.request(method, path).header("cookie", cookies.as_str());
    let me = portal.send(with_cookies(Method::GET, "/v1/me").header("sec-fetch-site", "same-origin")).await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(portal.send(with_cookies(Method::GET, "/v1/me")).await.status, 200);

    let elsewhere = portal.send(with_cookies(Method::GET, "/v1/me").header("sec-fetch-site", "cross-site")).await;
    elsewhere.assert_problem(401, "bearer_required");

    let account = me.text_at("/active_account/id");
    let path = format!("/v1/accounts/{account}/api-keys");
    let refused = portal.send(with_cookies(Method::POST, &path).json(&json!({ "name": "forged" }))).await;
    refused.assert_problem(401, "bearer_required");
    let keys = portal.get(&path, &portal.token("alice")).await;
    assert_eq!(keys.json()["data"], json!([]), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_v1_nothing_redirects_and_no_handshake_is_taken() {
    let portal = Portal::start().await;
    let old = signed_in(&expired(&portal));
    let answer = open(&portal, "/v1/me", &old).await;
    answer.assert_problem(401, "unauthenticated");
    assert_eq!(answer.json()["reason"], "session-token-expired-refresh-non-eligible-no-refresh-cookie");
    assert_eq!(answer.header("x-clerk-auth-status"), "signed-out");
    assert!(answer.headers.get("location").is_none() && answer.headers.get("set-cookie").is_none(), "{answer:?}");

    let fresh = portal.token("alice");
    let directives = json!([format!("__session={fresh}; Path=/")]);
    let handshake = portal.idp.mint().encode(&portal.token_spec("alice").claim("handshake", directives));
    let answer = open(&portal, &format!("/v1/me?__clerk_handshake={handshake}"), "__clerk_db_jwt=dvb_1").await;
    answer.assert_problem(401, "unauthenticated");
    assert!(answer.headers.get("set-cookie").is_none(), "{answer:?}");
}

/// The guard stands at the handler: no spelling of a path walks around it.
#[tokio::test(flavor = "multi_thread")]
async fn t02_tricks_with_paths_open_nothing() {
    let portal = Portal::start().await;
    for path in [
        "/portal",
        "/portal/",
        "//portal",
        "/./portal",
        "/x/../portal",
        "/PORTAL",
        "/portal%2f",
        "/%70ortal",
        "/portal;a",
        "/portal%00",
        "/portal?x=/sign-in",
        "/sign-in/../portal",
        "/sign-in/..%2fportal",
        "/v1/me",
        "/v1//me",
        "/v1/me/",
        "/V1/me",
        "/v1/%6de",
        "/v1/auth/../me",
        "/v1/me;x",
        "http://evil.example/v1/me",
        "http://evil.example/portal",
    ] {
        let answer = portal.raw(path).await;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(["303", "307", "400", "401", "404"].contains(&status.as_str()), "{path}: {answer}");
        assert!(!answer.contains("Hello"), "{path}: {answer}");
    }
}
