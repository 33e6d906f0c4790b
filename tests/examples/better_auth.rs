//! Verifications of API keys per second, beside those of better-auth's api-key plugin on the same PostgreSQL and disk: ours over HTTP, the
//! plugin's in its own process, as it offers them to server code alone. Both know a hundred keys, without limits of their own.
//! Run: `cargo run --release -p e2e --example better_auth`
#![expect(clippy::print_stdout, reason = "a tool prints its figures")]
#![expect(clippy::unwrap_used, reason = "a comparison that cannot run has nothing to say")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use e2e::{PortalBuilder, checkout, serve_if_asked};
use portal_dev_postgres::testing::OwnServer;
use portal_postgres::testing::TestDatabase;
use portal_testkit::load::{CONNECTIONS, call, load, median};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(3);
const KEYS: usize = 100;
/// Below this the tool fails.
const LEAST_RATIO: f64 = 50.0;

#[tokio::main]
async fn main() {
    serve_if_asked();
    let folder = checkout().join("tests/peers/better-auth");
    for (program, arguments) in
        [("node", &["--version"] as &[_]), ("npm", &["ci", "--no-audit", "--no-fund", "--silent"])]
    {
        let mut command = Command::new(program);
        let status = command.args(arguments).current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("skipped: `{program} {}` failed in {}", arguments.join(" "), folder.display());
            return;
        }
    }
    // It waits for the disk, as in production.
    let durable = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
    let server = OwnServer::start(&checkout(), &[], &durable).unwrap_or_else(|error| panic!("{error}"));
    let portal = PortalBuilder::default().on_server(server.url("postgres")).start().await;
    let database = TestDatabase::create_empty(&server.url("postgres")).await.unwrap();
    let mut peer = Peer::start(&folder, database.url());
    let (gateway, account) = (portal.gateway("gateway").await, portal.personal_account("stranger").await);
    let mut secrets = Vec::new();
    for _ in 0..KEYS {
        secrets.push(portal.create_key("stranger", &account).await.1);
    }
    let process = portal.process("");
    let address = process.base.trim_start_matches("http://").parse().unwrap();
    let questions: Vec<_> = secrets.iter().map(|secret| question(&gateway, secret)).collect();
    let answer = call(address, &questions[0]);
    assert!(answer.contains("\"decision\":\"allow\""), "{answer}");
    let mut both = |round| tokio::task::block_in_place(|| (load(address, &questions, round), peer.round(round)));
    both(ROUND / 3);
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let (ours, theirs) = both(ROUND);
        println!("round {round}: portal {ours:7.0}/s   better-auth {theirs:7.0}/s   ratio {:.1}", ours / theirs);
        ratios.push(ours / theirs);
    }
    let median = median(&ratios);
    println!("ratio {median:.1} (median of {ROUNDS}; {CONNECTIONS} at a time, {KEYS} keys)");
    drop((peer, process, portal, database, server));
    std::process::exit(i32::from(median < LEAST_RATIO));
}

fn question(token: &str, secret: &str) -> Vec<u8> {
    let body = format!(r#"{{"key":"{secret}"}}"#);
    format!(
        "POST /v1/keys/verify HTTP/1.1\r\nHost: portal.example.test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The plugin in its process, which ends with the value.
struct Peer {
    child: Child,
    rounds: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(folder: &std::path::Path, database: &str) -> Self {
        let mut command = Command::new("node");
        command.arg("verify.mjs").current_dir(folder).env("DATABASE_URL", database);
        command.env("PEER_CONNECTIONS", CONNECTIONS.to_string()).env("PEER_KEYS", KEYS.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (rounds, said) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut peer = Self { child, rounds, said };
        assert_eq!(peer.said.next().unwrap().unwrap(), "ready");
        peer
    }

    /// Verifications per second.
    fn round(&mut self, round: Duration) -> f64 {
        writeln!(self.rounds, "{}", round.as_secs_f64()).unwrap();
        self.said.next().unwrap().unwrap().parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
