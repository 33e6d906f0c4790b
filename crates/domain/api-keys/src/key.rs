//! A logical API key: what its owner sees and manages. Its secrets are elsewhere, as digests.

use std::fmt;

use portal_authz::{Owned, Target};
use portal_kernel::{AccountId, ApiKeyId, Timestamp, UserId};

use crate::{
    Digest, KeyEnvironment, KeyPolicy, KeyScopes, KeySecrets, ModelAllowList, Networks, PepperVersion, RateLimits,
    Rotation,
};

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
    /// Not until somebody lets it go on.
    Disabled,
    /// Not any more: its time is over.
    Expired,
    /// Never again.
    Revoked,
}

impl KeyState {
    /// The shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether nothing but a revocation can happen to the key any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }

    /// What outweighs comes first: an end for good, the end of its time, a stop.
    pub(crate) fn derive(
        now: Timestamp,
        revoked_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
        disabled_at: Option<Timestamp>,
    ) -> Self {
        if revoked_at.is_some() {
            Self::Revoked
        } else if expires_at.is_some_and(|end| end <= now) {
            Self::Expired
        } else if disabled_at.is_some() {
            Self::Disabled
        } else {
            Self::Active
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
    /// What it is restricted to.
    pub policy: KeyPolicy,
    /// What it is presented as.
    pub secrets: KeySecrets,
    /// The member who made it; the key outlives the membership.
    pub made_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// When its time is over.
    pub expires_at: Option<Timestamp>,
    /// Since when it is stopped.
    pub disabled_at: Option<Timestamp>,
    /// When it was ended; final.
    pub revoked_at: Option<Timestamp>,
    /// When it was last verified with success, as far as that is written. Told with the key, and never changed by whoever manages it.
    pub last_used_at: Option<Timestamp>,
    /// Counts the changes; never goes down.
    pub revision: i64,
}

impl ApiKey {
    /// Derived, not stored.
    pub fn state(&self, now: Timestamp) -> KeyState {
        KeyState::derive(now, self.revoked_at, self.expires_at, self.disabled_at)
    }

    /// As it is after the change.
    #[must_use]
    pub fn updated(self, patch: KeyPatch) -> Self {
        let changed = patch.applied_to(self);
        Self { revision: changed.revision + 1, ..changed }
    }

    /// Stopped since then, or going on.
    #[must_use]
    pub fn disabled(self, since: Option<Timestamp>) -> Self {
        Self { disabled_at: since, revision: self.revision + 1, ..self }
    }

    /// With a new secret; the one before goes on for the overlap, and one before that has ended.
    #[must_use]
    pub fn rotated(self, rotation: &Rotation) -> Self {
        Self { secrets: self.secrets.rotated(rotation), revision: self.revision + 1, ..self }
    }

    /// Ended for good, with its secrets.
    #[must_use]
    pub fn revoked(self, at: Timestamp) -> Self {
        Self { secrets: self.secrets.revoked(at), revoked_at: Some(at), revision: self.revision + 1, ..self }
    }
}

impl Owned for ApiKey {
    fn target(&self) -> Target {
        Target::Key { account: self.account, made_by: self.made_by, key: self.id }
    }
}

/// A key to store, with the digest of its first secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// The key.
    pub key: ApiKey,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
}

/// What to change of a key; what is none stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPatch {
    /// What people call it.
    pub name: Option<KeyName>,
    /// What it is good for.
    pub scopes: Option<KeyScopes>,
    /// With which models.
    pub models: Option<ModelAllowList>,
    /// From where.
    pub networks: Option<Networks>,
    /// How often.
    pub rate_limits: Option<RateLimits>,
    /// When its time is over; none in it for never.
    pub expires_at: Option<Option<Timestamp>>,
}

impl KeyPatch {
    pub(crate) fn applied_to(self, key: ApiKey) -> ApiKey {
        let policy = KeyPolicy {
            scopes: self.scopes.unwrap_or(key.policy.scopes),
            models: self.models.unwrap_or(key.policy.models),
            networks: self.networks.unwrap_or(key.policy.networks),
            rate_limits: self.rate_limits.unwrap_or(key.policy.rate_limits),
        };
        ApiKey {
            name: self.name.unwrap_or(key.name),
            policy,
            expires_at: self.expires_at.unwrap_or(key.expires_at),
            ..key
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::key;

    #[test]
    fn a_name_is_short_printable_text() {
        assert!(KeyName::parse("ci – Zürich #2").is_ok());
        assert!(KeyName::parse(&"x".repeat(100)).is_ok());
        for text in ["", " ", " a", "a ", "a\nb", "a\u{1b}[31mb", "\u{0}", &"x".repeat(101)] {
            assert_eq!(KeyName::parse(text), Err(InvalidKeyName), "{text:?}");
        }
    }

    #[test]
    fn what_outweighs_is_the_state() {
        let now = key().created_at;
        let later = now.plus(Duration::from_micros(1));
        for (revoked_at, expires_at, disabled_at, expected) in [
            (None, None, None, KeyState::Active),
            (None, Some(later), None, KeyState::Active),
            (None, Some(later), Some(now), KeyState::Disabled),
            (None, Some(now), Some(now), KeyState::Expired),
            (Some(now), Some(now), Some(now), KeyState::Revoked),
            // A moment that is still to come, by a clock that is slow.
            (Some(later), None, None, KeyState::Revoked),
        ] {
            let key = ApiKey { expires_at, disabled_at, revoked_at, ..key() };
            assert_eq!(key.state(now), expected);
            assert_eq!(expected.is_over(), matches!(expected.as_str(), "expired" | "revoked"));
        }
    }
}
