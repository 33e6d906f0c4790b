//! What the fuzz targets share: an instance whose keys are made anew in every run, so that no input can hold a signature of them.

use std::sync::{Arc, LazyLock};

use portal_clerk::{ClerkAuthenticator, ClerkOptions, StrictChoices};
use portal_testkit::FixedClock;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/clerk/minting.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests, which use more of it and may panic")]
mod minting;

pub const PAGE: &str = "https://portal.example/portal";
pub const NOW: i64 = minting::NOW;
pub const ISSUER: &str = minting::ISSUER;
pub const PARTY: &str = "https://portal.example.com";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime without drivers always starts"));

/// Verifies with the public key of the instance, at [`NOW`], without a cache and without any network.
pub static INSTANCE: LazyLock<ClerkAuthenticator> = LazyLock::new(|| {
    let mut options = options(StrictChoices::strict());
    options.token_cache_entries = 0;
    let settings = options.validate().expect("the settings are good");
    ClerkAuthenticator::new(settings, Arc::new(FixedClock::default())).expect("no client is needed")
});

/// Of the instance, with nothing that is optional.
pub fn options(choices: StrictChoices) -> ClerkOptions {
    let mut options = ClerkOptions::new(minting::PUBLISHABLE_KEY);
    options.jwt_key = Some(minting::KEY.pem());
    options.choices = choices;
    options
}

/// A token with these claims, signed by the instance, and the same signed by somebody else.
pub fn signed(claims: &serde_json::Value) -> (String, String) {
    let header = minting::header(&serde_json::json!({}));
    (minting::KEY.token(&header, claims), minting::OTHER.token(&header, claims))
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}
