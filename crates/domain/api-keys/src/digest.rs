//! What is stored instead of a credential: `HMAC-SHA-256(pepper, whole text)`.
//!
//! Keyed, so that a database dump alone cannot test a list of leaked keys. No slow hash: the input has 256 random bits.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use portal_kernel::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Which pepper a digest was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperVersion(i16);

impl PepperVersion {
    /// The one that an installation begins with.
    pub const FIRST: Self = Self(1);

    /// Versions count from 1.
    pub fn parse(version: i16) -> Result<Self, InvalidPepper> {
        if version > 0 { Ok(Self(version)) } else { Err(InvalidPepper::Version) }
    }

    /// The stored number.
    pub fn number(self) -> i16 {
        self.0
    }
}

/// Why the peppers cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPepper {
    /// None was given.
    #[error("at least one pepper is needed")]
    Missing,
    /// Not a positive number.
    #[error("pepper versions are numbers from 1 to 32767")]
    Version,
    /// Too short to resist guessing.
    #[error("a pepper has at least 32 bytes")]
    TooShort,
}

/// 32 bytes that prove knowledge of a credential. Compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of no text.
    pub const NOTHING: Self = Self([0; 32]);

    /// A stored digest; none unless it has 32 bytes.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    /// A digest is no secret, but a log is no place for it either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// The secret keys of the digests, by version. Losing them makes every credential useless, so they need a backup of their own.
pub struct Peppers {
    /// Keyed already: that is two fifths of the work.
    by_version: BTreeMap<PepperVersion, Hmac<Sha256>>,
    newest: PepperVersion,
}

impl Peppers {
    /// Needs at least one pepper of at least 32 bytes.
    pub fn new(peppers: impl IntoIterator<Item = (PepperVersion, SecretSlice<u8>)>) -> Result<Self, InvalidPepper> {
        let mut by_version = BTreeMap::new();
        for (version, pepper) in peppers {
            let pepper = pepper.expose_secret();
            let keyed = if pepper.len() < 32 { None } else { Hmac::new_from_slice(pepper).ok() };
            by_version.insert(version, keyed.ok_or(InvalidPepper::TooShort)?);
        }
        let newest = *by_version.keys().next_back().ok_or(InvalidPepper::Missing)?;
        Ok(Self { by_version, newest })
    }

    /// As they are, but new digests are made with that version: one that every server knows, while a newer one is given to them.
    pub fn making(self, version: PepperVersion) -> Result<Self, InvalidPepper> {
        if self.knows(version) { Ok(Self { newest: version, ..self }) } else { Err(InvalidPepper::Missing) }
    }

    /// Whether digests of that version can be compared with.
    pub fn knows(&self, version: PepperVersion) -> bool {
        self.by_version.contains_key(&version)
    }

    /// The version that new digests are made with; the newest unless [`Self::making`] said otherwise.
    pub fn newest(&self) -> PepperVersion {
        self.newest
    }

    /// All versions, the oldest first.
    pub fn versions(&self) -> impl Iterator<Item = PepperVersion> {
        self.by_version.keys().copied()
    }

    /// The digest of a new credential, with the newest pepper.
    pub fn digest(&self, text: &SecretString) -> (PepperVersion, Digest) {
        (self.newest, self.compute(self.newest, text.expose_secret()).unwrap_or(Digest::NOTHING))
    }

    /// Whether the text belongs to a stored digest. Takes the same time for any text and any digest; false for a pepper version that
    /// is not configured.
    pub fn matches(&self, text: &str, version: PepperVersion, stored: &Digest) -> bool {
        // An absent pepper still costs one computation, and an all-zero digest matches nothing.
        let known = self.by_version.contains_key(&version);
        let computed = self.compute(if known { version } else { self.newest }, text);
        computed.is_some_and(|computed| computed == *stored) & known
    }

    /// Spends the time of [`Peppers::matches`] where there is nothing to compare with.
    pub fn match_nothing(&self, text: &str) {
        std::hint::black_box(self.matches(text, self.newest, &Digest::NOTHING));
    }

    fn compute(&self, version: PepperVersion, text: &str) -> Option<Digest> {
        let mut mac = self.by_version.get(&version)?.clone();
        mac.update(text.as_bytes());
        Some(Digest(mac.finalize().into_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i16) -> PepperVersion {
        PepperVersion::parse(number).unwrap()
    }

    fn peppers(versions: &[(i16, u8)]) -> Peppers {
        Peppers::new(versions.iter().map(|(number, byte)| (version(*number), vec![*byte; 32].into()))).unwrap()
    }

    #[test]
    fn the_digest_is_hmac_sha_256() {
        // Computed with: printf cort_live_x | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf '07%.0s' $(seq 32))
        let (used, digest) = peppers(&[(1, 7)]).digest(&"cort_live_x".into());
        assert_eq!(used, version(1));
        let (high, low) = digest.as_bytes().split_at(16);
        let [high, low] = [high, low].map(|half| u128::from_be_bytes(half.try_into().unwrap()));
        let hex = format!("{high:032x}{low:032x}");
        assert_eq!(hex, "03a65ac9b2b450d1a22c48c86ca1c654b450c8312f2c67049a5d88e7b8bf9bab");
    }

    #[test]
    fn an_old_pepper_still_verifies_and_the_newest_makes_new_digests() {
        let (old, digest) = peppers(&[(1, 7)]).digest(&"text".into());
        let rotated = peppers(&[(1, 7), (2, 8)]);
        assert_eq!((rotated.newest(), rotated.versions().collect::<Vec<_>>()), (version(2), vec![old, version(2)]));
        assert!(rotated.matches("text", old, &digest));
        assert_eq!(rotated.digest(&"text".into()).0, version(2));
        assert!(!peppers(&[(2, 8)]).matches("text", old, &digest), "a retired pepper verifies nothing");
        assert!(!rotated.matches("texT", old, &digest));
    }

    #[test]
    fn unusable_peppers_are_refused() {
        assert_eq!(Peppers::new([]).err(), Some(InvalidPepper::Missing));
        assert_eq!(Peppers::new([(version(1), vec![1; 31].into())]).err(), Some(InvalidPepper::TooShort));
        assert_eq!(PepperVersion::parse(0), Err(InvalidPepper::Version));
    }
}
