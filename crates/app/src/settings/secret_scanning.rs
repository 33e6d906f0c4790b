//! `[secret_scanning]`

use std::collections::BTreeMap;

use portal_kernel::ExposeSecret;

use super::reader::Reader;
use crate::scanning_keys::ScanningKey;

/// Reads `[secret_scanning]`: the public keys of partners, by their identifiers.
pub(super) fn read(reader: &mut Reader) -> Option<BTreeMap<String, ScanningKey>> {
    let mut keys = BTreeMap::new();
    let mut complete = true;
    for (identifier, text) in reader.table("secret_scanning.keys") {
        if let Some(key) = ScanningKey::parse(text.expose_secret()) {
            keys.insert(identifier, key);
        } else {
            complete = false;
            let key = format!("secret_scanning.keys.{identifier}");
            reader.mistake(&key, "must be a public key over P-256, as in the partner's list: PEM or its base64");
        }
    }
    complete.then_some(keys)
}
