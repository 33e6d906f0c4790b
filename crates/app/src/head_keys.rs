//! Ed25519 keys for the heads of audit trails.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_audit::{HeadSigner, HeadVerifier, Signature};
use portal_kernel::ExposeSecret;

use crate::settings::AuditSettings;

/// The key that signs.
pub(crate) struct Ed25519Signer(Ed25519KeyPair);

impl Ed25519Signer {
    /// None if the settings hold no signing key.
    pub(crate) fn new(settings: &AuditSettings) -> Option<Self> {
        let seed = settings.signing_key.as_ref()?;
        Ed25519KeyPair::from_seed_unchecked(seed.expose_secret()).ok().map(Self)
    }

    /// What verifies its signatures, in base64, as in `audit.public_keys`.
    pub(crate) fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }
}

impl HeadSigner for Ed25519Signer {
    fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.0.sign(message);
        Signature::from_bytes(signature.as_ref()).unwrap_or_else(|| unreachable!("a signature has 64 bytes"))
    }
}

/// The public keys that count.
pub(crate) struct Ed25519Verifier(Vec<[u8; 32]>);

impl Ed25519Verifier {
    /// That of the signing key, and those that the settings name.
    pub(crate) fn new(settings: &AuditSettings) -> Self {
        let signer = Ed25519Signer::new(settings);
        let own = signer.and_then(|signer| signer.0.public_key().as_ref().try_into().ok());
        Self(own.into_iter().chain(settings.public_keys.iter().copied()).collect())
    }
}

impl HeadVerifier for Ed25519Verifier {
    fn is_valid(&self, message: &[u8], signature: &Signature) -> bool {
        let made_by = |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(message, signature.as_bytes());
        self.0.iter().any(|key| made_by(key).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(seed: Option<[u8; 32]>, public_keys: Vec<[u8; 32]>) -> AuditSettings {
        AuditSettings {
            signing_key: seed.map(|seed| seed.to_vec().into()),
            public_keys,
            sign_every: Duration::from_mins(1),
        }
    }

    /// RFC 8032, 7.1, test 1.
    #[test]
    fn signatures_are_ed25519() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let signer = Ed25519Signer::new(&settings(Some(seed), Vec::new())).unwrap();
        assert_eq!(signer.public_key(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        let expected = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
            d25bf5f0595bbe24655141438e7a100b";
        assert_eq!(signer.sign(b"").to_string(), expected);
    }

    #[test]
    fn the_signing_key_and_named_public_keys_count_and_no_other() {
        let former = Ed25519Signer::new(&settings(Some([1; 32]), Vec::new())).unwrap();
        let public: [u8; 32] = former.0.public_key().as_ref().try_into().unwrap();
        let signature = former.sign(b"head");
        for (settings, expected) in [
            (settings(Some([1; 32]), Vec::new()), true),
            (settings(Some([2; 32]), Vec::new()), false),
            (settings(Some([2; 32]), vec![[9; 32], public]), true),
            (settings(None, vec![public]), true),
            (settings(None, Vec::new()), false),
        ] {
            let verifier = Ed25519Verifier::new(&settings);
            assert_eq!(verifier.is_valid(b"head", &signature), expected);
            assert!(!verifier.is_valid(b"another", &signature));
        }
        assert!(Ed25519Signer::new(&settings(None, vec![public])).is_none());
    }
}
