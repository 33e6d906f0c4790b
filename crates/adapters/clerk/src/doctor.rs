//! A look at the key source for people who set the service up.

use crate::ClerkAuthenticator;
use crate::jwks_document::{FetchFailure, fetch_once};
use crate::keys::KeySource;

/// What one call to the key source showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksCheck {
    /// There is no secret key to ask with; tokens are verified with the configured public key.
    NotConfigured,
    /// The secret key works.
    Reachable {
        /// Usable signing keys.
        keys: usize,
        /// How far this machine's clock is ahead of Clerk's, in seconds; negative if it is behind. Precise to about a
        /// second; none if the answer did not say its time.
        clock_ahead_seconds: Option<i64>,
        /// Whether the configured public key is one of them; none if none is configured.
        jwt_key_is_listed: Option<bool>,
    },
    /// Clerk refuses the secret key.
    SecretKeyInvalid,
    /// No answer, or not the right one.
    Failed {
        /// What went wrong, for a person.
        reason: String,
    },
}

impl ClerkAuthenticator {
    /// Asks the key source once, whatever is cached, and changes nothing.
    pub async fn check_jwks(&self) -> JwksCheck {
        let Some(api) = self.api() else { return JwksCheck::NotConfigured };
        let call = api.clone();
        let outcome =
            api.run(async move { fetch_once(&call, true).await }).await.unwrap_or(Err(FetchFailure::Unreachable));
        match outcome {
            Ok(document) => JwksCheck::Reachable {
                keys: document.keys.len(),
                clock_ahead_seconds: document
                    .date
                    .map(|date| self.verifier().clock.now().unix_seconds() - date.unix_seconds()),
                jwt_key_is_listed: match &self.verifier().keys {
                    KeySource::Pem(own) => Some(document.keys.values().any(|key| key.same_numbers_as(own))),
                    KeySource::Jwks(_) => None,
                },
            },
            Err(FetchFailure::SecretKeyRefused) => JwksCheck::SecretKeyInvalid,
            Err(failure) => JwksCheck::Failed { reason: failure.to_string() },
        }
    }
}
