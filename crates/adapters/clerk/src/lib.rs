//! Who sent this request, by the rules of Clerk's own backend SDK, for any Rust service.
//!
//! No web framework: the input is method, public URL and headers ([`RequestParts`]), the output a [`RequestState`].
//! Queue workers and web sockets use [`ClerkAuthenticator::verify_token`]. Where the rules may be stricter than
//! Clerk's, each choice is a switch of [`StrictChoices`]. The vocabulary of `portal-identity` and the clock port of
//! `portal-kernel` are exported again, so that a service needs no other crate of this workspace.
//!
//! ```no_run
//! # async fn example(clock: std::sync::Arc<dyn portal_clerk::Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! use portal_clerk::{
//!     Auth, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, RequestAuthenticator, RequestParts, RequestState,
//! };
//!
//! let mut options = ClerkOptions::new("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k");
//! options.secret_key = Some("sk_live_…".into());
//! options.authorized_parties = vec!["https://portal.example".to_owned()];
//! let clerk = ClerkAuthenticator::new(options.validate()?, clock)?;
//!
//! let request = RequestParts::new("GET", "https://portal.example/v1/me").header("Authorization", "Bearer …");
//! match clerk.authenticate_request(&request, &AuthenticateRequestOptions::API).await {
//!     RequestState::SignedIn { auth: Auth::Session(auth), .. } if !auth.is_pending() => println!("{} is signed in", auth.user_id),
//!     state => println!("nobody is signed in: {:?}", state.reason()),
//! }
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod authenticate;
mod bearer;
mod cache;
mod choices;
mod claims;
mod context;
mod cookie_path;
mod cookies;
mod deployment;
mod directory;
mod doctor;
mod error;
mod handshake;
mod http;
mod invalid_setting;
mod json;
mod jwks;
mod jwks_document;
mod keys;
mod machine;
mod machine_answer;
mod machine_api;
mod machine_error;
mod machine_jwt;
mod organization;
mod organization_url;
mod pem;
mod publishable_key;
mod referrer;
mod refresh;
mod rsa_key;
mod secret_key;
mod session;
mod settings;
mod stats;
mod times;
mod token;
mod verdict;
mod verify;

pub use authenticate::ClerkAuthenticator;
pub use choices::{Compatibility, InvalidCompatibility, StrictChoices};
pub use deployment::SatelliteOptions;
pub use directory::ClerkDirectory;
pub use doctor::JwksCheck;
pub use error::{TokenCarrier, TokenVerificationError};
pub use http::{ClientError, HttpTimeouts};
pub use invalid_setting::InvalidClerkSetting;
pub use machine_error::{MachineTokenError, MachineTokenErrorCode};
pub use organization_url::OrganizationSyncOptions;
pub use publishable_key::{InstanceType, InvalidPublishableKey, PublishableKey};
pub use rsa_key::InvalidRsaKey;
pub use secret_key::{InvalidMachineSecretKey, InvalidSecretKey, MachineSecretKey, SecretKey};
pub use settings::{ClerkOptions, ClerkSettings};
pub use stats::ClerkStats;

pub use portal_identity::{
    AcceptsToken, ActiveOrganization, Actor, ActorKind, Auth, AuthReason, AuthStatus, AuthenticateRequestOptions,
    DirectoryError, FactorVerificationAge, Handshake, Has, IdentityDirectory, MachineAuth, ProviderMachineId,
    ProviderMembership, ProviderOrganization, ProviderOrganizationId, ProviderSessionId, ProviderUser, ProviderUserId,
    Refresh, RefreshFailure, RequestAuthenticator, RequestParts, RequestState, Reverification, ReverificationError,
    ReverificationLevel, ScopedSlug, SessionAuth, SessionStatus, SignedOut, SlugScope, StateHeaders, TokenType,
    TokenVerificationErrorReason, reverification_error,
};
pub use portal_kernel::{Clock, ExposeSecret, SecretString, Timestamp};
