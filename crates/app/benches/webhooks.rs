//! Deliveries of webhooks per second, each acknowledged after its commit, beside the transactions of pgbench that insert a single row into
//! a table like the inbox: on one server that waits for the disk, with as many connections, in turn.
//! Run: `cargo bench -p portal-app --bench webhooks`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portal_app::system::{SystemClock, now};
use portal_dev_idp::{DevIdp, SigningKey, listen, webhook_signature};
use portal_dev_postgres::testing::OwnServer;
use portal_postgres::testing::TestDatabase;

use self::program::start;

#[path = "common/program.rs"]
mod program;

/// Below this the benchmark fails.
const LEAST_RATIO: f64 = 0.3;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(3);
/// To the database, on both sides.
const CONNECTIONS: usize = 8;
/// Deliveries under way at a time, as many as keep the server busy. As many as connections are measured first, for comparison: then a
/// delivery mostly waits for the statements of others.
const SENDERS: usize = 64;
const PEOPLE: usize = 2_000;
/// More than any round can send.
const MESSAGES: usize = 60_000;

/// One transaction of pgbench.
const INSERT: &str = "INSERT INTO inbox_of_pgbench (id, kind, received_at)
    VALUES ('msg_' || gen_random_uuid(), 'user.updated', now());\n";

#[tokio::main]
async fn main() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let durable = [
        "log_min_duration_statement=0",
        "log_destination=stderr",
        "log_line_prefix=%m %p ",
        "fsync=on",
        "synchronous_commit=on",
        "full_page_writes=on",
    ];
    let server = OwnServer::start(&checkout, &[], &durable).unwrap();
    let Some(pgbench) = server.program("pgbench") else {
        println!("skipped: pgbench is not part of this installation of PostgreSQL");
        return;
    };
    let idp = DevIdp::new(SigningKey::generate().unwrap(), Arc::new(SystemClock));
    let (provider, listening) = listen(&idp).unwrap();
    tokio::spawn(listening);
    let database = TestDatabase::create(&server.url("postgres")).await.unwrap();
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let url = format!("{}?sslmode=disable", database.url());
    let (pool_size, secret) = (CONNECTIONS.to_string(), idp.instance().webhook_secret());
    let settings = [("PORTAL_DATABASE__POOL_SIZE", &*pool_size), ("CLERK_WEBHOOK_SIGNING_SECRET", secret)];
    let (_, portal) = start(&idp, provider, &url, &settings);

    let script = tempfile(INSERT);
    let rows = || {
        let mut run = Command::new(&pgbench);
        run.args(["--no-vacuum", "--protocol=prepared", "--file"]).arg(&script);
        run.args(["--client", &CONNECTIONS.to_string(), "--jobs", "2", "--time", &ROUND.as_secs().to_string()]);
        run.args(["--host", "127.0.0.1", "--port", &server.port().to_string(), "--username", "portal", &name]);
        tps(&String::from_utf8(run.env("PGPASSWORD", server.password()).output().unwrap().stdout).unwrap())
    };
    // Everybody is here before anything is measured.
    let people = messages(secret, "made", PEOPLE);
    tokio::task::block_in_place(|| send(portal, &people, SENDERS, Duration::from_mins(5)));
    database.execute("CREATE TABLE inbox_of_pgbench (LIKE webhook_inbox INCLUDING ALL)").await.unwrap();

    // The last figure is judged.
    let mut median = 0.0;
    for senders in [CONNECTIONS, SENDERS] {
        let mut ratios = Vec::new();
        for round in 1..=ROUNDS {
            let messages = messages(secret, &format!("round{round}of{senders}"), MESSAGES);
            let (ours, theirs) = tokio::task::block_in_place(|| (send(portal, &messages, senders, ROUND), rows()));
            ratios.push(ours / theirs);
            println!(
                "round {round}: webhooks {ours:6.0}/s   inserts of pgbench {theirs:6.0}/s   ratio {:.3}",
                ours / theirs
            );
        }
        ratios.sort_by(f64::total_cmp);
        median = ratios[ROUNDS / 2];
        println!(
            "ratio {median:.3} (median of {ROUNDS}; {CONNECTIONS} connections each, {senders} deliveries at a time, {} cores)",
            std::thread::available_parallelism().map_or(0, usize::from),
        );
    }
    let _ = std::fs::remove_file(script);
    drop((database, server));
    std::process::exit(i32::from(median < LEAST_RATIO));
}

/// Signed requests: each tells a new version of one of the people.
fn messages(secret: &str, name: &str, count: usize) -> Vec<Vec<u8>> {
    let (sent_at, version) = (now().unix_seconds(), now().unix_millis());
    let message = |number: usize| {
        let (person, id) = (number % PEOPLE, format!("msg_{name}_{number}"));
        let version = version + i64::try_from(number).unwrap();
        let body = format!(
            r#"{{"object":"event","type":"user.updated","data":{{"id":"user_{person}","first_name":"{name}","last_name":"{number}","image_url":"https://img.example.test/{person}","primary_email_address_id":"idn_{person}","email_addresses":[{{"id":"idn_{person}","email_address":"{person}@example.test","verification":{{"status":"verified"}}}}],"updated_at":{version}}}}}"#
        );
        let signature = webhook_signature(secret, &id, sent_at, body.as_bytes()).unwrap();
        format!(
            "POST /webhooks/clerk HTTP/1.1\r\nHost: portal.example.test\r\nContent-Type: application/json\r\nsvix-id: {id}\r\n\
             svix-timestamp: {sent_at}\r\nsvix-signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..count).map(message).collect()
}

/// Sends the messages over busy connections for that long, or all of them; answers how many were applied per second.
fn send(address: SocketAddr, messages: &[Vec<u8>], senders: usize, limit: Duration) -> f64 {
    let (stop, next, applied) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..senders {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    stream.write_all(message).unwrap();
                    let mut length = 0;
                    while !buffer[..length].ends_with(b"}") {
                        let read = stream.read(&mut buffer[length..]).unwrap();
                        assert!(read > 0, "{}", String::from_utf8_lossy(&buffer[..length]));
                        length += read;
                    }
                    let answer = String::from_utf8_lossy(&buffer[..length]);
                    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"applied\""), "{answer}");
                    applied.fetch_add(1, Ordering::Relaxed);
                    if started.elapsed() >= limit {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let elapsed = started.elapsed().as_secs_f64();
    assert!(limit > ROUND || next.load(Ordering::Relaxed) < messages.len(), "more messages are needed");
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds are exact in a double")]
    let applied = applied.load(Ordering::Relaxed) as f64;
    applied / elapsed
}

/// Transactions per second, as pgbench says.
fn tps(said: &str) -> f64 {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("{said}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

fn tempfile(text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("portal-bench-{}.sql", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}
