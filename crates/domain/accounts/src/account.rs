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
    /// Whom the account was given to last, which only this program knows; none if it never was.
    pub given_to: Option<ProviderUserId>,
    /// What the provider told last; none if it is known from a membership only.
    pub copy: Option<Versioned<OrganizationRecord>>,
}

impl OrganizationAccount {
    /// The one person who owns it while the provider has them as an administrator.
    pub fn owner(&self) -> Option<&ProviderUserId> {
        self.given_to.as_ref().or(self.created_by.as_ref())
    }
}

/// A name for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 256 characters, none of them invisible")]
pub struct InvalidAccountName;

impl AccountName {
    /// Cuts white space at both ends.
    pub fn parse(text: &str) -> Result<Self, InvalidAccountName> {
        let text = text.trim();
        let fits = (1..=NAME_LENGTH).contains(&text.chars().count());
        if fits && text.chars().all(is_visible) { Ok(Self(text.to_owned())) } else { Err(InvalidAccountName) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// No control character, and none that only changes how others are shown: names could pass for others.
fn is_visible(c: char) -> bool {
    let formats = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !formats
}

impl Owned for Account {
    fn target(&self) -> Target {
        Target::Account { account: self.id, made_by: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen() {
        assert_eq!(AccountName::parse("  Zoë & Söhne 株式会社 ").unwrap().as_str(), "Zoë & Söhne 株式会社");
        let longest = "x".repeat(NAME_LENGTH);
        assert!(AccountName::parse(&longest).is_ok());
        for text in ["", " \u{a0}", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", &format!("{longest}x")] {
            assert!(AccountName::parse(text).is_err(), "{text:?}");
        }
    }
}
