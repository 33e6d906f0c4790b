//! How long a revoked key is still let in: three servers in processes of their own, all of them asked about keys all the time, while a
//! fourth revokes a hundred keys in each second. Run: `cargo run --release -p e2e --example revocation [SECONDS]`
#![expect(clippy::print_stdout, reason = "a tool prints its figures")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot run has nothing to say")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::{FeedLine, Line, Portal, PortalBuilder, Process, serve_if_asked};
use futures_util::{StreamExt, stream};
use portal_dev_idp::people;
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// Of each of the four conditions, unless asked for more.
const SECONDS: usize = 10;
const PER_SECOND: usize = 100;
const SERVERS: usize = 3;
/// Connections that ask each server about keys that stay.
const ASKING: usize = 2;
/// As many as one question may have.
const MOST_WATCHED: usize = 256;
/// Beyond these the tool fails.
const MOST_P99: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    serve_if_asked();
    let seconds = std::env::args().nth(1).map_or(SECONDS, |text| text.parse().unwrap());
    let portal = PortalBuilder::default().set("PORTAL_KEYS__MOST_PER_ACCOUNT", "10000").start().await;
    let gateway = portal.gateway("gateway").await;
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        let line = FeedLine::to(portal.database.url()).await;
        let process = portal.process_with("", &[("PORTAL_DATABASE__DIRECT_URL", &line.url())]);
        servers.push(Arc::new(Server {
            base: process.base.clone(),
            _process: process,
            line,
            gateway: gateway.clone(),
        }));
    }
    portal.hearing().await;
    println!("{SERVERS} servers, {PER_SECOND} revocations per second for {seconds} s in each condition");
    println!(
        "{:<22} {:>13} {:>9} {:>9} {:>9} {:>11}",
        "condition", "revocations/s", "p50, ms", "p99, ms", "most, ms", "answers/s"
    );
    let mut good = true;
    for (name, line, is_held) in [
        ("sound", Line::Sound, false),
        ("doorbell cut", Line::WithoutDoorbell, false),
        ("poll stalled", Line::Stalled, false),
        ("transaction held open", Line::Sound, true),
    ] {
        let keys = keys(&portal, seconds * PER_SECOND).await;
        let mut held = portal.database.session().await.unwrap();
        if is_held {
            held.execute("BEGIN; INSERT INTO changes (kind, subject) VALUES ('session', 'held')").await.unwrap();
        }
        let Found { delays, revocations, answers } = condition(&portal, &servers, line, keys).await;
        let at = |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)];
        let (p99, most) = (at(99), delays[delays.len() - 1]);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99_ms, most_ms) = (ms(at(50)), ms(p99), ms(most));
        println!("{name:<22} {revocations:>13.0} {p50:>9.1} {p99_ms:>9.1} {most_ms:>9.1} {answers:>11.0}");
        good &= p99 <= MOST_P99 && most <= MOST;
    }
    println!("from the answer to the revocation until the last answer that let the key in, on each server");
    std::process::exit(i32::from(!good));
}

/// A server in a process of its own, whose feed has a line that can be spoilt.
struct Server {
    base: String,
    _process: Process,
    line: FeedLine,
    gateway: String,
}

