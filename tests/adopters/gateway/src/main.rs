//! A gateway on actix-web: requests with an API key that may be used go on to an upstream, others do not.
//!
//! `PORTAL_URL`, `PORTAL_TOKEN` and `PORTAL_PEPPER` say where the keys are, `UPSTREAM_URL` who answers.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, get, web};
use portal_gateway::{Gateway, GatewaySettings, KeyUse, Verdict, peppers};
use serde_json::{Value, json};

/// The longest request that is taken.
const LONGEST: usize = 10 * 1024 * 1024;

struct Proxy {
    gateway: Gateway,
    upstream: String,
    client: reqwest::Client,
}

fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn refusal(verdict: &Verdict) -> HttpResponse {
    let status = StatusCode::from_u16(verdict.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = HttpResponse::build(status);
    match status {
        StatusCode::UNAUTHORIZED => answer.insert_header((WWW_AUTHENTICATE, "Bearer")),
        StatusCode::SERVICE_UNAVAILABLE => answer.insert_header((RETRY_AFTER, "2")),
        _ => &mut answer,
    };
    answer.json(json!({ "error": { "code": verdict.code() } }))
}

async fn forward(request: HttpRequest, body: Bytes, proxy: Data<Proxy>) -> HttpResponse {
    let presented = header(&request, AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    // Behind a proxy of one's own, the address is in a header that only this proxy can set.
    let ip = request.peer_addr().map(|address| address.ip());
    let wanted = KeyUse { ip, scope: None, model: asked["model"].as_str() };
    let holder = match proxy.gateway.decide(presented, &wanted).await {
        Verdict::Allow(holder) => holder,
        refused => return refusal(&refused),
    };
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    // The key itself goes no further.
    let mut sent = proxy.client.request(method, format!("{}{target}", proxy.upstream)).body(body);
    for name in [ACCEPT, CONTENT_TYPE].into_iter().filter(|name| request.headers().contains_key(name)) {
        sent = sent.header(name.as_str(), header(&request, name.clone()));
    }
    let sent = sent.header("x-key-id", holder.key.to_string()).header("x-account-id", holder.account.to_string());
    let Ok(answer) = sent.send().await else { return HttpResponse::BadGateway().finish() };
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    HttpResponse::build(status).insert_header((CONTENT_TYPE, kind)).streaming(answer.bytes_stream())
}

#[get("/readyz")]
async fn ready(proxy: Data<Proxy>) -> HttpResponse {
    if proxy.gateway.is_ready() { HttpResponse::Ok().finish() } else { refusal(&Verdict::Unavailable) }
}

fn routes(config: &mut web::ServiceConfig) {
    config.app_data(PayloadConfig::new(LONGEST)).service(ready).default_service(web::to(forward));
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let peppers = peppers([(1, std::env::var("PORTAL_PEPPER")?.as_str())])?;
    let (portal, token) = (std::env::var("PORTAL_URL")?, std::env::var("PORTAL_TOKEN")?);
    let gateway = Gateway::start(GatewaySettings::new(&portal, token.into(), peppers))?;
    let upstream = std::env::var("UPSTREAM_URL")?;
    let proxy = Data::new(Proxy { gateway, upstream, client: reqwest::Client::new() });
    let service = move || App::new().app_data(proxy.clone()).configure(routes);
    Ok(HttpServer::new(service).bind(("127.0.0.1", 8090))?.run().await?)
}

#[cfg(test)]
mod tests;
