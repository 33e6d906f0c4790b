//! Verifications of API keys per second, beside those of better-auth's api-key plugin on the same PostgreSQL and disk: ours over HTTP, the
//! plugin's in its own process, as it offers them to server code alone. Both know a hundred keys, without limits of their own.
//! Run: `cargo run --release -p e2e --example better_auth`
#![expect(clippy::print_stdout, reason = "a tool prints its figures")]
#![expect(clippy::unwrap_used, reason = "a comparison that cannot run has nothing to say")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{PortalBuilder, checkout, serve_if_asked};
use futures_util::future::join_all;
use portal_dev_postgres::testing::OwnServer;
use portal_postgres::testing::TestDatabase;
use reqwest::Client;
use serde_json::{Value, json};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(3);
const KEYS: usize = 100;
/// Busy at a time, and to the database, on both sides.
const CONNECTIONS: usize = 8;
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
    let ask = Asking { url: format!("{}/v1/keys/verify", process.base), gateway, secrets };
    ask.round(ROUND / 3).await;
    tokio::task::block_in_place(|| peer.round(ROUND / 3));
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let ours = ask.round(ROUND).await;
        let theirs = tokio::task::block_in_place(|| peer.round(ROUND));
        println!("round {round}: portal {ours:7.0}/s   better-auth {theirs:7.0}/s   ratio {:.1}", ours / theirs);
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    println!("ratio {median:.1} (median of {ROUNDS}; {CONNECTIONS} at a time, {KEYS} keys)");
    drop((peer, process, portal, database, server));
    std::process::exit(i32::from(median < LEAST_RATIO));
}

/// Questions to a server of ours.
struct Asking {
    url: String,
    gateway: String,
    secrets: Vec<String>,
}

impl Asking {
    /// Answers per second.
    async fn round(&self, round: Duration) -> f64 {
        let (over, count, client) = (AtomicBool::new(false), AtomicUsize::new(0), Client::new());
        let ask = || async {
            while !over.load(Ordering::Relaxed) {
                let secret = &self.secrets[count.fetch_add(1, Ordering::Relaxed) % self.secrets.len()];
                let request = client.post(&self.url).bearer_auth(&self.gateway).json(&json!({ "key": secret }));
                let answer: Value = request.send().await.unwrap().json().await.unwrap();
                assert_eq!(answer["decision"], "allow", "{answer}");
            }
        };
        let since = Instant::now();
        let end = async {
            tokio::time::sleep(round).await;
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(end, join_all((0..CONNECTIONS).map(|_| ask())));
        #[expect(clippy::cast_precision_loss, reason = "counts of some seconds are exact in a double")]
        let count = count.load(Ordering::Relaxed) as f64;
        count / since.elapsed().as_secs_f64()
    }
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
