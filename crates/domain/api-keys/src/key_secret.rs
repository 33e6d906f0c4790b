//! The secrets of a key, without what is secret: a key has another one for a while after it got a new one.

use std::time::Duration;

use portal_kernel::Timestamp;

use crate::{Digest, Kid, PepperVersion};

/// One secret of a key, known by its public part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// Public part of the text.
    pub kid: Kid,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself; set once a newer one exists.
    pub expires_at: Option<Timestamp>,
    /// When it was ended, with its key or by a rotation; final.
    pub revoked_at: Option<Timestamp>,
}

impl KeySecret {
    /// Whether it can be used, as far as it alone decides.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A secret to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Its public part.
    pub kid: Kid,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
}

/// The newest secret of a key, and the one before it. All older ones have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecrets {
    /// What the last rotation gave, or the key began with.
    pub newest: KeySecret,
    /// What was the newest one before; live for the overlap of the last rotation.
    pub previous: Option<KeySecret>,
}

impl KeySecrets {
    /// A key's first secret.
    pub fn first(secret: KeySecret) -> Self {
        Self { newest: secret, previous: None }
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &KeySecret> {
        [Some(&self.newest), self.previous.as_ref()].into_iter().flatten()
    }

    pub(crate) fn rotated(self, rotation: &Rotation) -> Self {
        let Rotation { secret, at, overlap } = rotation;
        let end = at.plus(overlap.0);
        let expires_at = Some(self.newest.expires_at.map_or(end, |before| before.min(end)));
        Self {
            newest: KeySecret { kid: secret.kid, created_at: *at, expires_at: None, revoked_at: None },
            previous: Some(KeySecret { expires_at, ..self.newest }),
        }
    }

    pub(crate) fn revoked(mut self, at: Timestamp) -> Self {
        for secret in [Some(&mut self.newest), self.previous.as_mut()].into_iter().flatten() {
            secret.revoked_at = secret.revoked_at.or(Some(at));
        }
        self
    }
}

/// How long the old secret of a key goes on after a rotation: not at all, or up to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap(Duration);

/// Nobody replaces a secret for that long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the old secret goes on for 30 days at most")]
pub struct InvalidOverlap;

impl Overlap {
    /// The old secret ends at once.
    pub const NONE: Self = Self(Duration::ZERO);

    /// How long that is.
    pub fn span(self) -> Duration {
        self.0
    }

    /// Checks the span.
    pub fn parse(span: Duration) -> Result<Self, InvalidOverlap> {
        const MOST: Duration = Duration::from_hours(30 * 24);
        if span <= MOST { Ok(Self(span)) } else { Err(InvalidOverlap) }
    }
}

/// A new secret for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The new one.
    pub secret: NewSecret,
    /// When.
    pub at: Timestamp,
    /// How long the one before goes on.
    pub overlap: Overlap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_has_30_days_at_most() {
        let month = Duration::from_hours(720);
        assert_eq!(Overlap::parse(Duration::ZERO), Ok(Overlap::NONE));
        assert!(Overlap::parse(month).is_ok());
        assert_eq!(Overlap::parse(month + Duration::from_nanos(1)), Err(InvalidOverlap));
    }

    #[test]
    fn a_secret_lives_until_it_runs_out_or_is_ended() {
        let now: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        let later = now.plus(Duration::from_micros(1));
        let secret = KeySecret {
            kid: Kid::parse("abcdefghijkl").unwrap(),
            created_at: now,
            expires_at: Some(later),
            revoked_at: None,
        };
        assert!(secret.is_live(now) && !secret.is_live(later));
        assert!(!KeySecret { revoked_at: Some(now), ..secret }.is_live(now));
    }
}
