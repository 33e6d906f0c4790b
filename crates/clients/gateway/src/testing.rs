//! For tests of gateways, and for the benchmark of this crate: a gateway that knows given keys and follows nobody.
#![expect(clippy::missing_panics_doc, reason = "what is made here is made of constants")]

use std::sync::atomic::{AtomicU64, Ordering};

use portal_api_keys::credential::mint;
use portal_api_keys::{KeyEnvironment, KeyPolicy, StoredKey};
use portal_kernel::{Entropy, SecretString, Timestamp};

pub use portal_api_keys::{FeedRecord, RateLimit, RateLimits};

use crate::record::Answer;
use crate::{Brand, Gateway, GatewaySettings, Peppers, peppers};

/// The pepper of all samples, in base64.
pub const PEPPER: &str = "cGVwcGVyIG9mIHRoZSBleGFtcGxlLCBvZiAzMiBieXRlcw==";

/// Bytes that are the same in each run.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let mixed = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[0];
        }
    }
}

/// Makes keys.
pub struct Samples {
    peppers: Peppers,
    entropy: Counting,
}

impl Default for Samples {
    fn default() -> Self {
        Self { peppers: sample_peppers(), entropy: Counting(AtomicU64::new(1)) }
    }
}

fn sample_peppers() -> Peppers {
    peppers([(1, PEPPER)]).expect("a pepper")
}

impl Samples {
    /// The text of a key without restrictions, and its record. The number is in its ids.
    pub fn key(&self, number: u32) -> (SecretString, FeedRecord) {
        let environment = KeyEnvironment::Live;
        let minted = mint(Brand::default().prefix(environment), &self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        let stored = StoredKey {
            key: format!("key_{number:026}").parse().expect("digits make an id"),
            account: format!("acc_{number:026}").parse().expect("digits make an id"),
            environment,
            digest,
            pepper_version,
            policy: KeyPolicy::default(),
            secret_expires_at: None,
            secret_revoked_at: None,
            expires_at: None,
            disabled_at: None,
            revoked_at: None,
            revision: 1,
        };
        (minted.text, FeedRecord { kid: minted.kid, stored, account_is_active: true })
    }
}

/// A gateway that knows these keys for ever. Where it would ask, nobody answers.
pub fn holding(records: impl IntoIterator<Item = FeedRecord>) -> Gateway {
    let settings = GatewaySettings::new("http://127.0.0.1:9", "nobody asks".into(), sample_peppers());
    let gateway = Gateway::alone(settings).expect("an HTTP client");
    for record in records {
        gateway.keys.keep(Answer::Record(record));
    }
    gateway.freshness.believe_for_ever(now());
    gateway
}

/// The time at the database when a gateway is made by [`holding`].
pub fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000).expect("a year that can be represented")
}
