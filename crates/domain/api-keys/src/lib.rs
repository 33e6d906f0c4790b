//! API keys for the hosted inference API, and the tokens of trusted services.
//!
//! Both are one text format ([`credential`]), stored as keyed digests ([`digest`]) and looked up by their public part. [`verify`] is
//! the only place where a presented key turns into a decision, and [`authenticate`] where a service token turns into a principal.
#![warn(missing_docs)]

pub mod authenticate;
pub mod canary;
mod change;
#[cfg(feature = "testing")]
pub mod contract;
pub mod create;
pub mod credential;
pub mod digest;
pub mod disable;
pub mod explain;
pub mod forget_requests;
pub mod judge;
pub mod key;
pub mod key_feed;
pub mod key_holder;
pub mod key_rates;
pub mod key_scope;
pub mod key_secret;
pub mod keys_of_deleted;
mod known;
pub mod known_keys;
pub mod known_service_tokens;
pub mod last_used;
pub mod legacy_token;
pub mod models;
pub mod networks;
pub mod newer_digests;
pub mod once;
pub mod policy;
pub mod ports;
pub mod rate_limit;
pub mod rate_reports;
pub mod read;
pub mod revocation_delays;
pub mod revoke;
pub mod rotate;
pub mod secret_scanning;
pub mod service_token;
#[cfg(test)]
mod testing;
pub mod update;
pub mod verify;

pub use authenticate::{AuthenticateError, ServiceRefusal, ServiceRefused, Services, StoredServiceToken};
pub use canary::{Canary, CanaryError, CanaryKey, CanaryLife, Watch};
pub use create::{CreateKeyError, KeyDraft};
pub use credential::{Brand, InvalidBrand, KeyEnvironment, Kid};
pub use digest::{Digest, InvalidPepper, PepperVersion, Peppers};
pub use disable::DisableKeyError;
pub use explain::{CheckOutcome, Explanation};
pub use forget_requests::{ForgetRequestsError, OldRequests};
pub use judge::{Check, Code, Judgement, KeyUse, StoredKey};
pub use key::{ApiKey, InvalidKeyName, KeyName, KeyPatch, KeyState, NewApiKey};
pub use key_feed::{AccountStanding, FeedHead, FeedPosition, FeedRecord, KeyChanges, KeyFeed, KeyFeedError, Snapshot};
pub use key_rates::{Heard, HeardOf, KeyRates, LimitOf, Rates, Share, Standing, Told};
pub use key_scope::{InvalidKeyScopes, KeyScope, KeyScopes};
pub use key_secret::{InvalidOverlap, KeySecret, KeySecrets, NewSecret, Overlap, Rotation};
pub use keys_of_deleted::{EndKeysError, KeysOfDeleted};
pub use known_keys::KnownKeys;
pub use known_service_tokens::KnownServiceTokens;
pub use last_used::{Activity, LastUsed};
pub use legacy_token::{InvalidLegacyToken, LegacyToken};
pub use models::{InvalidModels, ModelAllowList};
pub use networks::{InvalidNetworks, Networks};
pub use newer_digests::{MoveDigests, NewerDigest, NewerDigests};
pub use once::Repeated;
pub use policy::KeyPolicy;
pub use ports::{
    ActivityLog, ApiKeyReader, ApiKeyRepository, ApiKeysStore, ApiKeysTx, CanaryReader, CanaryRepository,
    CredentialReader, DemandBoard, KeyFeedReader, PepperReader, ServiceCredentialReader, ServiceTokenReader,
    ServiceTokenRepository,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{
    MockActivityLog, MockApiKeyReader, MockApiKeyRepository, MockCanaryReader, MockCanaryRepository,
    MockCredentialReader, MockDemandBoard, MockKeyFeedReader, MockPepperReader, MockServiceCredentialReader,
    MockServiceTokenReader, MockServiceTokenRepository,
};
pub use rate_limit::{InvalidRateLimits, RateLimit, RateLimits};
pub use rate_reports::RateReports;
pub use read::ReadKeyError;
pub use revocation_delays::{DelayCounts, DelaySummary, LastHour, RevocationDelays};
pub use revoke::RevokeKeyError;
pub use rotate::RotateKeyError;
#[cfg(any(test, feature = "testing"))]
pub use secret_scanning::MockReportSignatures;
pub use secret_scanning::{FoundSecret, ReportError, ReportSignatures, Reported, SecretScanning};
pub use service_token::{
    InvalidServiceName, ListedServiceToken, NewServiceToken, ServiceName, ServiceToken, ServiceTokenDraft,
    ServiceTokenError, ServiceTokenState, ServiceTokens,
};
pub use update::UpdateKeyError;
pub use verify::{Decision, KeyVerification, MOST_PRESENTED, Presented, Verifier, VerifyError, verify_stored};

use std::sync::Arc;

use portal_kernel::{Clock, Entropy, IdGen};

/// The key use cases of a customer: create, list, read, update, disable, enable, rotate, revoke.
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
    /// How many live keys an account has at most.
    pub most_keys: usize,
}
