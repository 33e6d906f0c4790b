//! The tenant: owner of keys, plan, usage and money.

use portal_authz::{Owned, Target};
use portal_identity::ProviderOrganizationId;
use portal_kernel::{AccountId, Timestamp};

/// What an account stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// One person's own; exactly one per user.
    Personal,
    /// One organization at the provider.
    Organization,
}

impl AccountKind {
    /// The stored and shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Organization => "organization",
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Our id.
    pub id: AccountId,
    /// Display name.
    pub name: String,
    /// The provider's id; none for a personal account.
    pub provider_organization: Option<ProviderOrganizationId>,
    /// When it appeared here.
    pub created_at: Timestamp,
}

impl Account {
    /// Personal unless an organization stands behind it.
    pub fn kind(&self) -> AccountKind {
        if self.provider_organization.is_some() { AccountKind::Organization } else { AccountKind::Personal }
    }
}

impl Owned for Account {
    fn target(&self) -> Target {
        Target::Account { account: self.id, made_by: None }
    }
}
