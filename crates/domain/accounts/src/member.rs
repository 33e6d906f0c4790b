//! A member of an account, as other members see and manage them.

use portal_authz::{Owned, Role, Target};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Timestamp, UserId};

use crate::Profile;

/// Somebody in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where.
    pub account: AccountId,
    /// The organization behind the account; none behind a personal one.
    pub organization: Option<ProviderOrganizationId>,
    /// Who.
    pub user: UserId,
    /// The provider's id of the person.
    pub provider_id: ProviderUserId,
    /// What the provider tells of the person.
    pub profile: Profile,
    /// Our role; none if the provider's role key is not mapped.
    pub role: Option<Role>,
    /// The provider's role key; none in a personal account.
    pub provider_role: Option<String>,
    /// The provider's id of the membership; none in a personal account.
    pub membership: Option<ProviderMembershipId>,
    /// When the membership appeared here.
    pub created_at: Timestamp,
}

impl Owned for Member {
    fn target(&self) -> Target {
        Target::Membership { account: self.account, member: Some(self.user), highest: self.role }
    }
}

/// A role for a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleChange {
    /// Whose.
    pub member: Member,
    /// Which.
    pub to: Role,
}

impl Owned for RoleChange {
    fn target(&self) -> Target {
        let Member { account, user, role, .. } = self.member;
        Target::Membership { account, member: Some(user), highest: role.max(Some(self.to)) }
    }
}
