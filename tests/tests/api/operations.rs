//! Health, metrics and the description of the API.

use e2e::{Portal, PortalBuilder};
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn it_lives_and_is_ready() {
    let portal = Portal::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = portal.send(portal.request(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text_at("/status"), "ok");
        let head = portal.send(portal.request(Method::HEAD, path)).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""), "the same without a body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_description_is_the_committed_one() {
    let portal = Portal::start().await;
    let served = portal.send(portal.request(Method::GET, "/openapi.json")).await;
    assert!(served.text == include_str!("../../../docs/openapi.json"));
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json()["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_by_route_and_tell_services_only() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("alice")).await;
    portal.get("/v1/me", "nonsense").await;
    portal.send(portal.request(Method::GET, "/metrics")).await.assert_problem(401, "service_token_required");
    let scraper = portal.service_token(&["create", "--name", "prometheus", "--scope", "metrics:read"]).await;
    let metrics = portal.get("/metrics", &scraper).await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "portal_http_requests_total{method=\"GET\",route=\"/v1/me\",status=\"2xx\"} 1",
        "portal_http_requests_total{method=\"GET\",route=\"/v1/me\",status=\"4xx\"} 1",
        "portal_http_request_seconds_count{method=\"GET\",route=\"/v1/me\"} 2",
        "portal_clerk_signature_checks_total 1",
    ] {
        assert!(metrics.text.lines().any(|known| known == line), "{line}\n{}", metrics.text);
    }
    assert!(!metrics.text.contains("user_dev"), "no label names a person");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_tells_its_metrics_to_anybody() {
    let portal = PortalBuilder::default().set("PORTAL_METRICS__OPEN", "true").start().await;
    assert_eq!(portal.send(portal.request(Method::GET, "/metrics")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_private_and_has_a_request_id() {
    let portal = Portal::start().await;
    for (path, token) in
        [("/v1/me", portal.token("alice")), ("/v1/me", "nonsense".to_owned()), ("/nothing", String::new())]
    {
        let answer = portal.get(path, &token).await;
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("x-request-id").starts_with("req_"));
    }
}
