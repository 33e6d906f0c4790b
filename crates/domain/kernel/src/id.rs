//! Typed ids: a UUIDv7 in the database, a TypeID such as `key_01j…` everywhere a person sees it.
//!
//! One newtype per entity, so that an account id can never stand where a key id is meant.

use std::fmt;

use uuid::Uuid;

/// Crockford base32, lower case, as the TypeID specification (version 0.3) prescribes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of an encoded 128-bit value.
const ENCODED: usize = 26;

/// Characters of the longest prefix.
const MAX_PREFIX: usize = 8;

/// What all typed ids have in common.
pub trait Id: Copy + Eq + Ord + fmt::Display + fmt::Debug + Send + Sync + 'static {
    /// The text before the underscore.
    const PREFIX: &'static str;

    /// Wraps a stored value; only adapters and [`IdGen`] need it.
    fn from_uuid(uuid: Uuid) -> Self;

    /// The value to store.
    fn uuid(self) -> Uuid;
}

/// The one source of new ids. Implemented by the program (UUIDv7 of the current time) and by tests (a counter).
pub trait IdGen: Send + Sync {
    /// A value that was never returned before, by this or by any other process.
    fn uuid(&self) -> Uuid;
}

impl dyn IdGen + '_ {
    /// A new id of the wanted kind.
    pub fn make<I: Id>(&self) -> I {
        I::from_uuid(self.uuid())
    }
}

/// The text is not an id of the expected kind. Never repeats the text, which came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id that begins with {expected}_")]
pub struct InvalidId {
    /// The prefix that was asked for.
    pub expected: &'static str,
}

fn encode(uuid: Uuid) -> [u8; ENCODED] {
    let mut value = uuid.as_u128();
    let mut text = [0; ENCODED];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[usize::from((value & 31) as u8)];
        value >>= 5;
    }
    text
}

fn decode(text: &[u8]) -> Option<Uuid> {
    // 26 characters hold 130 bits: the first may only be 0 to 7, otherwise two texts would mean one id.
    if text.len() != ENCODED || text[0] > b'7' {
        return None;
    }
    text.iter()
        .try_fold(0_u128, |value, character| {
            let digit = ALPHABET.iter().position(|known| known == character)?;
            Some((value << 5) | digit as u128)
        })
        .map(Uuid::from_u128)
}

#[doc(hidden)]
pub fn write_id(prefix: &str, uuid: Uuid, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // One write: every answer carries such a text, and a string that grows piece by piece is allocated as often.
    let mut text = [b'_'; MAX_PREFIX + 1 + ENCODED];
    let (before, after) = text.split_at_mut(prefix.len() + 1);
    before[..prefix.len()].copy_from_slice(prefix.as_bytes());
    after[..ENCODED].copy_from_slice(&encode(uuid));
    f.write_str(std::str::from_utf8(&text[..prefix.len() + 1 + ENCODED]).map_err(|_| fmt::Error)?)
}

#[doc(hidden)]
pub fn parse_id(prefix: &'static str, text: &str) -> Result<Uuid, InvalidId> {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(|rest| decode(rest.as_bytes()))
        .ok_or(InvalidId { expected: prefix })
}

macro_rules! typed_id {
    ($(#[doc = $doc:literal] $name:ident = $prefix:literal;)+) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id($prefix, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_id($prefix, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

typed_id! {
    /// A person, one per Clerk user.
    UserId = "usr";
    /// A tenant: the owner of keys, plan, usage and money.
    AccountId = "acc";
    /// A logical API key; stays the same while its secrets rotate.
    ApiKeyId = "key";
    /// A named credential of a trusted internal service.
    ServiceTokenId = "svc";
    /// One row of the audit trail.
    AuditEventId = "aud";
    /// One process of the program.
    ReplicaId = "rep";
    /// One HTTP request, as in the header `x-request-id`.
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "key_01h455vb4pex5vsknk084sn02q";

    fn vector_uuid() -> Uuid {
        Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057)
    }

    #[test]
    fn the_published_vector_reads_and_writes() {
        let id: ApiKeyId = VECTOR.parse().unwrap();
        assert_eq!(id.uuid(), vector_uuid());
        assert_eq!(id.to_string(), VECTOR);
    }

    #[test]
    fn anything_but_the_canonical_text_is_refused() {
        for text in [
            "",
            "key",
            "key_",
            "01h455vb4pex5vsknk084sn02q",
            "acc_01h455vb4pex5vsknk084sn02q",
            "KEY_01h455vb4pex5vsknk084sn02q",
            "key_01H455VB4PEX5VSKNK084SN02Q",
            "key_81h455vb4pex5vsknk084sn02q",
            "key_01h455vb4pex5vsknk084sn02",
            "key_01h455vb4pex5vsknk084sn02qq",
            "key_01h455vb4pex5vsknk084sn02l",
            "key_01h455vb4pex5vsknk084sn02é",
            " key_01h455vb4pex5vsknk084sn02q",
        ] {
            assert_eq!(text.parse::<ApiKeyId>(), Err(InvalidId { expected: "key" }), "{text:?}");
        }
    }

    #[test]
    fn ids_sort_like_their_text() {
        let early = AccountId::from_uuid(Uuid::from_u128(1));
        let late = AccountId::from_uuid(Uuid::from_u128(1 << 127));
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }
}
