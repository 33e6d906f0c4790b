//! Throughput of `GET /v1/auth/status` with a token that was seen before, beside an actix App without middleware that answers the same
//! bytes, in the same run. Run: `cargo bench -p portal-app --bench auth_status`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use portal_app::system::{SystemClock, now};
use portal_dev_idp::{DevIdp, SigningKey, listen, people};
use portal_dev_postgres::testing::admin_url;
use portal_postgres::testing::TestDatabase;
use portal_testkit::load::{CONNECTIONS, call, comparable, load, median};
use serde::{Deserialize, Serialize};

use self::bare::own_headers;
use self::program::{ORIGIN, start};

#[path = "common/bare.rs"]
mod bare;
#[path = "common/program.rs"]
mod program;

/// Below this the benchmark fails.
const LEAST_RATIO: f64 = 0.8;
/// Many short rounds in turn: whatever else the machine does meets both servers alike.
const ROUNDS: usize = 100;
const ROUND: Duration = Duration::from_millis(150);
/// How many rounds are printed together.
const PRINTED: usize = 10;

#[tokio::main]
async fn main() {
    let idp = DevIdp::new(SigningKey::generate().unwrap(), Arc::new(SystemClock));
    let (provider, server) = listen(&idp).unwrap();
    tokio::spawn(server);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let database = TestDatabase::create(&admin_url(&checkout).unwrap()).await.unwrap();
    let (wired, portal) = start(&idp, provider, database.url(), &[("PORTAL_HTTP__WORKERS", "1")]);
    // Minted to last as long as the run; the program sees an ordinary token.
    let person = people::person("alice").unwrap();
    let spec = idp.mint().session(&person, ORIGIN, now()).claim("exp", now().unix_seconds() + 3600);
    let request = request(&idp.mint().encode(&spec));

    // A server that has just started does not know yet which sessions ended.
    while call(portal, &request).starts_with("HTTP/1.1 503") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = call(portal, &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let bare = bare(&answer);
    let twin = call(bare, &request);
    assert_eq!(comparable(&answer), comparable(&twin), "both answer the same bytes");

    let requests = [request];
    let load = |address| load(address, &requests, ROUND);
    load(portal);
    load(bare);
    let (mut ratios, queries) = (Vec::new(), wired.store.checkouts());
    for round in 1..=ROUNDS {
        let (ours, theirs) = (load(portal), load(bare));
        ratios.push(ours / theirs);
        if round % PRINTED == 0 {
            let ratio = median(&ratios[round - PRINTED..]);
            println!("round {round:3}: portal {ours:8.0}/s   bare {theirs:8.0}/s   median of {PRINTED} {ratio:.3}");
        }
    }
    let median = median(&ratios);
    println!(
        "ratio {median:.3} (median of {ROUNDS}; {CONNECTIONS} connections, 1 worker each, {} cores)",
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    // Jobs of the server take connections, too, a few in a minute.
    assert!(wired.store.checkouts() - queries < 100, "the database was asked");
    drop(database);
    std::process::exit(i32::from(median < LEAST_RATIO));
}

/// What the route answers, for a handler that has it at hand.
#[derive(Clone, Deserialize, Serialize)]
struct Answer {
    status: String,
    user: String,
    session: String,
}

/// One route, no middleware, no extractor: the given headers, and the same answer made into JSON anew.
fn bare(answer: &str) -> SocketAddr {
    let headers = own_headers(answer);
    let body: Arc<Answer> = Arc::new(serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap());
    let server = HttpServer::new(move || {
        let (headers, body) = (headers.clone(), body.clone());
        App::new().route(
            "/v1/auth/status",
            web::get().to(move || {
                let mut response = HttpResponse::Ok();
                for (name, value) in &*headers {
                    response.append_header((name.clone(), value.clone()));
                }
                let response = response.json(&*body);
                async move { response }
            }),
        )
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    address
}

fn request(token: &str) -> Vec<u8> {
    format!(
        "GET /v1/auth/status HTTP/1.1\r\nHost: portal.example.test\r\nAccept: application/json\r\n\
         User-Agent: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}
