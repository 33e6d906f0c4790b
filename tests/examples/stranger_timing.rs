//! Whether a stranger can tell by the time it takes that an id is somebody's: requests with a real and with a random id, in turn, over
//! loopback to the real program. Run: `cargo run --release -p e2e --example stranger_timing [REQUESTS]`
#![expect(clippy::print_stdout, reason = "a tool prints its figures")]
#![expect(clippy::unwrap_used, reason = "a comparison that cannot run has nothing to say")]

use std::time::{Duration, Instant};

use e2e::Portal;
use e2e::world::{Ids, Operation, World, operations};
use reqwest::Method;

/// Of each kind, unless asked for more.
const REQUESTS: usize = 2_000;
/// Before anything is measured.
const WARM_UP: usize = 200;
/// A new token before the old one is over.
const TOKEN_LIVES: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let requests = std::env::args().nth(1).map_or(REQUESTS, |text| text.parse().unwrap());
    let world = World::new().await;
    let ids = Ids::of(&world).await;
    world.portal.get("/v1/me", &world.portal.token("stranger")).await;
    world.portal.hearing().await;
    println!("{requests} requests of each kind, medians in µs; p of a two-sided Mann-Whitney U test");
    println!("{:<68} {:>8} {:>8} {:>8} {:>7} {:>9}", "operation", "real", "random", "differ", "p", "slower");
    for operation in operations().iter().filter(|operation| operation.requirement == "session") {
        let Operation { method, path: route, .. } = operation;
        if !route.contains('{') {
            continue;
        }
        let (real, body) = (world.path(operation), world.body(operation).map(|body| body.to_string()));
        let random = (ids.replaced_in(&real), body.as_deref().map(|body| ids.replaced_in(body)));
        let (real, random) = times(&world.portal, method, [&(real, body), &random], requests).await;
        let (one, two) = (median(&real), median(&random));
        let (p, slower) = mann_whitney(&real, &random);
        let operation = format!("{method} {route}");
        println!("{operation:<68} {one:>8.1} {two:>8.1} {:>+8.1} {p:>7.3} {slower:>9.3}", one - two);
    }
    println!("slower: how often a request with a real id takes longer than one with a random id; 0.5 tells nothing");
}

/// Microseconds of both, in turn: whatever else the machine does meets both alike.
async fn times(
    portal: &Portal,
    method: &Method,
    asked: [&(String, Option<String>); 2],
    requests: usize,
) -> (Vec<f64>, Vec<f64>) {
    let mut found = [Vec::new(), Vec::new()];
    let (mut token, mut since) = (portal.token("stranger"), Instant::now());
    for round in 0..requests + WARM_UP {
        if since.elapsed() > TOKEN_LIVES {
            (token, since) = (portal.token("stranger"), Instant::now());
            portal.get("/v1/me", &token).await;
        }
        for which in [round % 2, 1 - round % 2] {
            let (path, body) = asked[which];
            let mut request = portal.request(method.clone(), path).bearer_auth(&token);
            if let Some(body) = body {
                request = request.header("Content-Type", "application/json").body(body.clone());
            }
            let started = Instant::now();
            let answer = portal.send(request).await;
            let took = started.elapsed();
            assert_eq!(answer.status, 404, "{answer:?}");
            if round >= WARM_UP {
                found[which].push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let [real, random] = found;
    (real, random)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// How likely two samples of one distribution differ as much as these, and how often one of the first is greater than one of the second.
#[expect(clippy::cast_precision_loss, reason = "numbers of requests are exact in a double")]
fn mann_whitney(one: &[f64], two: &[f64]) -> (f64, f64) {
    let mut all: Vec<_> = one.iter().map(|&time| (time, true)).chain(two.iter().map(|&time| (time, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, second, total) = (one.len() as f64, two.len() as f64, all.len() as f64);
    // Equal times share the mean of their ranks, which makes the spread smaller.
    let (mut ranks, mut ties, mut place) = (0.0, 0.0, 0);
    for equal in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let count = equal.len() as f64;
        let rank = place as f64 + f64::midpoint(1.0, count);
        ranks += rank * equal.iter().filter(|(_, of_one)| *of_one).count() as f64;
        ties += count.powi(3) - count;
        place += equal.len();
    }
    let greater = ranks - first * (first + 1.0) / 2.0;
    let spread = (first * second / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))).sqrt();
    let z = (greater - first * second / 2.0).abs() / spread;
    (2.0 * upper_tail(z), greater / (first * second))
}

/// Of the normal distribution, by Abramowitz and Stegun 26.2.17, to seven decimals.
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(z, 1.0);
    let factors = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let sum = factors.iter().fold(0.0_f64, |sum, factor| sum.mul_add(t, *factor)) * t;
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_tells_two_distributions_apart_and_one_not() {
        // Without any overlap z is 12.5 / sqrt(25 * 11 / 12).
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        let (p, greater) = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        near(p, 0.009_023);
        near(greater, 0.0);
        let (p, greater) = mann_whitney(&[1.0, 3.0, 5.0], &[1.0, 3.0, 5.0]);
        near(p, 1.0);
        near(greater, 0.5);
        near(upper_tail(1.959_964), 0.025);
    }
}
