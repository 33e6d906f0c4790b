//! Signed heads: how far chains had come, at times that are over.
//!
//! Somebody who may change the database can compute a whole chain anew. A signature over how far a chain had come, kept also outside of
//! the database, says what it was before.

use std::fmt;
use std::str::FromStr;

use portal_kernel::Timestamp;

use crate::chain::{Encoding, InvalidHex, hex, unhex};
use crate::{Head, Trail};

/// First byte of every signed message, and what it is.
const VERSION: u8 = 1;
const CONTEXT: &str = "portal audit head";

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// None unless there are 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// For adapters that store it.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Signature {
    /// Lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        unhex(text).map(Self)
    }
}

/// How far a chain had come at that time, signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// Whose chain.
    pub trail: Trail,
    /// How far.
    pub head: Head,
    /// When it was signed.
    pub at: Timestamp,
    /// Over all of that.
    pub signature: Signature,
}

impl SignedHead {
    /// Has the head signed.
    pub fn new(signer: &dyn HeadSigner, trail: Trail, head: Head, at: Timestamp) -> Self {
        Self { trail, head, at, signature: signer.sign(&message(trail, head, at)) }
    }

    /// Whether one of the known keys signed exactly this.
    pub fn is_valid(&self, verifier: &dyn HeadVerifier) -> bool {
        verifier.is_valid(&message(self.trail, self.head, self.at), &self.signature)
    }
}

/// What is signed; no two heads have the same message.
pub fn message(trail: Trail, head: Head, at: Timestamp) -> Vec<u8> {
    let mut encoding = Encoding::new(VERSION);
    encoding.text(Some(CONTEXT));
    encoding.uuid(trail.account());
    encoding.fixed(&head.seq.to_be_bytes());
    encoding.fixed(head.hash.as_bytes());
    encoding.fixed(&at.unix_micros().to_be_bytes());
    encoding.0
}

/// Holds the key that signs heads.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
pub trait HeadSigner: Send + Sync {
    /// An Ed25519 signature.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// Knows the public keys that count.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
pub trait HeadVerifier: Send + Sync {
    /// Whether one of them made the signature over that message.
    fn is_valid(&self, message: &[u8], signature: &Signature) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    #[test]
    fn every_part_of_a_head_is_in_its_message() {
        let account: Trail = "acc_00000000000000000000000001".parse().unwrap();
        let (head, at) = (Head { seq: 7, hash: Hash::ORIGIN }, Timestamp::from_unix_seconds(1_800_000_000).unwrap());
        let later = at.plus(std::time::Duration::from_micros(1));
        let other = Head { hash: "01".repeat(32).parse().unwrap(), ..head };
        let messages = [
            message(account, head, at),
            message(Trail::Platform, head, at),
            message("acc_00000000000000000000000002".parse().unwrap(), head, at),
            message(account, Head { seq: 8, ..head }, at),
            message(account, other, at),
            message(account, head, later),
        ];
        for (number, message) in messages.iter().enumerate() {
            assert!(!messages[..number].contains(message), "{number}");
        }
    }

    #[test]
    fn a_signature_is_read_back_from_its_text() {
        let signature = Signature::from_bytes(&std::array::from_fn::<u8, 64, _>(|n| u8::try_from(n * 3).unwrap()));
        let signature = signature.unwrap();
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert_eq!(Signature::from_bytes(&[0; 63]), None);
        assert!("00".parse::<Signature>().is_err());
    }
}
