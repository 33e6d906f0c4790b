//! Public keys of partners who report published secrets: ECDSA over P-256, as in the key list of GitHub's partner programme.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_api_keys::ReportSignatures;

/// What precedes the point in the DER form of every such key (RFC 5480).
const HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An uncompressed point.
const POINT: usize = 65;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanningKey([u8; POINT]);

impl ScanningKey {
    /// Reads PEM, or the base64 between its first line and its last; none if it is no key over P-256.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).ok()?;
        let point: [u8; POINT] = der.strip_prefix(&HEAD)?.try_into().ok()?;
        (point[0] == 4).then_some(Self(point))
    }
}

/// The keys, by their identifiers.
pub(crate) struct ScanningKeys(pub(crate) BTreeMap<String, ScanningKey>);

impl ReportSignatures for ScanningKeys {
    fn knows(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn is_signed(&self, key: &str, signature: &str, body: &[u8]) -> bool {
        let Some(ScanningKey(point)) = self.0.get(key) else { return false };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElYKIBAUdZsmKvhmn03PnwXazviyw\n\
        TOvfcjtD3IDElypSrTXQkEnvn4hGkJ6V6EVTLyOFUSvoHhMsyZYV+tlR4A==\n\
        -----END PUBLIC KEY-----";
    /// Made with: printf '[{"token":"x"}]' | openssl dgst -sha256 -sign key.pem | base64 -w0
    const SIGNATURE: &str =
        "MEQCIHaPRg8Iz4PAD+AQJKel3oB3SGkE0JoChQK2bZxVmANjAiAziBKkthsFhnsBwLByabadpKO53XceA2eq6GtLsNtqHg==";

    #[test]
    fn a_signature_counts_for_its_key_and_its_bytes_alone() {
        let key = ScanningKey::parse(PEM).unwrap();
        let other = ScanningKey::parse("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDS/z+UXWxQB3uq6+EOZEO/HPdsSa5isKnqZd8FNSQF21poZRVdg4RCgu5/fCHuifzMfR4a5BhO087d21PCdO6Q==").unwrap();
        let keys = ScanningKeys(BTreeMap::from([("a1".to_owned(), key), ("b2".to_owned(), other)]));
        let body = br#"[{"token":"x"}]"#;
        assert!(keys.knows("a1") && keys.is_signed("a1", SIGNATURE, body));
        assert!(!keys.is_signed("b2", SIGNATURE, body), "another key's");
        assert!(!keys.knows("c3") && !keys.is_signed("c3", SIGNATURE, body));
        assert!(!keys.is_signed("a1", SIGNATURE, br#"[{"token":"y"}]"#));
        assert!(!keys.is_signed("a1", SIGNATURE, br#"[{"token":"x"}] "#));
        for signature in ["", "AAAA", "no base64", &SIGNATURE[4..]] {
            assert!(!keys.is_signed("a1", signature, body), "{signature}");
        }
    }

    #[test]
    fn a_key_is_read_with_and_without_its_lines_and_no_other_kind_is() {
        let bare: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(ScanningKey::parse(PEM), ScanningKey::parse(&bare));
        assert!(ScanningKey::parse(&bare).is_some());
        let compressed = STANDARD.encode([&HEAD[..], &[2; 33]].concat());
        for text in ["", "AAAA", "no base64", &bare[..80], &compressed] {
            assert_eq!(ScanningKey::parse(text), None, "{text}");
        }
    }
}
