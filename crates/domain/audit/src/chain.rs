//! The hash chain of a trail: each record's hash covers its number, its contents and the hash before it.
//!
//! Pure: whoever has the rows can compute it again, with this or with anything that knows SHA-256. The encoding is written down in
//! `docs/audit.md`, and the migration that chained the first rows implements it once more, in SQL.

use std::fmt;
use std::str::FromStr;

use portal_kernel::{AccountId, Id, InvalidId};
use sha2::{Digest, Sha256};

use crate::AuditEntry;

/// First byte of every encoding. Another encoding gets another number.
const VERSION: u8 = 1;

/// Whose trail. Heads are locked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trail {
    /// What concerns no account.
    Platform,
    /// Everything in an account.
    Account(AccountId),
}

impl Trail {
    /// The account, if it is one's.
    pub fn account(self) -> Option<AccountId> {
        match self {
            Self::Platform => None,
            Self::Account(account) => Some(account),
        }
    }
}

impl From<Option<AccountId>> for Trail {
    fn from(account: Option<AccountId>) -> Self {
        account.map_or(Self::Platform, Self::Account)
    }
}

const PLATFORM: &str = "platform";

impl fmt::Display for Trail {
    /// `platform`, or the account's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str(PLATFORM),
            Self::Account(account) => account.fmt(f),
        }
    }
}

impl FromStr for Trail {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == PLATFORM { Ok(Self::Platform) } else { text.parse().map(Self::Account) }
    }
}

/// SHA-256 of a record and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Stands before the first record.
    pub const ORIGIN: Self = Self([0; 32]);

    /// None unless there are 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// For adapters that store it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    /// Lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not hexadecimal of the wanted length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes in lower-case hexadecimal")]
pub struct InvalidHex {
    expected: usize,
}

impl FromStr for Hash {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        unhex(text).map(Self)
    }
}

pub(crate) fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Result<[u8; N], InvalidHex> {
    let invalid = InvalidHex { expected: N };
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(invalid),
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return Err(invalid);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

/// How far a chain has come: the number and hash of its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last record's number; they count from 1.
    pub seq: i64,
    /// The last record's hash.
    pub hash: Hash,
}

impl Head {
    /// Nothing was recorded yet.
    pub const EMPTY: Self = Self { seq: 0, hash: Hash::ORIGIN };

    /// The record's place behind this head.
    #[must_use]
    pub fn append(self, entry: AuditEntry) -> Link {
        let seq = self.seq.saturating_add(1);
        Link { seq, hash: link(&self.hash, seq, &entry), entry }
    }
}

/// A record in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub seq: i64,
    /// Covers number, contents, and everything before.
    pub hash: Hash,
    /// Its contents.
    pub entry: AuditEntry,
}

impl Link {
    /// The chain, if it ended here.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// The hash of a record with that number, behind a record with that hash.
pub fn link(previous: &Hash, seq: i64, entry: &AuditEntry) -> Hash {
    Hash(Sha256::digest(encode(previous, seq, entry)).into())
}

/// No two different inputs have the same encoding: what comes first has a fixed length, and each field tells its own.
fn encode(previous: &Hash, seq: i64, entry: &AuditEntry) -> Vec<u8> {
    let mut encoding = Encoding::new(VERSION);
    encoding.fixed(previous.as_bytes());
    encoding.fixed(&seq.to_be_bytes());
    encoding.uuid(entry.trail.account());
    encoding.uuid(Some(entry.id));
    encoding.field(Some(&entry.at.unix_micros().to_be_bytes()));
    encoding.text(Some(&entry.actor_kind));
    encoding.text(Some(&entry.actor_id));
    encoding.text(entry.actor_behind.as_deref());
    encoding.text(entry.credential.as_deref());
    encoding.text(Some(&entry.action));
    encoding.text(Some(&entry.subject));
    encoding.text(Some(&entry.effect));
    encoding.uuid(entry.closes);
    encoding.uuid(entry.request_id);
    encoding.text(entry.address_prefix.as_deref());
    encoding.text(entry.reason.as_deref());
    encoding.0
}

/// Bytes that can be taken apart in one way only.
pub(crate) struct Encoding(pub(crate) Vec<u8>);

impl Encoding {
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// 0 for nothing; 1, the length in eight bytes, and the bytes for something, which may be empty.
    pub(crate) fn field(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.0.push(0),
            Some(bytes) => {
                self.0.push(1);
                self.0.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
                self.0.extend_from_slice(bytes);
            }
        }
    }

    pub(crate) fn text(&mut self, text: Option<&str>) {
        self.field(text.map(str::as_bytes));
    }

    pub(crate) fn uuid(&mut self, id: Option<impl Id>) {
        self.field(id.map(Id::uuid).as_ref().map(|uuid| uuid.as_bytes().as_slice()));
    }
}

#[cfg(test)]
mod tests;
