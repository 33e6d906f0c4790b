//! The provider seen from outside: its key file, its tokens and its answers over HTTP.

mod http;
mod key_file;
mod tokens;

use std::sync::{Arc, OnceLock};

use portal_dev_idp::{DevIdp, SigningKey};
use portal_kernel::{Clock, Timestamp};

const NOW: i64 = 1_800_000_000;
const AZP: &str = "http://localhost:8080";

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW).expect("a moment that can be represented")
}

/// One key for all tests, since making one takes a while.
fn key() -> Arc<SigningKey> {
    static KEY: OnceLock<Arc<SigningKey>> = OnceLock::new();
    Arc::clone(KEY.get_or_init(|| Arc::new(SigningKey::generate().expect("a key"))))
}

fn idp() -> DevIdp {
    DevIdp::new(key(), Arc::new(StoppedClock))
}
