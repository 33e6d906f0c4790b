//! Facts that the identity provider tells about people and organizations.

use std::time::Duration;

use portal_kernel::{BoxError, Timestamp};

use crate::{ProviderOrganizationId, ProviderUserId};

/// A person, as the provider knows them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUser {
    /// The provider's id.
    pub id: ProviderUserId,
    /// Address of the primary e-mail, where there is one.
    pub email: Option<String>,
    /// Whether the provider verified that address.
    pub email_verified: bool,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Avatar.
    pub image_url: Option<String>,
    /// Version of the record: the provider's time of the last change.
    pub updated_at: Timestamp,
}

/// An organization, as far as a membership tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOrganization {
    /// The provider's id.
    pub id: ProviderOrganizationId,
    /// Display name.
    pub name: String,
    /// The person who created it; becomes its first owner.
    pub created_by: Option<ProviderUserId>,
}

/// A person in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderMembership {
    /// Where.
    pub organization: ProviderOrganization,
    /// The provider's role key, for example `org:admin`.
    pub role: String,
}

/// Why the provider's directory did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Unreachable, too slow, or failing.
    #[error("the identity provider is unavailable")]
    Unavailable(#[source] BoxError),
    /// Too many calls.
    #[error("the identity provider asks to slow down")]
    RateLimited {
        /// How long to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The provider refuses our secret key.
    #[error("the identity provider refuses the secret key")]
    SecretKeyInvalid,
    /// An answer that cannot be read.
    #[error("the identity provider sent an answer that cannot be read")]
    Malformed(#[source] BoxError),
}