impl Server {
    /// What it says about the keys, in their order; nothing where it says that it cannot know.
    async fn asked(&self, client: &Client, secrets: &[String]) -> Option<Vec<bool>> {
        let keys: Vec<_> = secrets.iter().map(|secret| json!({ "key": secret })).collect();
        let request = client.post(format!("{}/v1/keys/verify-batch", self.base)).bearer_auth(&self.gateway);
        let answer = request.json(&json!({ "keys": keys })).send().await.unwrap();
        if answer.status() == 503 {
            return None;
        }
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        let is_let_in = |one: &Value| one["decision"] == "allow";
        Some(answer["results"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(is_let_in).collect())
    }
}

/// A key that was revoked, as one server sees it.
struct Watched {
    revoked: Instant,
    last_let_in: Duration,
}

/// What is still let in by one server.
type Watching = Mutex<HashMap<String, Watched>>;

/// What came of one condition.
struct Found {
    /// On all servers, from the shortest to the longest.
    delays: Vec<Duration>,
    /// How many there were per second.
    revocations: f64,
    /// How many answers about keys the servers gave per second meanwhile.
    answers: f64,
}

async fn condition(portal: &Portal, servers: &[Arc<Server>], line: Line, keys: Vec<(String, String, String)>) -> Found {
    let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let secrets: Vec<_> = keys.iter().map(|(_, _, secret)| secret.clone()).collect();
    let (_, staying) = portal.create_key("stranger", &portal.personal_account("stranger").await).await;
    let (mut watching, mut tasks) = (Vec::new(), Vec::new());
    for server in servers {
        let client = Client::new();
        // Known there, so that it is memory that has to forget.
        for some in secrets.chunks(MOST_WATCHED) {
            assert!(server.asked(&client, some).await.unwrap().iter().all(|is_let_in| *is_let_in));
        }
        server.line.set(line);
        let watched = Arc::new(Watching::default());
        tasks.push(tokio::spawn(watch(server.clone(), watched.clone(), over.clone())));
        watching.push(watched);
        for _ in 0..ASKING {
            tokio::spawn(ask(server.clone(), staying.clone(), over.clone(), answers.clone()));
        }
    }
    let count = keys.len();
    let (since, mut turn) = (Instant::now(), tokio::time::interval(Duration::from_secs(1) / 100));
    let mut revoking = tokio::task::JoinSet::new();
    for (name, key, secret) in keys {
        turn.tick().await;
        let request = portal.request(Method::POST, &format!("/v1/api-keys/{key}/revoke"));
        let (request, watching) = (request.bearer_auth(portal.token(&name)), watching.clone());
        revoking.spawn(async move {
            loop {
                let answer = request.try_clone().unwrap().send().await.unwrap();
                if answer.status() == 200 {
                    break;
                }
                // More than the database takes at a time: once more, as any client would.
                assert_eq!(answer.status(), 503);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let revoked = Instant::now();
            for watched in &watching {
                let watch = Watched { revoked, last_let_in: Duration::ZERO };
                watched.lock().unwrap().insert(secret.clone(), watch);
            }
        });
    }
    while let Some(revoked) = revoking.join_next().await {
        revoked.unwrap();
    }
    let elapsed = since.elapsed();
    let (revocations, answers) = (per_second(count, elapsed), per_second(answers.load(Ordering::Relaxed), elapsed));
    over.store(true, Ordering::Relaxed);
    let mut delays = Vec::new();
    for task in tasks {
        delays.extend(task.await.unwrap());
    }
    for server in servers {
        server.line.set(Line::Sound);
    }
    delays.sort();
    Found { delays, revocations, answers }
}

#[expect(clippy::cast_precision_loss, reason = "counts of some seconds are exact in a double")]
fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Asks about all revoked keys at once, again and again, until none is let in.
async fn watch(server: Arc<Server>, watched: Arc<Watching>, over: Arc<AtomicBool>) -> Vec<Duration> {
    let (client, mut delays) = (Client::new(), Vec::new());
    loop {
        let secrets: Vec<_> = watched.lock().unwrap().keys().take(MOST_WATCHED).cloned().collect();
        if secrets.is_empty() && over.load(Ordering::Relaxed) {
            return delays;
        }
        if secrets.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let Some(said) = server.asked(&client, &secrets).await else { continue };
        let mut watched = watched.lock().unwrap();
        for (secret, is_let_in) in secrets.into_iter().zip(said) {
            if is_let_in {
                let watch = watched.get_mut(&secret).unwrap();
                watch.last_let_in = watch.revoked.elapsed();
                assert!(watch.last_let_in < MOST * 2, "a revoked key goes on");
            } else {
                delays.extend(watched.remove(&secret).map(|watch| watch.last_let_in));
            }
        }
    }
}

/// Asks about a key that stays.
async fn ask(server: Arc<Server>, secret: String, over: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let (client, secrets) = (Client::new(), [secret]);
    while !over.load(Ordering::Relaxed) {
        if let Some(said) = server.asked(&client, &secrets).await {
            assert!(said[0], "a key that stays is let in");
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// That many keys, of one person after the other: who, the key's id, its text.
async fn keys(portal: &Portal, count: usize) -> Vec<(String, String, String)> {
    let mut accounts = Vec::new();
    for name in people::NAMES {
        accounts.push((name, portal.personal_account(name).await));
    }
    let make = |number: usize| {
        let (name, account) = &accounts[number % accounts.len()];
        async move {
            let (key, secret) = portal.create_key(name, account).await;
            ((*name).to_owned(), key, secret)
        }
    };
    stream::iter(0..count).map(make).buffered(8).collect().await
}
