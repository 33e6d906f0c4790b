//! A logical API key: what its owner sees and manages. Its secret is elsewhere, as a digest.

use std::fmt;

use portal_authz::{Owned, Target};
use portal_kernel::{AccountId, ApiKeyId, Timestamp, UserId};

use crate::{Digest, KeyEnvironment, Kid, PepperVersion};

/// What a person calls a key: 1 to 100 characters, no control characters, no white space at the ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The text cannot name a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 characters, and no control characters or surrounding spaces")]
pub struct InvalidKeyName;

impl KeyName {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let fits = (1..=100).contains(&text.chars().count());
        let clean = text.trim() == text && !text.chars().any(char::is_control);
        if fits && clean { Ok(Self(text.to_owned())) } else { Err(InvalidKeyName) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Yes.
    Active,
    /// Never again.
    Revoked,
}

impl KeyState {
    /// The shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Stays the same for the key's whole life.
    pub id: ApiKeyId,
    /// Who owns it.
    pub account: AccountId,
    /// What people call it.
    pub name: KeyName,
    /// Live or test.
    pub environment: KeyEnvironment,
    /// Public part of its text.
    pub kid: Kid,
    /// The member who made it; the key outlives the membership.
    pub made_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// When it was ended; final.
    pub revoked_at: Option<Timestamp>,
    /// Counts the changes; never goes down.
    pub revision: i64,
}

impl ApiKey {
    /// Derived, not stored.
    pub fn state(&self) -> KeyState {
        if self.revoked_at.is_some() { KeyState::Revoked } else { KeyState::Active }
    }
}

impl Owned for ApiKey {
    fn target(&self) -> Target {
        Target::Account { account: self.account, made_by: Some(self.made_by) }
    }
}

/// A key to store, with the digest of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// The key.
    pub key: ApiKey,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_printable_text() {
        assert!(KeyName::parse("ci – Zürich #2").is_ok());
        assert!(KeyName::parse(&"x".repeat(100)).is_ok());
        for text in ["", " ", " a", "a ", "a\nb", "a\u{1b}[31mb", "\u{0}", &"x".repeat(101)] {
            assert_eq!(KeyName::parse(text), Err(InvalidKeyName), "{text:?}");
        }
    }
}
