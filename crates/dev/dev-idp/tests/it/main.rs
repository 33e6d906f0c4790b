//! The provider seen from outside: its key file, its tokens, its answers over HTTP and its webhooks.

mod client;
mod events;
mod http;
mod invitations;
mod key_file;
mod lists;
mod receiver;
mod sessions;
mod tokens;
mod webhooks;
mod writes;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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

/// A clock that a test moves.
struct HandClock(AtomicI64);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(0)))
    }

    fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).expect("a short span"), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        now().plus(Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs()))
    }
}
