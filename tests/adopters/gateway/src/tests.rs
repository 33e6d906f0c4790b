use actix_web::body::to_bytes;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service};
use portal_gateway::testing::{PEPPER, RateLimit, RateLimits, Samples, holding};
use portal_gateway::{ExposeSecret, SecretString};

use super::*;

/// An upstream that tells what it was asked.
fn upstream() -> String {
    async fn echo(request: HttpRequest, body: Bytes) -> HttpResponse {
        let told = [
            request.uri().to_string(),
            header(&request, HeaderName::from_static("x-account-id")).to_owned(),
            header(&request, AUTHORIZATION).to_owned(),
            String::from_utf8_lossy(&body).into_owned(),
        ];
        HttpResponse::Accepted().insert_header((CONTENT_TYPE, "text/event-stream")).body(told.join("|"))
    }
    let server = HttpServer::new(|| App::new().default_service(web::to(echo))).workers(1).disable_signals();
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    format!("http://{address}")
}

async fn ask(gateway: Gateway, upstream: String, request: TestRequest) -> (u16, HeaderMap, String) {
    let proxy = Data::new(Proxy { gateway, upstream, client: reqwest::Client::new() });
    let service = init_service(App::new().app_data(proxy).configure(routes)).await;
    let answer = call_service(&service, request.to_request()).await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, String::from_utf8(to_bytes(answer.into_body()).await.unwrap().to_vec()).unwrap())
}

fn completion(text: &SecretString) -> TestRequest {
    let request = TestRequest::post().uri("/v1/chat/completions?stream=true");
    let request = request.insert_header((AUTHORIZATION, format!("Bearer {}", text.expose_secret())));
    request.set_payload(r#"{"model":"llama-3"}"#)
}

#[actix_web::test]
async fn a_good_key_reaches_the_upstream_which_learns_whose_it_is_and_not_the_key() {
    let (text, record) = Samples::default().key(1);
    let account = record.stored.account;
    let (status, headers, body) = ask(holding([record]), upstream(), completion(&text)).await;
    assert_eq!((status, headers.get(CONTENT_TYPE).unwrap().to_str().unwrap()), (202, "text/event-stream"));
    assert_eq!(body, format!("/v1/chat/completions?stream=true|{account}||{{\"model\":\"llama-3\"}}"));
}

#[actix_web::test]
async fn what_is_refused_does_not_reach_the_upstream() {
    let samples = Samples::default();
    let [good, mut stopped, mut counted] = [1, 2, 3].map(|number| samples.key(number));
    stopped.1.stored.disabled_at = Some(portal_gateway::testing::now());
    let limit = RateLimit::new("a", 1, 1).unwrap();
    counted.1.stored.policy.rate_limits = RateLimits::new([limit]).unwrap();
    let unknown = samples.key(4).0;
    for (text, expected, code) in [
        (&stopped.0, 403, "key_disabled"),
        (&unknown, 401, "invalid_api_key"),
        (&SecretString::from("nonsense"), 401, "invalid_api_key"),
        // The portal would have to be asked, and is not there.
        (&counted.0, 503, "unavailable"),
    ] {
        let gateway = holding([good.1.clone(), stopped.1.clone(), counted.1.clone()]);
        let (status, headers, body) = ask(gateway, upstream(), completion(text)).await;
        assert_eq!((status, body), (expected, format!("{{\"error\":{{\"code\":\"{code}\"}}}}")));
        assert_eq!(headers.contains_key(WWW_AUTHENTICATE), expected == 401);
        assert_eq!(headers.contains_key(RETRY_AFTER), expected == 503);
    }
}

#[actix_web::test]
async fn before_it_knows_the_keys_it_is_not_ready_and_lets_nobody_in() {
    let unheard = || {
        let settings = GatewaySettings::new("http://127.0.0.1:9", "token".into(), peppers([(1, PEPPER)]).unwrap());
        Gateway::start(settings).unwrap()
    };
    let (status, _, _) = ask(unheard(), upstream(), completion(&Samples::default().key(1).0)).await;
    assert_eq!(status, 503);
    let readiness = || TestRequest::get().uri("/readyz");
    assert_eq!(ask(unheard(), upstream(), readiness()).await.0, 503);
    assert_eq!(ask(holding([]), upstream(), readiness()).await.0, 200);
}

#[actix_web::test]
async fn an_upstream_that_is_away_is_a_bad_gateway() {
    let (text, record) = Samples::default().key(1);
    let (status, _, _) = ask(holding([record]), "http://127.0.0.1:9".to_owned(), completion(&text)).await;
    assert_eq!(status, 502);
}
