//! `[audit]`

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_kernel::SecretSlice;

use super::reader::Reader;

const MAKE_ONE: &str = "make one with: openssl rand -base64 32";

/// `[audit]`
#[derive(Debug)]
pub struct AuditSettings {
    /// Seed of the key that signs the heads of audit trails, 32 bytes. The server has one; whoever only verifies needs none.
    pub signing_key: Option<SecretSlice<u8>>,
    /// Public keys whose signatures count besides.
    pub public_keys: Vec<[u8; 32]>,
    /// How often the server signs.
    pub sign_every: Duration,
}

impl AuditSettings {
    /// For the server, which signs.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let given = reader.required("audit.signing_key", MAKE_ONE).is_some();
        Self::read_partly(reader).filter(|_| given)
    }

    /// For an operator, who may have no key.
    pub(super) fn read_partly(reader: &mut Reader) -> Option<Self> {
        let signing_key = reader.text("audit.signing_key").map(|text| bytes(&text));
        if signing_key == Some(None) {
            reader.mistake("audit.signing_key", &format!("must be base64 of 32 random bytes; {MAKE_ONE}"));
        }
        let public_keys = reader.list("audit.public_keys");
        let public_keys: Option<Vec<_>> = public_keys.iter().map(|text| bytes(text)).collect();
        if public_keys.is_none() {
            reader.mistake("audit.public_keys", "must be public keys of 32 bytes in base64, as the log tells them");
        }
        let sign_every = reader.number("audit.sign_every_ms", 60_000, 10..=3_600_000);
        let signing_key = signing_key.flatten().map(|bytes| bytes.to_vec().into());
        Some(Self { signing_key, public_keys: public_keys?, sign_every: Duration::from_millis(sign_every?) })
    }
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}
