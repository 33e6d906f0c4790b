//! How long each library takes for the same good token, in alternating rounds.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use portal_clerk::Timestamp;

use crate::sides::{Ours, Theirs};
use crate::tokens::good;

const ROUNDS: usize = 1_001;
/// So few that both sides of a ratio meet the same load of the machine.
const PER_ROUND: u32 = 20;

async fn round(accepts: impl AsyncFn() -> bool) -> Duration {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        assert!(black_box(accepts().await));
    }
    start.elapsed()
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

pub(crate) async fn measure() {
    let now = Timestamp::from(SystemTime::now());
    let token = good(now.unix_seconds());
    let (theirs, miss, hit) = (Theirs::new(), Ours::strict(now, 0), Ours::strict(now, 10_000));
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(round(async || theirs.accepts(black_box(&token)).await).await);
        times[1].push(round(async || miss.accepts(black_box(&token)).await).await);
        times[2].push(round(async || hit.accepts(black_box(&token)).await).await);
    }
    let [theirs, miss, hit] = &times;
    println!("\ntoken of {} bytes, {ROUNDS} rounds of {PER_ROUND}, medians in µs and of the ratios", token.len());
    println!("clerk-rs, key at hand       {:8.2}", micros(theirs));
    println!("portal-clerk, strict, miss  {:8.2}  ratio {:.2}", micros(miss), ratio(miss, theirs));
    println!("portal-clerk, strict, hit   {:8.2}  ratio {:.3}", micros(hit), ratio(hit, theirs));
}
