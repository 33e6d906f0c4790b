//! One verification in process with a million keys in memory, and the memory that a key takes. Run: `cargo bench -p portal-gateway`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::hint::black_box;
use std::time::Instant;

use portal_gateway::testing::{Samples, holding};
use portal_gateway::{ExposeSecret, Gateway, KeyUse, SecretString, Verdict};

const KEYS: u32 = 1_000_000;
/// So many of them are presented one after the other: more than a processor has at hand, so that each is read from memory.
const SELDOM: u32 = 50_000;
/// Each so many-th of those is presented more often.
const STEP: usize = 50;
const ROUNDS: usize = 50;
/// Above this the benchmark fails.
const MOST_MICROS: f64 = 2.0;

fn main() {
    let (samples, mut known) = (Samples::default(), Vec::new());
    let before = resident();
    let started = Instant::now();
    let gateway = holding((0..KEYS).map(|number| {
        let (text, record) = samples.key(number);
        if number % (KEYS / SELDOM) == 0 {
            known.push(text);
        }
        record
    }));
    println!("{KEYS} keys made and taken in: {:.1} s", started.elapsed().as_secs_f64());
    match before.zip(resident()) {
        Some((before, after)) => {
            let grown = f64::from(u32::try_from((after - before) / 1024).unwrap());
            println!("memory: {:.0} bytes for each key ({grown:.0} KiB in all)", grown * 1024.0 / f64::from(KEYS));
        }
        None => println!("memory: not measured, this system tells nothing of it"),
    }
    // In a place of their own, as the text of a request is.
    let seldom: Vec<_> = known.iter().map(|text| SecretString::from(text.expose_secret())).collect();
    let known: Vec<_> = seldom.iter().step_by(STEP).cloned().collect();
    let unknown: Vec<_> = (0..SELDOM / 50).map(|number| samples.key(KEYS + number).0).collect();
    let noise: Vec<_> = known.iter().map(truncated).collect();

    let valid = median(&gateway, &known, true);
    println!("a key that is good:    {valid:.3} us (bar {MOST_MICROS} us)");
    println!("a key seldom used:     {:.3} us", median(&gateway, &seldom, true));
    println!("a key that is unknown: {:.3} us", median(&gateway, &unknown, false));
    println!("a text that is none:   {:.3} us", median(&gateway, &noise, false));
    std::process::exit(i32::from(valid > MOST_MICROS));
}

fn truncated(text: &SecretString) -> SecretString {
    text.expose_secret().trim_end_matches(char::is_alphanumeric).into()
}

/// Microseconds for one verification: the median of the rounds.
fn median(gateway: &Gateway, texts: &[SecretString], is_good: bool) -> f64 {
    let wanted = KeyUse { ip: "192.0.2.9".parse().ok(), scope: None, model: Some("llama-3") };
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for text in texts {
                let verdict = black_box(gateway.verify(black_box(text.expose_secret()), &wanted));
                assert_eq!(matches!(verdict, Verdict::Allow(_)), is_good);
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(texts.len()).unwrap())
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Bytes of this process in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}
