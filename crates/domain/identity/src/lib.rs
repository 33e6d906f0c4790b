//! Who is calling, in Clerk's published words.
//!
//! The vocabulary of request authentication, the facts that the identity provider tells about people and organizations, and the
//! ports behind which a provider stands. Nothing here parses a token, a cookie or JSON: adapters do, and answer in these words.
#![warn(missing_docs)]

pub mod authorization;
pub mod directory;
pub mod machine;
pub mod options;
pub mod organization_admin;
pub mod ports;
pub mod provider_id;
pub mod reason;
pub mod request;
pub mod reverification;
pub mod session;
pub mod session_control;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod webhook;

pub use authorization::Has;
pub use directory::{DirectoryError, ProviderEvent, ProviderMembership, ProviderOrganization, ProviderUser};
pub use machine::MachineAuth;
pub use options::{AcceptsToken, AuthenticateRequestOptions};
pub use organization_admin::{InvitationStatus, OrganizationAdminError, OrganizationRefusal, ProviderInvitation};
pub use ports::{
    DirectoryListing, IdentityDirectory, LONGEST_QUESTION, Listed, OrganizationAdmin, RequestAuthenticator,
    SessionControl, WebhookVerifier,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{
    MockDirectoryListing, MockIdentityDirectory, MockOrganizationAdmin, MockRequestAuthenticator, MockSessionControl,
    MockWebhookVerifier,
};
pub use provider_id::{
    InvalidProviderId, ProviderInvitationId, ProviderMachineId, ProviderMembershipId, ProviderOrganizationId,
    ProviderSessionId, ProviderUserId,
};
pub use reason::{AuthReason, Refresh, RefreshFailure, TokenVerificationErrorReason};
pub use request::RequestParts;
pub use reverification::{Reverification, ReverificationError, ReverificationLevel, reverification_error};
pub use session::{
    ActiveOrganization, Actor, ActorKind, FactorVerificationAge, ScopedSlug, SessionAuth, SessionStatus, SlugScope,
};
pub use session_control::{ProviderSession, SessionActivity};
pub use state::{Auth, AuthStatus, Handshake, RequestState, SignedOut, StateHeaders, TokenType};
pub use webhook::{WebhookHeaders, WebhookMessage, WebhookNews, WebhookRefused};
