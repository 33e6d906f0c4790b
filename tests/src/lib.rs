//! The harness of the black-box tests: the real program with its real wiring on a free port, spoken to over HTTP only.

mod feed_line;
mod portal;
mod replica;
mod response;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

pub use feed_line::{FeedLine, Line};
pub use portal::{Portal, PortalBuilder};
pub use replica::{Process, Replica, serve_if_asked};
pub use response::Answer;

use std::time::{Duration, Instant};

use portal_dev_idp::SigningKey;

/// One signing key for all providers of a test binary: making one takes long.
pub static SIGNING_KEY: LazyLock<Arc<SigningKey>> =
    LazyLock::new(|| Arc::new(SigningKey::generate().expect("an RSA key can be made")));

/// A key that no provider knows.
pub static FOREIGN_KEY: LazyLock<Arc<SigningKey>> =
    LazyLock::new(|| Arc::new(SigningKey::generate().expect("an RSA key can be made")));

/// The root of the checkout.
///
/// # Panics
/// If the package was moved out of the workspace.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout").to_owned()
}

/// Asks until it is so, which it must be within a second.
///
/// # Panics
/// If it is not.
pub async fn soon(what: &str, is_so: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(1), what, is_so).await;
}

/// Asks until it is so.
///
/// # Panics
/// If it is not in time.
pub async fn within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}, within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
