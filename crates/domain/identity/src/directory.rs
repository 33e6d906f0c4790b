//! Facts that the identity provider tells about people and organizations.

use std::time::Duration;

use portal_kernel::{BoxError, Timestamp};

use crate::{ProviderMembershipId, ProviderOrganizationId, ProviderSessionId, ProviderUserId};

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
    /// Whether the provider lets the person sign in no more.
    pub banned: bool,
    /// Version of the record: the provider's time of the last change.
    pub updated_at: Timestamp,
}

/// An organization, as the provider knows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOrganization {
    /// The provider's id.
    pub id: ProviderOrganizationId,
    /// Display name.
    pub name: String,
    /// The person who created it; becomes its first owner.
    pub created_by: Option<ProviderUserId>,
    /// Version of the record: the provider's time of the last change.
    pub updated_at: Timestamp,
}

/// A person in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderMembership {
    /// The provider's id.
    pub id: ProviderMembershipId,
    /// Where. Part of the record, and not newer than the record.
    pub organization: ProviderOrganization,
    /// Who.
    pub user: ProviderUserId,
    /// The provider's role key, for example `org:admin`.
    pub role: String,
    /// Version of the record: the provider's time of the last change.
    pub updated_at: Timestamp,
}

/// Something that the provider tells about a person, an organization or a membership. May come twice, late and in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderEvent {
    /// A person is, or was, so.
    User(ProviderUser),
    /// A person is gone for good.
    UserDeleted(ProviderUserId),
    /// An organization is, or was, so.
    Organization(ProviderOrganization),
    /// An organization is gone for good.
    OrganizationDeleted(ProviderOrganizationId),
    /// A membership is, or was, so.
    Membership(ProviderMembership),
    /// A membership is gone for good.
    MembershipDeleted {
        /// The provider's id.
        id: ProviderMembershipId,
        /// Where it was.
        organization: ProviderOrganizationId,
        /// Whose it was.
        user: ProviderUserId,
    },
    /// A session is over for good, whatever its tokens say.
    SessionEnded(ProviderSessionId),
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
