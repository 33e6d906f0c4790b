//! Verifications of API keys over HTTP. Of keys that are known: beside an actix App without middleware that takes and gives the same
//! bytes. Of keys that are not: what each costs the database, and how many there are per second beside the same look-up in process and
//! the same statement of pgbench. Run: `cargo bench -p portal-app --bench verify`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use portal_api_keys::{Brand, CredentialReader, Kid};
use portal_app::service_token::run_service_token;
use portal_app::system::{SystemClock, now};
use portal_app::wire::Wired;
use portal_authz::{Job, Platform, Principal, Unchecked};
use portal_dev_idp::{DevIdp, SigningKey, listen, people};
use portal_dev_postgres::testing::OwnServer;
use portal_postgres::testing::TestDatabase;
use portal_testkit::load::{CONNECTIONS, call, comparable, load, median, per_second};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::bare::own_headers;
use self::program::{ORIGIN, start};

#[path = "common/bare.rs"]
mod bare;
#[path = "common/program.rs"]
mod program;

/// Below these the benchmark fails.
const LEAST_WARM: f64 = 0.7;
const LEAST_COLD: f64 = 0.5;
/// Many short rounds in turn: whatever else the machine does meets all sides alike.
const WARM_ROUNDS: usize = 100;
const WARM_ROUND: Duration = Duration::from_millis(150);
const COLD_ROUNDS: usize = 15;
const COLD_ROUND: Duration = Duration::from_secs(1);
/// Of the cold ones a server remembers one, so that each is cold again when its turn comes.
const KEYS: usize = 500;

#[tokio::main]
async fn main() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let counting = ["shared_preload_libraries=pg_stat_statements"];
    let server = OwnServer::start(&checkout, &[], &counting).unwrap_or_else(|error| panic!("{error}"));
    let database = TestDatabase::create(&server.url("postgres")).await.unwrap();
    database.execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let idp = DevIdp::new(SigningKey::generate().unwrap(), Arc::new(SystemClock));
    let (provider, listening) = listen(&idp).unwrap();
    tokio::spawn(listening);
    let url = format!("{}?sslmode=disable", database.url());
    let pool_size = CONNECTIONS.to_string();
    let common = [
        ("PORTAL_HTTP__WORKERS", "1"),
        ("PORTAL_DATABASE__POOL_SIZE", &*pool_size),
        ("PORTAL_KEYS__MOST_PER_ACCOUNT", "10000"),
        ("PORTAL_LIMITS__USER_WRITES_PER_MINUTE", "0"),
        ("PORTAL_LIMITS__ADDRESS_WRITES_PER_MINUTE", "0"),
    ];
    let (wired, portal) = start(&idp, provider, &url, &common);
    let forgetful: Vec<_> = common.into_iter().chain([("PORTAL_KEYS__CACHE_ENTRIES", "1")]).collect();
    let (_forgetful, cold_portal) = start(&idp, provider, &url, &forgetful);
    let secrets = keys(&idp, portal).await;
    let token = service_token(&wired).await;
    let requests: Vec<_> = secrets.iter().map(|secret| question(&token, secret)).collect();

    let warm = warm(portal, &requests[..1]);
    let kids: Vec<_> = secrets.iter().map(|secret| kid(secret)).collect();
    let cold = cold(&wired, &database, &server, (cold_portal, &requests), &kids).await;
    drop((database, server));
    std::process::exit(i32::from(warm < LEAST_WARM || cold < LEAST_COLD));
}

fn warm(portal: SocketAddr, requests: &[Vec<u8>]) -> f64 {
    let answer = call(portal, &requests[0]);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"allow\""), "{answer}");
    let bare = bare(&answer);
    assert_eq!(comparable(&answer), comparable(&call(bare, &requests[0])), "both answer the same bytes");
    let mut ratios = Vec::new();
    for round in 0..=WARM_ROUNDS {
        let (ours, theirs) = (load(portal, requests, WARM_ROUND), load(bare, requests, WARM_ROUND));
        // The first one warms up.
        if round > 0 {
            ratios.push(ours / theirs);
        }
        if round > 0 && round % 10 == 0 {
            println!("round {round:3}: known keys {ours:7.0}/s   App without middleware {theirs:7.0}/s");
        }
    }
    let ratio = median(&ratios);
    println!("ratio {ratio:.3} of known keys (median of {WARM_ROUNDS}; {CONNECTIONS} connections, 1 worker each)");
    ratio
}

