//! Requests that cannot be right: each has a status, a code and a complete problem body.

use e2e::Portal;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_what_they_should_be() {
    let portal = Portal::start().await;
    let path = format!("/v1/accounts/{}/api-keys", portal.personal_account("stranger").await);
    let send = async |content_type: &str, body: String| {
        let request = portal.request(Method::POST, &path).bearer_auth(portal.token("stranger"));
        portal.send(request.header("Content-Type", content_type).body(body)).await
    };
    let json = "application/json";
    let valid = json!({ "name": "x" }).to_string();
    send(json, "{".to_owned()).await.assert_problem(400, "malformed_json");
    send(json, String::new()).await.assert_problem(400, "malformed_json");
    send(json, "\u{0}\u{1}".to_owned()).await.assert_problem(400, "malformed_json");
    send("text/plain", valid.clone()).await.assert_problem(415, "unsupported_media_type");
    send(json, format!("{{\"name\": \"{}\"}}", "x".repeat(20_000))).await.assert_problem(413, "body_too_large");
    for body in [
        json!({}),
        json!([]),
        json!(["x", "test"]),
        json!("x"),
        json!({ "name": 1 }),
        json!({ "name": null }),
        json!({ "name": "x", "environment": "prod" }),
        json!({ "name": "x", "unheard_of": true }),
    ] {
        send(json, body.to_string()).await.assert_problem(422, "invalid_body");
    }
    for name in ["", " x", "x\u{7}", &"x".repeat(101)] {
        send(json, json!({ "name": name }).to_string()).await.assert_problem(422, "invalid_name");
    }
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM api_keys").await.unwrap(), 0);
    assert_eq!(send(json, valid).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_wins_over_a_bad_body() {
    let portal = Portal::start().await;
    let account = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b";
    for (path, code) in [
        (format!("/v1/accounts/{account}/api-keys"), "unauthenticated"),
        ("/v1/keys/verify".to_owned(), "invalid_service_token"),
    ] {
        for body in ["{".to_owned(), "x".repeat(100_000)] {
            let request = portal.request(Method::POST, &path).bearer_auth("nonsense").body(body);
            portal.send(request).await.assert_problem(401, code);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_the_limit_are_431() {
    let portal = Portal::start().await;
    let large = portal.request(Method::GET, "/v1/me").header("x-filler", "x".repeat(20_000));
    portal.send(large).await.assert_problem(431, "headers_too_large");
    let huge_token = portal.request(Method::GET, "/v1/me").bearer_auth("x".repeat(20_000));
    portal.send(huge_token).await.assert_problem(431, "headers_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_cursors_and_limits_that_cannot_be() {
    let portal = Portal::start().await;
    let account = portal.personal_account("stranger").await;
    let token = portal.token("stranger");
    for id in [
        "x",
        "acc_",
        "key_01jdzqzr4ne5z8p5t2z6fj7x3b",
        "ACC_01JDZQZR4NE5Z8P5T2Z6FJ7X3B",
        "acc_%00",
        "acc_81jdzqzr4ne5z8p5t2z6fj7x3b",
    ] {
        portal.get(&format!("/v1/accounts/{id}"), &token).await.assert_problem(404, "not_found");
    }
    let list = format!("/v1/accounts/{account}/api-keys");
    for (query, code) in [
        ("limit=0", "invalid_query"),
        ("limit=101", "invalid_query"),
        ("limit=-1", "invalid_query"),
        ("limit=x", "invalid_query"),
        ("page=2", "invalid_query"),
        ("cursor=x", "invalid_cursor"),
        ("cursor=acc_01jdzqzr4ne5z8p5t2z6fj7x3b", "invalid_cursor"),
    ] {
        portal.get(&format!("{list}?{query}"), &token).await.assert_problem(400, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there() {
    let portal = Portal::start().await;
    for path in ["/v1", "/v1/nothing", "/v2/me", "/__clerk", "/v1/me/"] {
        portal.get(path, &portal.token("alice")).await.assert_problem(404, "not_found");
    }
    let deleted = portal.send(portal.request(Method::DELETE, "/v1/me").bearer_auth(portal.token("alice"))).await;
    deleted.assert_problem(405, "method_not_allowed");
    assert_eq!(deleted.header("allow"), "GET, HEAD, PATCH");
    let account = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b";
    let put = portal.send(portal.request(Method::PUT, &format!("/v1/accounts/{account}/api-keys"))).await;
    put.assert_problem(405, "method_not_allowed");
    let mut allowed: Vec<_> = put.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_always_ours() {
    let portal = Portal::start().await;
    let send = async || {
        let request = portal.request(Method::GET, "/livez").header("x-request-id", "req_mine");
        portal.send(request).await.header("x-request-id").to_owned()
    };
    let (one, two) = (send().await, send().await);
    assert!(one.starts_with("req_") && two.starts_with("req_"));
    assert_ne!(one, two);
}
