//! Where the keys come from. Configuration alone decides: nothing in a token ever does.

use std::sync::Arc;

use crate::error::TokenVerificationError;
use crate::jwks::Jwks;
use crate::rsa_key::VerificationKey;

/// A key, and until when it may be believed without asking the source again, in milliseconds since 1970.
pub(crate) struct FoundKey {
    pub(crate) key: Arc<VerificationKey>,
    pub(crate) usable_until: i64,
}

/// The source of keys of one instance.
pub(crate) enum KeySource {
    /// One key from the configuration; the `kid` of the token plays no part.
    Pem(Arc<VerificationKey>),
    /// The keys that the Backend API lists.
    Jwks(Jwks),
}

impl KeySource {
    pub(crate) async fn find(&self, kid: Option<&str>) -> Result<FoundKey, TokenVerificationError> {
        match self {
            Self::Pem(key) => Ok(FoundKey { key: Arc::clone(key), usable_until: i64::MAX }),
            Self::Jwks(jwks) => jwks.find(kid).await,
        }
    }

    /// Another key by the same id, if the source replaced the one that a signature did not fit.
    pub(crate) async fn replacement(&self, kid: Option<&str>, failed: &VerificationKey) -> Option<FoundKey> {
        match self {
            Self::Pem(_) => None,
            Self::Jwks(jwks) => jwks.replacement(kid?, failed).await,
        }
    }
}
