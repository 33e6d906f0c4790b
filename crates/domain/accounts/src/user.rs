//! A person: one row per provider user id, never keyed by e-mail.

use portal_identity::{ProviderUser, ProviderUserId};
use portal_kernel::{AccountId, Timestamp, UserId};

use crate::KnownMembership;

/// A person as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Our id.
    pub id: UserId,
    /// The provider's id, unique.
    pub provider_id: ProviderUserId,
    /// The account that came with the person.
    pub personal_account: AccountId,
    /// What the provider told; empty until it answered once.
    pub profile: Profile,
    /// When the provider answered last; none if it never did.
    pub profile_read_at: Option<Timestamp>,
    /// First sign-in.
    pub created_at: Timestamp,
}

/// What we keep of the provider's record of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Primary address, for display only.
    pub email: Option<String>,
    /// Whether the provider verified it.
    pub email_verified: bool,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Avatar.
    pub image_url: Option<String>,
}

impl From<ProviderUser> for Profile {
    fn from(user: ProviderUser) -> Self {
        Self {
            email: user.email,
            email_verified: user.email_verified,
            first_name: user.first_name,
            last_name: user.last_name,
            image_url: user.image_url,
        }
    }
}

/// A person and all their memberships, read in one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// The person.
    pub user: User,
    /// Where the person belongs; holds at least the personal account.
    pub memberships: Vec<KnownMembership>,
}
