//! The text of a credential: `{prefix}{kid12}{secret43}{crc6}`, all base62 after the prefix.
//!
//! `kid` is public and finds the record; `secret` is 256 random bits; `crc` is CRC-32 (IEEE) over all that precedes it, so that a
//! mistyped or truncated key is refused without a look-up, and scanners can tell a key from noise. It is no protection.

use std::fmt;

use portal_kernel::{Entropy, SecretString};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KID: usize = 12;
const SECRET: usize = 43;
const CRC: usize = 6;

/// Characters after the prefix.
pub const BODY: usize = KID + SECRET + CRC;

/// Prefix of a service token's text.
pub const SERVICE_PREFIX: &str = "portal_svc_";

/// The public part of a credential: shown in lists, logged, stored in plain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid([u8; KID]);

/// The text is not twelve base62 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kid is twelve letters and digits")]
pub struct InvalidKid;

impl Kid {
    /// Where the memory of a server finds the program's own key ([`crate::canary`]).
    pub(crate) const CANARY: Self = Self(*b"Canary000000");

    /// Reads a stored kid.
    pub fn parse(text: &str) -> Result<Self, InvalidKid> {
        match <[u8; KID]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => Ok(Self(bytes)),
            _ => Err(InvalidKid),
        }
    }

    /// The twelve characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a key is for real use or for trying out; part of its text, never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEnvironment {
    /// `live`
    Live,
    /// `test`
    Test,
}

impl KeyEnvironment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    /// The text in keys, in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == text)
    }
}

/// First part of every API key's text, the same for the whole installation: `cort` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    live: String,
    test: String,
}

/// The brand cannot be part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a brand is 2 to 12 lower-case letters")]
pub struct InvalidBrand;

impl Brand {
    /// Accepts 2 to 12 lower-case letters. Changing it makes all issued keys unreadable.
    pub fn parse(text: &str) -> Result<Self, InvalidBrand> {
        if (2..=12).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_lowercase()) && text != "portal" {
            Ok(Self { live: format!("{text}_live_"), test: format!("{text}_test_") })
        } else {
            Err(InvalidBrand)
        }
    }

    /// `{brand}_{environment}_`
    pub fn prefix(&self, environment: KeyEnvironment) -> &str {
        match environment {
            KeyEnvironment::Live => &self.live,
            KeyEnvironment::Test => &self.test,
        }
    }

    /// Whether the text begins as keys do.
    pub fn is_of_a_key(&self, text: &str) -> bool {
        KeyEnvironment::ALL.into_iter().any(|environment| text.starts_with(self.prefix(environment)))
    }

    /// Reads the public parts of a presented key, or nothing if it cannot be one: length, alphabet, prefix or checksum are wrong. Never
    /// allocates.
    pub fn read(&self, text: &str) -> Option<(KeyEnvironment, Kid)> {
        KeyEnvironment::ALL
            .into_iter()
            .find_map(|environment| Some((environment, read(self.prefix(environment), text)?)))
    }
}

impl Default for Brand {
    fn default() -> Self {
        Self { live: "cort_live_".to_owned(), test: "cort_test_".to_owned() }
    }
}

/// A credential that was just made. Its text exists nowhere else.
pub struct Minted {
    /// The public part.
    pub kid: Kid,
    /// The whole text, to be shown once.
    pub text: SecretString,
}

/// Makes a new credential.
pub fn mint(prefix: &str, entropy: &dyn Entropy) -> Minted {
    let mut kid = [0; KID];
    fill_base62(&mut kid, entropy);
    let mut secret = [0; 32];
    entropy.fill(&mut secret);

    let mut text = String::with_capacity(prefix.len() + BODY);
    text.push_str(prefix);
    text.extend(kid.iter().copied().map(char::from));
    push_base62::<SECRET>(&mut text, secret);
    let checksum = crc32fast::hash(text.as_bytes());
    push_base62::<CRC>(&mut text, checksum.to_be_bytes());
    Minted { kid: Kid(kid), text: text.into() }
}

/// The public part of a presented text, or nothing if it cannot be a credential with this prefix. Never allocates.
pub fn read(prefix: &str, text: &str) -> Option<Kid> {
    let body = text.strip_prefix(prefix)?.as_bytes();
    if body.len() != BODY || !body.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let (covered, given) = text.as_bytes().split_at(text.len() - CRC);
    let expected = base62::<CRC>(crc32fast::hash(covered).to_be_bytes());
    let kid = <[u8; KID]>::try_from(&body[..KID]).ok()?;
    (given == expected).then_some(Kid(kid))
}

