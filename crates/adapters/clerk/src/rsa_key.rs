//! An RSA public key that signatures are checked with.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

const MIN_BITS: usize = 2048;
/// The crypto library refuses larger ones.
const MAX_BITS: usize = 8192;

/// Why a public key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRsaKey {
    /// Not a public key in PEM form.
    #[error("is not an RSA public key in PEM form (-----BEGIN PUBLIC KEY-----)")]
    NotPem,
    /// Readable, but not the numbers of an RSA public key.
    #[error("is not an RSA public key")]
    NotRsa,
    /// The modulus is too short to be safe, or longer than the crypto library accepts.
    #[error("has a modulus of {bits} bits; 2048 to 8192 are accepted")]
    Size {
        /// Length of the modulus.
        bits: usize,
    },
}

/// A key with the fact whether it is still in force. Never changes otherwise.
pub(crate) struct VerificationKey {
    /// None if the source lists it without being able to be used here.
    decoding: Option<DecodingKey>,
    /// The source says that the key is for this algorithm and nothing else.
    only: Option<Algorithm>,
    retired: AtomicBool,
}

impl VerificationKey {
    /// `only`: the one algorithm that the source allows, if it names one.
    pub(crate) fn from_components(n: &[u8], e: &[u8], only: Option<Algorithm>) -> Result<Self, InvalidRsaKey> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = bit_length(n);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(InvalidRsaKey::Size { bits });
        }
        let odd = |number: &[u8]| number.last().is_some_and(|low| low & 1 == 1);
        // An exponent of 1 would make every message its own signature; beyond 33 bits no library verifies.
        if !odd(n) || !odd(e) || !(2..=33).contains(&bit_length(e)) {
            return Err(InvalidRsaKey::NotRsa);
        }
        let decoding = Some(DecodingKey::from_rsa_raw_components(n, e));
        Ok(Self { decoding, only, retired: AtomicBool::new(false) })
    }

    /// From the `n` and `e` of a JWK.
    pub(crate) fn from_jwk(n: &str, e: &str, only: Option<Algorithm>) -> Result<Self, InvalidRsaKey> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| InvalidRsaKey::NotRsa);
        Self::from_components(&decode(n)?, &decode(e)?, only)
    }

    /// An id that the source lists with something that checks no signature.
    pub(crate) fn unusable() -> Self {
        Self { decoding: None, only: None, retired: AtomicBool::new(false) }
    }

    /// The form that jsonwebtoken works with; none if the key is not for this algorithm.
    pub(crate) fn decoding(&self, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.decoding.as_ref().filter(|_| self.only.is_none_or(|only| only == algorithm))
    }

    /// The same numbers for the same algorithms.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.only == other.only && self.same_numbers_as(other)
    }

    pub(crate) fn same_numbers_as(&self, other: &Self) -> bool {
        match (self.decoding.as_ref().map(DecodingKey::kind), other.decoding.as_ref().map(DecodingKey::kind)) {
            (
                Some(DecodingKeyKind::RsaModulusExponent { n, e }),
                Some(DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e }),
            ) => n == other_n && e == other_e,
            _ => false,
        }
    }

    /// Whether the source took the key away since it was loaded.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

/// Of a number without leading zeros.
fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(n: &[u8], e: &[u8]) -> Result<(), InvalidRsaKey> {
        VerificationKey::from_components(n, e, None).map(|_| ())
    }

    #[test]
    fn a_short_modulus_is_refused_whatever_its_padding() {
        assert_eq!(check(&[0xc1; 256], &[1, 0, 1]), Ok(()));
        assert_eq!(check(&[&[0; 128][..], &[0xc1; 128]].concat(), &[1, 0, 1]), Err(InvalidRsaKey::Size { bits: 1024 }));
        assert_eq!(check(&[&[0x7f][..], &[0xc1; 255]].concat(), &[1, 0, 1]), Err(InvalidRsaKey::Size { bits: 2047 }));
        assert_eq!(check(&[0xc1; 1025], &[1, 0, 1]), Err(InvalidRsaKey::Size { bits: 8200 }));
        assert_eq!(check(&[], &[1, 0, 1]), Err(InvalidRsaKey::Size { bits: 0 }));
    }

    #[test]
    fn numbers_that_cannot_be_a_key_are_refused() {
        for e in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[0xff; 5]] {
            assert_eq!(check(&[0xc1; 256], e), Err(InvalidRsaKey::NotRsa), "{e:?}");
        }
        assert_eq!(check(&[0xc0; 256], &[1, 0, 1]), Err(InvalidRsaKey::NotRsa));
        assert!(matches!(VerificationKey::from_jwk("not base64!", "AQAB", None), Err(InvalidRsaKey::NotRsa)));
    }
}
