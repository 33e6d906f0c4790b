//! Requests to the provider, without a network between.

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web;
use portal_dev_idp::DevIdp;
use serde_json::Value;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers.get("content-type").expect("a type"), "application/json");
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// Status and code of an error in Clerk's shape.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        let [error] = body["errors"].as_array().expect("errors").as_slice() else { panic!("{body}") };
        for field in ["code", "message", "long_message"] {
            assert!(error[field].is_string(), "{body}");
        }
        assert!(!body["clerk_trace_id"].as_str().expect("a trace id").is_empty());
        (self.status.as_u16(), error["code"].as_str().expect("a code").to_owned())
    }
}

pub(crate) async fn send(idp: &DevIdp, request: TestRequest) -> Answer {
    let app = App::new().configure(portal_dev_idp::configure(idp)).route("/outside", web::get().to(|| async { "ok" }));
    let answer = call_service(&init_service(app).await, request.to_request()).await;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = to_bytes(answer.into_body()).await.unwrap_or_default();
    Answer { status, headers, text: String::from_utf8(body.to_vec()).expect("UTF-8") }
}

pub(crate) fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(("host", "localhost:8080"))
}

pub(crate) async fn backend(idp: &DevIdp, path: &str) -> Answer {
    let bearer = format!("Bearer {}", idp.instance().secret_key());
    send(idp, get(path).insert_header(("authorization", bearer))).await
}

pub(crate) fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A request with a body to a path of the Backend API, with the secret key.
pub(crate) async fn call(idp: &DevIdp, method: Method, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", idp.instance().secret_key());
    let request = TestRequest::with_uri(&format!("/__clerk/v1{path}")).method(method);
    let request = request.insert_header(("host", "localhost:8080")).insert_header(("authorization", bearer));
    let request = if body.is_null() { request } else { request.set_json(body) };
    send(idp, request).await
}

/// What `GET` of a path of the Backend API answers.
pub(crate) async fn read(idp: &DevIdp, path: &str) -> Value {
    let answer = backend(idp, &format!("/__clerk/v1{path}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}
