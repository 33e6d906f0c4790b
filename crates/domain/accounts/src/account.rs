//! The tenant: owner of keys, plan, usage and money.

use portal_authz::{Owned, Target};
use portal_identity::{ProviderOrganization, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Timestamp};

use crate::Versioned;
use crate::user::displayable;

/// Characters of an account's name.
const NAME_LENGTH: usize = 256;

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

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// Yes.
    Active,
    /// It can be looked at; its keys count for nothing.
    Paused,
    /// It is there for the records only.
    Deleted,
}

impl AccountState {
    /// The stored text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Deleted => "deleted",
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

/// What we keep of the provider's record of an organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrganizationRecord {
    /// Display name.
    pub name: String,
}

impl From<ProviderOrganization> for OrganizationRecord {
    fn from(organization: ProviderOrganization) -> Self {
        let name = displayable(&organization.name, NAME_LENGTH).unwrap_or_else(|| organization.id.to_string());
        Self { name }
    }
}

/// The account of an organization, as far as the merge needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationAccount {
    /// Our id.
    pub account: AccountId,
    /// The person who created it: its owner, as long as the provider has them as an administrator. Not every record tells it, and no
    /// record tells another one.
    pub created_by: Option<ProviderUserId>,
    /// What the provider told last; none if it is known from a membership only.
    pub copy: Option<Versioned<OrganizationRecord>>,
}

impl Owned for Account {
    fn target(&self) -> Target {
        Target::Account { account: self.id, made_by: None }
    }
}
