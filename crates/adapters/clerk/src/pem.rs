//! The public key of an instance in PEM form, which verifies tokens without any network call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::aws_lc;

use crate::rsa_key::{InvalidRsaKey, VerificationKey};

const LABELS: [&str; 2] = ["PUBLIC KEY", "RSA PUBLIC KEY"];

/// Reads SPKI or PKCS#1.
///
/// Environment files cannot always hold line breaks: the two characters `\n` count as one, and the armour may be
/// missing, as Clerk's SDK allows. A private key or a certificate is refused.
pub(crate) fn parse(text: &str) -> Result<VerificationKey, InvalidRsaKey> {
    let text = text.replace("\\r", "").replace("\\n", "\n");
    let body = body(text.trim()).ok_or(InvalidRsaKey::NotPem)?;
    let base64: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(|_| InvalidRsaKey::NotPem)?;
    let (n, e) = (aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&der)
        .map_err(|_| InvalidRsaKey::NotRsa)?;
    VerificationKey::from_components(&n, &e, Some(Algorithm::RS256))
}

fn body(text: &str) -> Option<&str> {
    let Some(armoured) = text.strip_prefix("-----BEGIN ") else {
        return (!text.is_empty()).then_some(text);
    };
    let (label, rest) = armoured.split_once("-----")?;
    let body = rest.strip_suffix(format!("-----END {label}-----").as_str())?;
    LABELS.contains(&label).then_some(body)
}
