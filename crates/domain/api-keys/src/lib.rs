//! API keys for the hosted inference API, and the tokens of trusted services.
//!
//! Both are one text format ([`credential`]), stored as keyed digests ([`digest`]) and looked up by their public part. [`verify`] is
//! the only place where a presented credential turns into a decision or a principal.
#![warn(missing_docs)]

#[cfg(feature = "testing")]
pub mod contract;
pub mod create;
pub mod credential;
pub mod digest;
pub mod key;
pub mod ports;
pub mod read;
pub mod revoke;
pub mod service_token;
#[cfg(test)]
mod testing;
pub mod verify;

pub use create::CreateKeyError;
pub use credential::{Brand, InvalidBrand, KeyEnvironment, Kid};
pub use digest::{Digest, InvalidPepper, PepperVersion, Peppers};
pub use key::{ApiKey, InvalidKeyName, KeyName, KeyState, NewApiKey};
pub use ports::{
    ApiKeyReader, ApiKeyRepository, ApiKeysStore, ApiKeysTx, CredentialReader, ServiceTokenReader,
    ServiceTokenRepository,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{
    MockApiKeyReader, MockApiKeyRepository, MockCredentialReader, MockServiceTokenReader, MockServiceTokenRepository,
};
pub use read::ReadKeyError;
pub use revoke::RevokeKeyError;
pub use service_token::{
    InvalidServiceName, NewServiceToken, ServiceName, ServiceToken, ServiceTokenError, ServiceTokens,
};
pub use verify::{
    AuthenticateError, Code, Decision, KeyVerification, StoredKey, StoredServiceToken, Verifier, VerifyError,
};

use std::sync::Arc;

use portal_kernel::{Clock, Entropy, IdGen};

/// The key use cases of a customer: create, list, read, revoke.
pub struct ApiKeys {
    /// Where transactions come from.
    pub store: Arc<ApiKeysStore>,
    /// Reads outside transactions.
    pub reader: Arc<dyn ApiKeyReader>,
    /// Makes digests.
    pub peppers: Arc<Peppers>,
    /// First part of a key's text.
    pub brand: Brand,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// New secrets.
    pub entropy: Arc<dyn Entropy>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}
