//! User × account × role, and how the provider's role keys map to ours.

use std::collections::BTreeMap;

use portal_authz::Role;
use portal_identity::{ActiveOrganization, ProviderMembershipId, ProviderOrganizationId};
use portal_kernel::{AccountId, UserId};

use crate::Versioned;

/// What we keep of the provider's record of a membership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MembershipRecord {
    /// The provider's id.
    pub id: ProviderMembershipId,
    /// The provider's role key.
    pub role: String,
}

/// A membership as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// Our role; none if the provider's role key is not mapped.
    pub role: Option<Role>,
    /// What the provider told last; none in a personal account.
    pub copy: Option<Versioned<MembershipRecord>>,
}

/// A membership as the sign-in sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMembership {
    /// Where.
    pub account: AccountId,
    /// Our role; none if the provider's role key is not mapped.
    pub role: Option<Role>,
    /// The provider's role key that it came with.
    pub provider_role: Option<String>,
    /// The organization behind the account.
    pub provider_organization: Option<ProviderOrganizationId>,
}

impl KnownMembership {
    /// The role for one request. In the organization that the token names, a role key other than the stored one counts only
    /// downwards: the lower of its mapping and the stored role, and none if it is not mapped.
    pub fn effective_role(&self, active: Option<&ActiveOrganization>, map: &RoleMap) -> Option<Role> {
        let named = active.filter(|organization| Some(&organization.id) == self.provider_organization.as_ref());
        match named.and_then(|organization| organization.role.as_deref()) {
            Some(key) if self.provider_role.as_deref() != Some(key) => map.role(key).min(self.role),
            _ => self.role,
        }
    }
}

/// Which of our roles a provider's role key means. A key that is not in the map gives no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMap(BTreeMap<String, Role>);

impl RoleMap {
    /// The role, or none for an unmapped key.
    pub fn role(&self, key: &str) -> Option<Role> {
        self.0.get(key).copied()
    }

    /// The role of a member. Whoever created an organization owns it while the provider has them as an administrator.
    pub fn member(&self, key: &str, is_creator: bool) -> Option<Role> {
        match self.role(key) {
            Some(Role::Admin) if is_creator => Some(Role::Owner),
            mapped => mapped,
        }
    }
}

impl Default for RoleMap {
    fn default() -> Self {
        let entries = [
            ("org:admin", Role::Admin),
            ("org:editor", Role::Editor),
            ("org:viewer", Role::Viewer),
            ("org:member", Role::Editor),
        ];
        Self(entries.into_iter().map(|(key, role)| (key.to_owned(), role)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(id: &str, role: Option<&str>) -> ActiveOrganization {
        ActiveOrganization {
            id: ProviderOrganizationId::parse(id).unwrap(),
            slug: None,
            role: role.map(ToOwned::to_owned),
            permissions: Vec::new(),
        }
    }

    #[test]
    fn a_token_can_lower_a_stored_role_and_never_raise_it() {
        let stored = |role, key: &str| KnownMembership {
            account: "acc_00000000000000000000000001".parse().unwrap(),
            role: Some(role),
            provider_role: Some(key.to_owned()),
            provider_organization: Some(ProviderOrganizationId::parse("org_acme").unwrap()),
        };
        let map = RoleMap::default();
        for (role, stored_key, org, token_key, expected) in [
            (Role::Owner, "org:admin", "org_acme", Some("org:admin"), Some(Role::Owner)),
            (Role::Owner, "org:admin", "org_acme", Some("org:viewer"), Some(Role::Viewer)),
            (Role::Viewer, "org:viewer", "org_acme", Some("org:admin"), Some(Role::Viewer)),
            (Role::Admin, "org:admin", "org_acme", Some("org:unheard_of"), None),
            (Role::Admin, "org:admin", "org_acme", None, Some(Role::Admin)),
            (Role::Admin, "org:admin", "org_other", Some("org:viewer"), Some(Role::Admin)),
        ] {
            let active = organization(org, token_key);
            assert_eq!(stored(role, stored_key).effective_role(Some(&active), &map), expected, "{role} {token_key:?}");
        }
    }
}
