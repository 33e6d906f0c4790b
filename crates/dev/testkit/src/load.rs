//! Busy connections over loopback, for measurements.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Busy at a time.
pub const CONNECTIONS: usize = 8;

/// One request and the whole answer.
///
/// # Panics
/// If the server cannot be reached.
pub fn call(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server answers");
    stream.write_all(request).expect("the server answers");
    let mut buffer = vec![0; 16_384];
    let mut length = 0;
    while !complete(&buffer[..length]) {
        length += stream.read(&mut buffer[length..]).expect("the server answers");
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// What two servers answer alike: all but the time and the request's id.
pub fn comparable(answer: &str) -> Vec<String> {
    let mut lines: Vec<_> = answer.lines().filter(|line| !line.starts_with("date:")).map(ToOwned::to_owned).collect();
    lines.iter_mut().filter(|line| line.starts_with("x-request-id")).for_each(|line| line.truncate(12));
    lines.sort();
    lines
}

/// Answers per second of a server that is sent these requests in turn.
///
/// # Panics
/// If an answer is not 200.
pub fn load(address: SocketAddr, requests: &[Vec<u8>], round: Duration) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("the server answers");
                stream.set_nodelay(true).expect("the server answers");
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    let request = &requests[count.fetch_add(1, Ordering::Relaxed) % requests.len()];
                    stream.write_all(request).expect("the server answers");
                    let mut length = 0;
                    while !complete(&buffer[..length]) {
                        length += stream.read(&mut buffer[length..]).expect("the server answers");
                    }
                    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
                }
            });
        }
        std::thread::sleep(round);
        stop.store(true, Ordering::Relaxed);
    });
    per_second(count.load(Ordering::Relaxed), started.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "counts of some seconds are exact in a double")]
/// A rate.
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The one in the middle, or between the two.
pub fn median(ratios: &[f64]) -> f64 {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// All answers here end with a JSON object.
fn complete(answer: &[u8]) -> bool {
    answer.ends_with(b"}")
}
