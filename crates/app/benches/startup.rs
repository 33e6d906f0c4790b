//! How long `portal serve` takes from its start to its first "ready", with the database up, and how much memory it then holds.
//! Run: `cargo bench -p portal-app --bench startup`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portal_dev_idp::{Instance, SigningKey};
use portal_dev_postgres::testing::admin_url;
use portal_postgres::testing::TestDatabase;

const RUNS: usize = 7;
/// Beyond these the benchmark fails.
const MOST_SECONDS: f64 = 0.3;
const MOST_MEGABYTES: f64 = 60.0;

#[tokio::main]
async fn main() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let admin = admin_url(checkout).unwrap_or_else(|error| panic!("{error}"));
    let database = TestDatabase::create(&admin).await.unwrap();
    let instance = Instance::of(&SigningKey::generate().unwrap());
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let started = Instant::now();
        let mut portal = serve(&instance, database.url(), port);
        while !ready(port) {
            assert!(started.elapsed() < Duration::from_secs(10), "it never became ready");
            assert!(portal.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        let time = started.elapsed();
        let megabytes = resident(portal.id());
        portal.kill().unwrap();
        portal.wait().unwrap();
        println!("run {run}: ready after {:.3} s, {megabytes:.1} MB resident", time.as_secs_f64());
        times.push(time.as_secs_f64());
        sizes.push(megabytes);
    }
    times.sort_by(f64::total_cmp);
    sizes.sort_by(f64::total_cmp);
    println!(
        "ready after {:.3} s (median), {:.3} s (worst); {:.1} MB resident (worst)",
        times[RUNS / 2],
        times[RUNS - 1],
        sizes[RUNS - 1]
    );
    let good = times[RUNS / 2] <= MOST_SECONDS && sizes[RUNS - 1] <= MOST_MEGABYTES;
    drop(database);
    std::process::exit(i32::from(!good));
}

fn serve(instance: &Instance, database: &str, port: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portal"))
        .arg("serve")
        .env_clear()
        .env("PORTAL_PUBLIC_URL", format!("http://localhost:{port}"))
        .env("PORTAL_HTTP__BIND", format!("127.0.0.1:{port}"))
        .env("PORTAL_KEYS__PEPPERS__1", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=")
        .env("PORTAL_AUDIT__SIGNING_KEY", "c2lnbmluZyBrZXkgb2YgdGhlIHRlc3RzIDMyIGJ5dGU=")
        .env("DATABASE_URL", database)
        .env("CLERK_PUBLISHABLE_KEY", instance.publishable_key())
        .env("CLERK_SECRET_KEY", instance.secret_key())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn ready(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// What the kernel says the process holds in memory.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}
