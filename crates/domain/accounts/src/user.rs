//! A person: one row per provider user id, never keyed by e-mail.

use portal_identity::{ProviderOrganizationId, ProviderUser, ProviderUserId};
use portal_kernel::{AccountId, Timestamp, UserId};

use crate::{KnownMembership, PersonalSettings, Versioned};

/// Whether a person can use the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// Yes.
    Active,
    /// Not while the provider bans them. Their personal account is paused with them.
    Paused,
    /// The provider deleted them. The profile is erased; nothing brings the person back.
    Deleted,
}

impl UserState {
    /// The stored text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Deleted => "deleted",
        }
    }

    /// From the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Deleted].into_iter().find(|state| state.as_str() == text)
    }
}

/// A person as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Our id.
    pub id: UserId,
    /// The provider's id, unique.
    pub provider_id: ProviderUserId,
    /// The account that came with the person.
    pub personal_account: AccountId,
    /// Whether they can use the program.
    pub state: UserState,
    /// What the provider told last; none if it never did.
    pub copy: Option<Versioned<Profile>>,
    /// What the person chose here.
    pub settings: PersonalSettings,
    /// When we asked the provider last for the profile.
    pub asked_at: Option<Timestamp>,
    /// When we asked the provider last because a token named another membership than is stored.
    pub memberships_asked_at: Option<Timestamp>,
    /// When the person appeared here.
    pub created_at: Timestamp,
}

impl User {
    /// Empty until the provider told something.
    pub fn profile(&self) -> &Profile {
        self.copy.as_ref().map_or(&Profile::EMPTY, |copy| &copy.content)
    }

    /// Whether the provider said that the primary e-mail is not verified. Without an address, or before the provider told, nothing is
    /// known.
    pub fn email_unverified(&self) -> bool {
        self.profile().email.is_some() && !self.profile().email_verified
    }

    /// Whether the provider has to be asked.
    pub fn is_unclear(&self) -> bool {
        self.state != UserState::Deleted && self.copy.as_ref().is_none_or(|copy| copy.doubtful)
    }
}

/// What we keep of the provider's record of a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
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
    /// Whether the provider lets the person sign in no more.
    pub banned: bool,
}

impl Profile {
    const EMPTY: Self =
        Self { email: None, email_verified: false, first_name: None, last_name: None, image_url: None, banned: false };

    /// The state of a person with this profile.
    pub fn state(&self) -> UserState {
        if self.banned { UserState::Paused } else { UserState::Active }
    }
}

impl From<ProviderUser> for Profile {
    fn from(user: ProviderUser) -> Self {
        let keep = |text: Option<String>, most| text.and_then(|text| displayable(&text, most));
        Self {
            email: keep(user.email, 320),
            email_verified: user.email_verified,
            first_name: keep(user.first_name, 256),
            last_name: keep(user.last_name, 256),
            image_url: keep(user.image_url, 2048),
            banned: user.banned,
        }
    }
}

/// The provider's text as it can be stored and shown: without control characters, cut to so many characters. None if nothing is left.
pub(crate) fn displayable(text: &str, most: usize) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(most).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// A person and all their memberships, read in one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// The person.
    pub user: User,
    /// Where the person belongs; holds at least the personal account.
    pub memberships: Vec<KnownMembership>,
}

impl KnownUser {
    /// The membership in an organization.
    pub fn member_of(&self, organization: &ProviderOrganizationId) -> Option<&KnownMembership> {
        self.memberships.iter().find(|member| member.provider_organization.as_ref() == Some(organization))
    }
}

#[cfg(test)]
mod tests {
    use super::displayable;

    #[test]
    fn whatever_the_provider_sends_can_be_stored_and_shown() {
        assert_eq!(displayable(" Ada\u{0}\n\u{1b}[1m ", 256).as_deref(), Some("Ada[1m"));
        assert_eq!(displayable(&"é".repeat(300), 256).map(|text| text.chars().count()), Some(256));
        assert_eq!(displayable(" \u{0} ", 256), None);
    }
}