async fn cold(
    wired: &Wired,
    database: &TestDatabase,
    server: &OwnServer,
    (portal, requests): (SocketAddr, &[Vec<u8>]),
    kids: &[Kid],
) -> f64 {
    let asked = |portal| tokio::task::block_in_place(|| load(portal, requests, COLD_ROUND));
    asked(portal);
    database.execute("SELECT pg_stat_statements_reset()").await.unwrap();
    tokio::task::block_in_place(|| requests.iter().for_each(|request| drop(call(portal, request))));
    let calls = "SELECT calls || ' ' || query AS text FROM pg_stat_statements
        WHERE query LIKE '%key_locator%' AND query NOT LIKE '%pg_stat%' ORDER BY calls DESC";
    let statements = database.texts(calls).await.unwrap();
    let (look_ups, statement) = statements[0].split_once(' ').unwrap();
    assert_eq!((statements.len(), look_ups), (1, &*requests.len().to_string()), "one statement each: {statements:?}");
    let begun = "SELECT query AS text FROM pg_stat_statements WHERE query ILIKE 'BEGIN%' AND calls >= 100";
    assert_eq!(database.texts(begun).await.unwrap(), Vec::<String>::new(), "no transactions");
    println!("{} keys that are not known: {look_ups} statements, no BEGIN", requests.len());

    let pgbench = server.program("pgbench").map(|program| (program, script(statement, kids)));
    let (mut ratios, mut database_ratios) = (Vec::new(), Vec::new());
    for round in 1..=COLD_ROUNDS {
        let ours = asked(portal);
        let theirs = in_process(wired, kids).await;
        let bare = pgbench.as_ref().map(|pgbench| transactions(server, database, pgbench));
        ratios.push(ours / theirs);
        database_ratios.extend(bare.map(|bare| ours / bare));
        let beside = bare.map_or_else(|| "not installed".to_owned(), |bare| format!("{bare:6.0}/s"));
        println!("round {round:2}: unknown keys {ours:6.0}/s   look-ups in process {theirs:6.0}/s   pgbench {beside}");
    }
    let ratio = median(&ratios);
    println!("ratio {ratio:.3} of keys that are not known to look-ups in process (median of {COLD_ROUNDS})");
    if let Some((_, script)) = pgbench {
        println!("ratio {:.3} of them to transactions of pgbench", median(&database_ratios));
        std::fs::remove_file(script).unwrap();
    }
    ratio
}

/// Look-ups per second through the store, as many at a time as there are connections.
async fn in_process(wired: &Wired, kids: &[Kid]) -> f64 {
    let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::VerifyKey)).unwrap();
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let started = Instant::now();
    let look_ups = async || {
        while !stop.load(Ordering::Relaxed) {
            let kid = kids[count.fetch_add(1, Ordering::Relaxed) % kids.len()];
            assert!(wired.store.key(&cleared, kid).await.unwrap().is_some());
        }
    };
    let end = async {
        tokio::time::sleep(COLD_ROUND).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(end, look_ups(), look_ups(), look_ups(), look_ups(), look_ups(), look_ups(), look_ups(), look_ups());
    per_second(count.load(Ordering::Relaxed), started.elapsed())
}

/// The statement as pgbench runs it, with any of the keys.
fn script(statement: &str, kids: &[Kid]) -> PathBuf {
    let mut script = format!("\\set which random(1, {})\n", kids.len());
    let kid = |number: usize| format!("WHEN {number} THEN '{}'", kids[number - 1].as_str());
    let cases: Vec<_> = (1..=kids.len()).map(kid).collect();
    // Parameters of ours: the account's state and the kid, then how many rows.
    let text = statement.replace("$1", "'active'").replace("$3", "1");
    let text = text.replace("$2", &format!("(CASE CAST(:which AS integer) {} END)", cases.join(" ")));
    writeln!(script, "{text};").unwrap();
    let path = std::env::temp_dir().join(format!("portal-bench-{}.sql", std::process::id()));
    std::fs::write(&path, script).unwrap();
    path
}

