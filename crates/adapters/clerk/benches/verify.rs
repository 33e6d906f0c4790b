//! Verification beside a bare `jsonwebtoken::decode` of the same token with the same key, in alternating rounds.
//!
//! Prints medians per token and of the ratios; ends with an error if verification takes more than 1.25 times as long, or a token seen
//! before more than 2 µs.
#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use portal_clerk::{
    AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, RequestAuthenticator, RequestParts, StrictChoices,
};
use portal_testkit::FixedClock;
use serde_json::{Value, json};

#[path = "../tests/clerk/minting.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests, which use more of it and may panic")]
mod minting;

const ROUNDS: usize = 1_001;
/// So few that both sides of a ratio meet the same load of the machine.
const PER_ROUND: u32 = 20;
const LARGEST_RATIO: f64 = 1.25;
/// For a request whose token was seen before.
const LONGEST_HIT_MICROS: f64 = 2.0;

fn authenticator(entries: usize, choices: StrictChoices) -> ClerkAuthenticator {
    let mut options = ClerkOptions::new(minting::PUBLISHABLE_KEY);
    options.jwt_key = Some(minting::KEY.pem());
    options.authorized_parties = vec!["https://portal.example".to_owned()];
    options.token_cache_entries = entries;
    options.choices = choices;
    let settings = options.validate().expect("the settings are good");
    ClerkAuthenticator::new(settings, Arc::new(FixedClock::default())).expect("no client is needed")
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn micros(times: &[Duration]) -> f64 {
    median(times.iter().map(|time| time.as_secs_f64() / f64::from(PER_ROUND) * 1e6).collect())
}

/// Of rounds that followed each other.
fn ratio(times: &[Duration], beside: &[Duration]) -> f64 {
    median(times.iter().zip(beside).map(|(time, other)| time.as_secs_f64() / other.as_secs_f64()).collect())
}

async fn round(work: impl AsyncFn()) -> Duration {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        work().await;
    }
    start.elapsed()
}

/// Whether both bars are held.
async fn measure() -> bool {
    let token = minting::KEY.session(&json!({}));
    let request =
        RequestParts::new("GET", "https://portal.example/v1/me").header("authorization", format!("Bearer {token}"));
    let (n, e) = minting::KEY.components();
    let key = DecodingKey::from_rsa_raw_components(&n, &e);
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;

    let strict = authenticator(0, StrictChoices::strict());
    let exact = authenticator(0, StrictChoices::exact());
    let caching = authenticator(10_000, StrictChoices::strict());

    let bare = async || {
        let decoded = decode::<Value>(black_box(&token), &key, &validation);
        assert!(black_box(decoded).is_ok());
    };
    let in_strict = async || assert!(black_box(strict.verify_token(black_box(&token)).await).is_ok());
    let in_exact = async || assert!(black_box(exact.verify_token(black_box(&token)).await).is_ok());
    let on_miss = async || {
        assert!(
            black_box(strict.authenticate_request(black_box(&request), &AuthenticateRequestOptions::API).await)
                .reason()
                .is_none()
        );
    };
    let on_hit = async || {
        assert!(
            black_box(caching.authenticate_request(black_box(&request), &AuthenticateRequestOptions::API).await)
                .reason()
                .is_none()
        );
    };

    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(round(&bare).await);
        times[1].push(round(&in_strict).await);
        times[2].push(round(&in_exact).await);
        times[3].push(round(&on_miss).await);
        times[4].push(round(&on_hit).await);
    }
    let [bare, in_strict, in_exact, on_miss, on_hit] = &times;

    println!("token of {} bytes, {ROUNDS} rounds of {PER_ROUND}, medians in µs and of the ratios", token.len());
    println!("bare decode           {:8.2}", micros(bare));
    let mut worst = 0.0_f64;
    for (what, times) in
        [("verify, strict    ", in_strict), ("verify, exact     ", in_exact), ("authenticate, miss", on_miss)]
    {
        let ratio = ratio(times, bare);
        println!("{what}    {:8.2}  ratio {ratio:.2}", micros(times));
        worst = worst.max(ratio);
    }
    println!("authenticate, hit     {:8.2}", micros(on_hit));
    worst <= LARGEST_RATIO && micros(on_hit) <= LONGEST_HIT_MICROS
}

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benchmarks too, without this argument and without optimisation.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    if runtime.block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
