//! Throughput of `GET /v1/auth/status` with a token that was seen before, beside an actix App without middleware that answers the same
//! bytes, in the same run. Run: `cargo bench -p portal-app --bench auth_status`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use portal_app::serve::bind;
use portal_app::settings::{Environment, Settings};
use portal_app::system::{SystemClock, now};
use portal_app::telemetry;
use portal_app::wire::{Surroundings, Wired, wire};
use portal_dev_idp::{DevIdp, SigningKey, listen, people};
use portal_dev_postgres::testing::admin_url;
use portal_postgres::testing::TestDatabase;
use serde::{Deserialize, Serialize};

const ORIGIN: &str = "https://portal.example.test";
/// Below this the benchmark fails.
const LEAST_RATIO: f64 = 0.8;
/// Many short rounds in turn: whatever else the machine does meets both servers alike.
const ROUNDS: usize = 100;
const ROUND: Duration = Duration::from_millis(150);
/// How many rounds are printed together.
const PRINTED: usize = 10;
const CONNECTIONS: usize = 8;

#[tokio::main]
async fn main() {
    let idp = DevIdp::new(SigningKey::generate().unwrap(), Arc::new(SystemClock));
    let (provider, server) = listen(&idp).unwrap();
    tokio::spawn(server);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let database = TestDatabase::create(&admin_url(&checkout).unwrap()).await.unwrap();
    let (wired, portal) = portal(&idp, provider, database.url());
    // Minted to last as long as the run; the program sees an ordinary token.
    let person = people::person("alice").unwrap();
    let spec = idp.mint().session(&person, ORIGIN, now()).claim("exp", now().unix_seconds() + 3600);
    let token = idp.mint().encode(&spec);

    // A server that has just started does not know yet which sessions ended.
    while call(portal, &token).starts_with("HTTP/1.1 503") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = call(portal, &token);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let bare = bare(&answer);
    let twin = call(bare, &token);
    let comparable = |answer: &str| {
        let mut lines: Vec<_> =
            answer.lines().filter(|line| !line.starts_with("date:")).map(ToOwned::to_owned).collect();
        lines.iter_mut().filter(|line| line.starts_with("x-request-id")).for_each(|line| line.truncate(12));
        lines.sort();
        lines
    };
    assert_eq!(comparable(&answer), comparable(&twin), "both answer the same bytes");

    load(portal, &token);
    load(bare, &token);
    let (mut ratios, queries) = (Vec::new(), wired.store.checkouts());
    for round in 1..=ROUNDS {
        let (ours, theirs) = (load(portal, &token), load(bare, &token));
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

/// The program with its production logging.
fn portal(idp: &DevIdp, provider: SocketAddr, database: &str) -> (Wired, SocketAddr) {
    let variables = [
        ("PORTAL_PUBLIC_URL", ORIGIN.to_owned()),
        ("PORTAL_HTTP__BIND", "127.0.0.1:0".to_owned()),
        ("PORTAL_HTTP__WORKERS", "1".to_owned()),
        ("PORTAL_KEYS__PEPPERS__1", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=".to_owned()),
        ("PORTAL_AUDIT__SIGNING_KEY", "c2lnbmluZyBrZXkgb2YgdGhlIHRlc3RzIDMyIGJ5dGU=".to_owned()),
        ("PORTAL_LIMITS__ADDRESS_READS_PER_MINUTE", "10000000".to_owned()),
        ("DATABASE_URL", database.to_owned()),
        ("CLERK_PUBLISHABLE_KEY", idp.instance().publishable_key().to_owned()),
        ("CLERK_SECRET_KEY", idp.instance().secret_key().to_owned()),
        ("CLERK_API_URL", format!("http://{provider}{}", portal_dev_idp::PATH)),
    ];
    let variables: BTreeMap<_, _> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let settings = Settings::load(None, &Environment(variables)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    telemetry::start(&settings.log);
    let (http, metrics) = (settings.http.clone(), settings.metrics.clone());
    let wired = wire(settings, &Surroundings::default()).unwrap();
    let bound = bind(&wired, &http, &metrics, None).unwrap();
    let address = bound.address;
    tokio::spawn(async { bound.run().await.unwrap() });
    (wired, address)
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
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kept = |name: &&str| !matches!(*name, "content-length" | "content-type" | "date");
    // Shared: the framework clones a handler for every request.
    let headers: Arc<[(HeaderName, HeaderValue)]> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let body: Arc<Answer> = Arc::new(serde_json::from_str(body).unwrap());
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

fn call(address: SocketAddr, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request(token)).unwrap();
    let mut buffer = vec![0; 16_384];
    let mut length = 0;
    while !complete(&buffer[..length]) {
        length += stream.read(&mut buffer[length..]).unwrap();
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Answers per second of a server under a few busy connections.
fn load(address: SocketAddr, token: &str) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let request = request(token);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&request).unwrap();
                    let mut length = 0;
                    while !complete(&buffer[..length]) {
                        length += stream.read(&mut buffer[length..]).unwrap();
                    }
                    assert!(buffer.starts_with(b"HTTP/1.1 200"));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of a second or two are exact in a double")]
    let answers = count.load(Ordering::Relaxed) as f64;
    answers / started.elapsed().as_secs_f64()
}

fn median(ratios: &[f64]) -> f64 {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// All answers here end with a JSON object.
fn complete(answer: &[u8]) -> bool {
    answer.ends_with(b"}")
}