/// Transactions per second, as pgbench says.
fn transactions(server: &OwnServer, database: &TestDatabase, (pgbench, script): &(PathBuf, PathBuf)) -> f64 {
    let mut run = Command::new(pgbench);
    run.args(["--no-vacuum", "--protocol=prepared", "--file"]).arg(script);
    run.args(["--client", &CONNECTIONS.to_string(), "--jobs", "2", "--time", &COLD_ROUND.as_secs().to_string()]);
    run.args(["--host", "127.0.0.1", "--port", &server.port().to_string(), "--username", "portal"]);
    run.arg(database.url().rsplit('/').next().unwrap()).env("PGPASSWORD", server.password());
    let output = run.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let line = line.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    line.split(' ').next().unwrap().parse().unwrap()
}

/// Keys of one account, made over HTTP.
async fn keys(idp: &DevIdp, portal: SocketAddr) -> Vec<String> {
    let person = people::person("alice").unwrap();
    let claims = idp.mint().session(&person, ORIGIN, now()).claim("exp", now().unix_seconds() + 3600);
    let token = idp.mint().encode(&claims);
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: portal.example.test\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let mut me = tokio::task::block_in_place(|| call(portal, get("/v1/me").as_bytes()));
    // A server that has just started does not know yet which sessions ended.
    while me.starts_with("HTTP/1.1 503") {
        tokio::time::sleep(Duration::from_millis(50)).await;
        me = tokio::task::block_in_place(|| call(portal, get("/v1/me").as_bytes()));
    }
    let account = json(&me)["active_account"]["id"].as_str().unwrap_or_else(|| panic!("{me}")).to_owned();
    let make = |number: usize| {
        let body = format!(r#"{{"name":"bench {number}"}}"#);
        let request = format!(
            "POST /v1/accounts/{account}/api-keys HTTP/1.1\r\nHost: portal.example.test\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = call(portal, request.as_bytes());
        json(&answer)["secret"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let secrets: Vec<_> = tokio::task::block_in_place(|| (0..KEYS).map(make).collect());
    assert_eq!(secrets.iter().collect::<BTreeSet<_>>().len(), KEYS);
    secrets
}

async fn service_token(wired: &Wired) -> String {
    let arguments = ["create", "--name", "bench", "--scope", "keys:verify", "--reason", "a benchmark"];
    let printed = run_service_token(&arguments, &wired.credentials.service_tokens).await;
    printed.unwrap_or_else(|error| panic!("{error}")).text.trim().to_owned()
}

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn kid(secret: &str) -> Kid {
    Brand::default().read(secret).unwrap().1
}

fn question(token: &str, secret: &str) -> Vec<u8> {
    let body = format!(r#"{{"key":"{secret}","model":"llama-3"}}"#);
    format!(
        "POST /v1/keys/verify HTTP/1.1\r\nHost: portal.example.test\r\nAccept: application/json\r\nUser-Agent: bench\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What the route takes.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is read all the same")]
struct Question {
    key: String,
    model: Option<String>,
}

/// What the route answers, for a handler that has it at hand.
#[derive(Deserialize, Serialize)]
struct Verdict {
    decision: String,
    code: String,
    key_id: String,
    account_id: String,
    revision: i64,
    cacheable_for_ms: u64,
}

/// One route, no middleware: the same body in, and the same answer made into JSON anew with the given headers.
fn bare(answer: &str) -> SocketAddr {
    let headers = own_headers(answer);
    let body: Arc<Verdict> = Arc::new(serde_json::from_value(json(answer)).unwrap());
    let server = HttpServer::new(move || {
        let (headers, body) = (headers.clone(), body.clone());
        App::new().route(
            "/v1/keys/verify",
            web::post().to(move |_: web::Json<Question>| {
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
