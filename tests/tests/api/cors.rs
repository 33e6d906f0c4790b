//! Frontends on other origins.

use e2e::{Answer, Portal, PortalBuilder};
use reqwest::Method;

const FRONTEND: &str = "https://app.example.test";

async fn preflight(portal: &Portal, origin: &str) -> Answer {
    let request = portal
        .request(Method::OPTIONS, "/v1/me")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key");
    portal.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_origin_may_call_with_bearer_and_without_cookies() {
    let portal = PortalBuilder::default().set("PORTAL_HTTP__ALLOWED_ORIGINS", FRONTEND).start().await;
    let answer = preflight(&portal, FRONTEND).await;
    assert_eq!(answer.status, 200, "answered before authentication: {answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), FRONTEND);
    let headers = answer.header("access-control-allow-headers").to_lowercase();
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), "");

    let spec = portal.token_spec("alice").claim("azp", FRONTEND);
    let call = portal.request(Method::GET, "/v1/me").header("Origin", FRONTEND);
    let answer = portal.send(call.bearer_auth(portal.idp.mint().encode(&spec))).await;
    assert_eq!(answer.status, 200, "tokens minted there are accepted: {answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), FRONTEND);

    let refused = portal.send(portal.request(Method::GET, "/v1/me").header("Origin", FRONTEND)).await;
    refused.assert_problem(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), FRONTEND, "the frontend can read the problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_origin_is_allowed() {
    let portal = PortalBuilder::default().set("PORTAL_HTTP__ALLOWED_ORIGINS", FRONTEND).start().await;
    for origin in ["https://evil.example", "https://app.example.test.evil.example", "http://app.example.test", "null"] {
        assert_eq!(preflight(&portal, origin).await.header("access-control-allow-origin"), "", "{origin}");
        let call = portal.request(Method::GET, "/v1/auth/status").header("Origin", origin);
        assert_eq!(portal.send(call).await.header("access-control-allow-origin"), "", "{origin}");
    }
    let closed = Portal::start().await;
    assert_eq!(preflight(&closed, FRONTEND).await.header("access-control-allow-origin"), "");
}
