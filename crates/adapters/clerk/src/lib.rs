//! Who sent this request, by the rules of Clerk's own backend SDK, for any Rust service.
//!
//! No web framework: the input is method, public URL and headers ([`RequestParts`]), the output a [`RequestState`].
//! Queue workers and web sockets use [`ClerkAuthenticator::verify_token`]. The vocabulary of `portal-identity` and the
//! clock port of `portal-kernel` are exported again, so that a service needs no other crate of this workspace.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::SystemTime;
//!
//! use portal_clerk::{
//!     AuthReason, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, Clock, RequestAuthenticator,
//!     RequestParts, StateHeaders, Timestamp,
//! };
//!
//! struct SystemClock;
//!
//! impl Clock for SystemClock {
//!     fn now(&self) -> Timestamp {
//!         SystemTime::now().into()
//!     }
//! }
//!
//! /// Once, inside the Tokio runtime of the service; what it gives is shared by all requests.
//! fn clerk() -> Result<Arc<dyn RequestAuthenticator>, Box<dyn std::error::Error>> {
//!     let mut options = ClerkOptions::new("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k");
//!     options.secret_key = Some("sk_live_…".into());
//!     options.authorized_parties = vec!["https://portal.example".to_owned()];
//!     Ok(Arc::new(ClerkAuthenticator::new(options.validate()?, Arc::new(SystemClock))?))
//! }
//!
//! /// Status, headers and body for a program, which sends its session token in a header.
//! async fn api(clerk: &dyn RequestAuthenticator) -> (u16, StateHeaders, String) {
//!     let request = RequestParts::new("GET", "https://portal.example/v1/me").header("Authorization", "Bearer …");
//!     let state = clerk.authenticate_request(&request, &AuthenticateRequestOptions::API).await;
//!     let (status, body) = match state.session() {
//!         Some(session) => (200, session.user_id.to_string()),
//!         None if state.is_outage() => (503, "try again".to_owned()),
//!         None => (401, state.reason().map_or("session-pending".to_owned(), AuthReason::to_string)),
//!     };
//!     (status, state.headers().clone(), body)
//! }
//!
//! /// The same for a browser that opens a page. Its session is in cookies, and it may have to ask Clerk first: a handshake.
//! async fn page(clerk: &dyn RequestAuthenticator) -> (u16, StateHeaders, String) {
//!     let request = RequestParts::new("GET", "https://portal.example/")
//!         .header("Cookie", "__session=…; __client_uat=…")
//!         .header("Sec-Fetch-Dest", "document");
//!     let state = clerk.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT).await;
//!     let (status, body) = match state.session() {
//!         _ if state.location().is_some() => (307, String::new()),
//!         Some(session) => (200, format!("Welcome, {}", session.user_id)),
//!         None if state.is_outage() => (503, "Try again in a moment".to_owned()),
//!         None => (401, "Please sign in".to_owned()),
//!     };
//!     (status, state.headers().clone(), body)
//! }
//! ```
//!
//! Three rules for whoever answers. The headers of the verdict go into every answer, errors included: cookies and the
//! address of a handshake are among them. A session with an outstanding task verifies, yet nobody is signed in:
//! [`RequestState::session`] knows. And a browser sends cookies whoever made it ask: a route that changes something leaves
//! the header `Cookie` out of the parts, or checks the origin itself.
//!
//! A framework's headers are given as they are: `RequestParts::new(…).headers(request.headers())`, with the `HeaderMap` of
//! actix-web as with that of axum.
//!
//! Webhooks are [`WebhookVerifier`]'s: it needs the headers, the bytes of the body and the time, and no authenticator.
//!
//! # Compatibility
//!
//! [`Compatibility::Strict`], the default, refuses and repairs what Clerk's SDK lets pass; each departure is a switch of
//! [`StrictChoices`], and the listed ones are all. [`Compatibility::Exact`] gives status and reason as Clerk's SDK does:
//! `options.choices = Compatibility::Exact.into()`.
//!
//! # Features
//!
//! `testing` exports the mocks of the ports and the module `testing`, with verdicts to play through them; for
//! `[dev-dependencies]`.
//!
//! `fuzzing` opens private parsers to this repository's fuzz targets. What it opens is no part of the API.
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
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod http;
mod invalid_setting;
mod json;
mod jwks;
mod jwks_document;
mod keys;
mod listing;
mod loose;
mod machine;
mod machine_answer;
mod machine_api;
mod machine_error;
mod machine_jwt;
mod organization;
mod organization_admin;
mod organization_url;
mod pem;
mod publishable_key;
mod records;
mod referrer;
mod refresh;
mod rsa_key;
mod secret_key;
mod session;
mod session_control;
mod settings;
mod stats;
mod times;
mod token;
mod verdict;
mod verify;
mod webhook;
mod webhook_event;
mod webhooks;

pub use authenticate::ClerkAuthenticator;
pub use choices::{Compatibility, InvalidCompatibility, StrictChoices};
pub use deployment::SatelliteOptions;
pub use directory::ClerkDirectory;
pub use doctor::JwksCheck;
pub use error::{TokenCarrier, TokenVerificationError};
pub use http::{ClientError, HttpTimeouts};
pub use invalid_setting::InvalidClerkSetting;
pub use listing::ClerkListing;
pub use machine_error::{MachineTokenError, MachineTokenErrorCode};
pub use organization_admin::ClerkOrganizations;
pub use organization_url::OrganizationSyncOptions;
pub use publishable_key::{InstanceType, InvalidPublishableKey, PublishableKey};
pub use rsa_key::InvalidRsaKey;
pub use secret_key::{InvalidMachineSecretKey, InvalidSecretKey, MachineSecretKey, SecretKey};
pub use session_control::ClerkSessions;
pub use settings::{ClerkOptions, ClerkSettings};
pub use stats::ClerkStats;
pub use webhook::{InvalidWebhookSecret, VerifiedWebhook, WebhookError, WebhookSecret, WebhookVerifier};
pub use webhook_event::WebhookEvent;
pub use webhooks::ClerkWebhooks;

pub use portal_identity::{
    AcceptsToken, ActiveOrganization, Actor, ActorKind, Auth, AuthReason, AuthStatus, AuthenticateRequestOptions,
    DirectoryError, FactorVerificationAge, Handshake, Has, IdentityDirectory, MachineAuth, ProviderMachineId,
    ProviderMembership, ProviderOrganization, ProviderOrganizationId, ProviderSessionId, ProviderUser, ProviderUserId,
    Refresh, RefreshFailure, RequestAuthenticator, RequestParts, RequestState, Reverification, ReverificationError,
    ReverificationLevel, ScopedSlug, SessionAuth, SessionStatus, SignedOut, SlugScope, StateHeaders, TokenType,
    TokenVerificationErrorReason, reverification_error,
};
#[cfg(feature = "testing")]
pub use portal_identity::{MockIdentityDirectory, MockRequestAuthenticator, testing};
pub use portal_kernel::{Clock, ExposeSecret, SecretString, Timestamp};