/// Uniform digits: bytes that would favour the first digits of the alphabet are drawn again.
fn fill_base62(digits: &mut [u8], entropy: &dyn Entropy) {
    for digit in digits {
        *digit = loop {
            let mut byte = [0];
            entropy.fill(&mut byte);
            if byte[0] < 248 {
                break ALPHABET[usize::from(byte[0] % 62)];
            }
        };
    }
}

fn push_base62<const N: usize>(text: &mut String, big_endian: impl AsMut<[u8]>) {
    text.extend(base62::<N>(big_endian).map(char::from));
}

/// A big-endian number in `N` digits, padded on the left.
fn base62<const N: usize>(mut number: impl AsMut<[u8]>) -> [u8; N] {
    let number = number.as_mut();
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in number.iter_mut() {
            let value = remainder << 8 | u16::from(*byte);
            // Both fit: the remainder is below 62, so the value is below 62 * 256.
            *byte = (value / 62).to_le_bytes()[0];
            remainder = value % 62;
        }
        *digit = ALPHABET[usize::from(remainder)];
    }
    digits
}

#[cfg(test)]
mod scanning;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portal_kernel::ExposeSecret;
    use portal_testkit::CountingEntropy;
    use proptest::prelude::*;

    use super::*;

    fn minted() -> Minted {
        mint(Brand::default().prefix(KeyEnvironment::Live), &CountingEntropy::default())
    }

    #[test]
    fn a_key_has_the_published_shape() {
        let key = minted();
        let text = key.text.expose_secret();
        assert_eq!(text.len(), "cort_live_".len() + 61);
        let body = text.strip_prefix("cort_live_").unwrap();
        assert!(body.bytes().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(&body[..12], key.kid.as_str());
        assert_eq!(Brand::default().read(text), Some((KeyEnvironment::Live, key.kid)));
    }

    #[test]
    fn base62_pads_on_the_left_and_holds_256_bits() {
        assert_eq!(&base62::<6>(0_u32.to_be_bytes()), b"000000");
        assert_eq!(&base62::<6>(61_u32.to_be_bytes()), b"00000z");
        assert_eq!(&base62::<6>(u32::MAX.to_be_bytes()), b"4gfFC3");
        assert_ne!(&base62::<43>([255; 32])[..1], b"0", "the largest secret needs all 43 digits");
    }

    #[test]
    fn two_keys_share_nothing() {
        let entropy = CountingEntropy::default();
        let texts: BTreeSet<_> =
            (0..100).map(|_| mint("cort_live_", &entropy).text.expose_secret()[22..65].to_owned()).collect();
        assert_eq!(texts.len(), 100);
    }

    #[test]
    fn every_single_changed_character_is_refused_without_a_look_up() {
        let text = minted().text.expose_secret().to_owned();
        for place in 0..text.len() {
            for other in ALPHABET.iter().chain(b"_- ") {
                let mut changed = text.clone().into_bytes();
                if changed[place] != *other {
                    changed[place] = *other;
                    let changed = String::from_utf8(changed).unwrap();
                    assert_eq!(Brand::default().read(&changed), None, "{place} {other}");
                }
            }
        }
    }

    #[test]
    fn every_prefix_and_extension_is_refused() {
        let text = minted().text.expose_secret().to_owned();
        for end in 0..text.len() {
            assert_eq!(Brand::default().read(&text[..end]), None);
            assert_eq!(Brand::default().read(&text[end + 1..]), None);
        }
        for changed in
            [format!("{text}0"), format!(" {text}"), format!("{text}\n"), text.to_uppercase(), text.to_lowercase()]
        {
            assert_eq!(Brand::default().read(&changed), None);
        }
    }

    #[test]
    fn a_service_token_is_not_a_key() {
        let token = mint(SERVICE_PREFIX, &CountingEntropy::default());
        assert_eq!(read(SERVICE_PREFIX, token.text.expose_secret()), Some(token.kid));
        assert_eq!(Brand::default().read(token.text.expose_secret()), None);
        assert_eq!(Brand::parse("portal"), Err(InvalidBrand));
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_finds_no_key_in_noise(text in ".{0,90}") {
            prop_assert_eq!(Brand::default().read(&text), None);
        }

        #[test]
        fn noise_behind_a_valid_prefix_is_no_key(body in "[0-9A-Za-z]{61}") {
            let text = format!("cort_test_{body}");
            // One in 4 billion bodies has a right checksum.
            prop_assert_eq!(Brand::default().read(&text), None);
        }
    }
}
