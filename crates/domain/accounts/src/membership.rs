//! User × account × role, and how the provider's role keys map to ours.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use portal_authz::Role;
use portal_identity::{ActiveOrganization, ProviderMembershipId, ProviderOrganizationId};
use portal_kernel::{AccountId, Timestamp, UserId};

use crate::{Source, Versioned};

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
    /// Other memberships of the same version: whoever leaves and comes back within one moment has two, and which is the later one is
    /// known when the other is told to have ended. In their order, each id once.
    pub rivals: Vec<MembershipRecord>,
}

/// What is known of somebody's memberships in one organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// The one that counts: the greatest of its version.
    pub copy: Versioned<MembershipRecord>,
    /// The others of its version.
    pub rivals: Vec<MembershipRecord>,
}

impl Stays {
    /// What is known after a record was learnt; none if nothing changes. The rule of [`Versioned::merged`], but that two ids are never two
    /// contents of one record. Pure and total.
    pub fn learnt(stored: Option<Self>, record: MembershipRecord, version: Timestamp, source: Source) -> Option<Self> {
        let settled =
            |content| Some(Self { copy: Versioned { content, version, doubtful: false }, rivals: Vec::new() });
        let Some(stored) = stored else { return settled(record) };
        match version.cmp(&stored.copy.version) {
            Ordering::Less => None,
            Ordering::Greater => settled(record),
            Ordering::Equal if source == Source::Read => {
                let is_known = !stored.copy.doubtful && stored.rivals.is_empty() && stored.copy.content == record;
                if is_known { None } else { settled(record) }
            }
            Ordering::Equal => {
                let known = std::iter::once(&stored.copy.content).chain(&stored.rivals).cloned();
                let mut all: BTreeMap<_, _> = known.map(|record| (record.id, record.role)).collect();
                let role = all.entry(record.id).or_insert_with(|| record.role.clone());
                let doubtful = stored.copy.doubtful || *role != record.role;
                if *role < record.role {
                    *role = record.role;
                }
                Self::of(all, version, doubtful).filter(|now| *now != stored)
            }
        }
    }

    /// What is left after a membership ended; none if that was the only one.
    pub fn without(self, id: &ProviderMembershipId) -> Option<Self> {
        let Self { copy: Versioned { content, version, doubtful }, rivals } = self;
        let all = std::iter::once(content).chain(rivals).filter(|record| record.id != *id);
        Self::of(all.map(|record| (record.id, record.role)).collect(), version, doubtful)
    }

    /// Whether one of them has this id.
    pub fn contains(&self, id: &ProviderMembershipId) -> bool {
        self.copy.content.id == *id || self.rivals.iter().any(|record| record.id == *id)
    }

    fn of(all: BTreeMap<ProviderMembershipId, String>, version: Timestamp, doubtful: bool) -> Option<Self> {
        let mut rivals: Vec<_> = all.into_iter().map(|(id, role)| MembershipRecord { id, role }).collect();
        let content = rivals.pop()?;
        Some(Self { copy: Versioned { content, version, doubtful: doubtful || !rivals.is_empty() }, rivals })
    }
}

impl Membership {
    /// What is known of the provider's memberships behind it; none in a personal account.
    pub fn stays(&self) -> Option<Stays> {
        let copy = self.copy.clone()?;
        Some(Stays { copy, rivals: self.rivals.clone() })
    }
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

/// How long a membership that nobody confirmed is believed.
const BELIEVED: Duration = Duration::from_mins(1);

/// What is known of a person in an account where they are no member, while a token names them as one.
///
/// Such a token is believed if it was made after the last removal that we heard of, and for a minute: until then the provider has been
/// asked, or it stays unconfirmed and nobody is let in any more before the provider confirms it. When it was made is told by the
/// provider's clock, in seconds, and the removal by ours, which may be behind by the tolerated difference: a token that is newer by no
/// more than that is not believed, nor one that tells no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where.
    pub account: AccountId,
    /// When we heard of the last removal, or heard that there is no membership.
    pub removed_at: Option<Timestamp>,
    /// Since when tokens are believed.
    pub trusted_since: Option<Timestamp>,
}

impl Standing {
    /// Whether a token that was made at that moment is believed now, where clocks may differ by `clock_skew`.
    pub fn believes(&self, issued_at: Option<Timestamp>, now: Timestamp, clock_skew: Duration) -> bool {
        issued_at.is_some_and(|issued_at| self.removed_at.is_none_or(|removed| issued_at > removed.plus(clock_skew)))
            && self.trusted_since.is_none_or(|since| now.since(since) < BELIEVED)
    }
}

/// Which of our roles a provider's role key means. A key that is not in the map gives no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMap(Vec<(String, Role)>);

/// A map that nothing can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleMap {
    /// Not `KEY=ROLE`.
    #[error("must be a list of KEY=ROLE, for example org:admin=admin,org:member=editor")]
    Malformed,
    /// Owner is ours alone.
    #[error(
        "a role key cannot make an owner: use admin; the owner is who created the organization, or whom they gave it to"
    )]
    Owner,
    /// A key stands there twice.
    #[error("a role key stands there twice")]
    Repeated,
    /// Nobody could own an organization.
    #[error("no role key means admin: organizations would have no owner")]
    NoAdmin,
}

impl RoleMap {
    /// From `KEY=ROLE` entries. The first key of a role is the one that is asked for when a member gets it.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRoleMap> {
        let mut map: Vec<(String, Role)> = Vec::new();
        for entry in entries {
            let (key, role) = entry.split_once('=').ok_or(InvalidRoleMap::Malformed)?;
            let role = Role::parse(role.trim()).ok_or(InvalidRoleMap::Malformed)?;
            let key = key.trim();
            match role {
                _ if key.is_empty() => return Err(InvalidRoleMap::Malformed),
                Role::Owner => return Err(InvalidRoleMap::Owner),
                _ if map.iter().any(|(known, _)| known == key) => return Err(InvalidRoleMap::Repeated),
                Role::Viewer | Role::Editor | Role::Admin => map.push((key.to_owned(), role)),
            }
        }
        if map.iter().any(|(_, role)| *role == Role::Admin) { Ok(Self(map)) } else { Err(InvalidRoleMap::NoAdmin) }
    }

    /// The role, or none for an unmapped key.
    pub fn role(&self, key: &str) -> Option<Role> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, role)| *role)
    }

    /// The key to ask for when a member gets the role; none if no key means it. An owner is an administrator at the provider.
    pub fn key(&self, role: Role) -> Option<&str> {
        let wanted = role.min(Role::Admin);
        self.0.iter().find(|(_, role)| *role == wanted).map(|(key, _)| key.as_str())
    }

    /// The role of somebody whom only a token names as a member: never that of an owner.
    pub fn provisional(&self, named: &ActiveOrganization) -> Option<Role> {
        named.role.as_deref().and_then(|key| self.role(key)).map(|role| role.min(Role::Admin))
    }

    /// The role of a member. Whoever owns an organization does so while the provider has them as an administrator.
    pub fn member(&self, key: &str, is_owner: bool) -> Option<Role> {
        match self.role(key) {
            Some(Role::Admin) if is_owner => Some(Role::Owner),
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
    fn of_two_stays_of_one_moment_the_one_is_left_whose_end_is_not_told() {
        let record = |id: &str, role: &str| MembershipRecord {
            id: ProviderMembershipId::parse(id).unwrap(),
            role: role.to_owned(),
        };
        let at = |second| Timestamp::from_unix_seconds(second).unwrap();
        let (first, second) = (record("orgmem_1", "org:admin"), record("orgmem_2", "org:member"));
        let told = |stored, record: &MembershipRecord| Stays::learnt(stored, record.clone(), at(5), Source::Told);
        let (one, other) = (told(told(None, &first), &second).unwrap(), told(told(None, &second), &first).unwrap());
        assert_eq!(one, other, "whichever came first");
        assert_eq!((one.rivals.len(), one.copy.doubtful), (1, true));
        assert_eq!(told(Some(one.clone()), &first), None, "told again");
        for (gone, left) in [(&first, &second), (&second, &first)] {
            let stays = one.clone().without(&gone.id).unwrap();
            assert_eq!((&stays.copy.content, stays.rivals.len()), (left, 0));
            assert_eq!(stays.without(&left.id), None);
        }
        let later = Stays::learnt(Some(one.clone()), first.clone(), at(6), Source::Told).unwrap();
        assert_eq!((later.copy.content, later.rivals.len()), (first.clone(), 0));
        let read = Stays::learnt(Some(one.clone()), first.clone(), at(5), Source::Read).unwrap();
        assert_eq!((&read.copy.content, read.copy.doubtful, read.rivals.len()), (&first, false, 0));
        assert_eq!(Stays::learnt(Some(read), first.clone(), at(5), Source::Read), None);
        assert_eq!(Stays::learnt(Some(one.clone()), first.clone(), at(4), Source::Told), None);
        let greater = record("orgmem_1", "org:viewer");
        assert_eq!(told(told(Some(one.clone()), &greater), &first), None, "the greater content of a record is kept");
    }

    #[test]
    fn a_map_is_read_from_text_and_its_first_key_is_asked_for() {
        let parse = |text: &str| RoleMap::parse(text.split(','));
        let map = parse("org:boss=admin, org:member = viewer,org:guest=viewer").unwrap();
        assert_eq!((map.role("org:boss"), map.role("org:guest")), (Some(Role::Admin), Some(Role::Viewer)));
        assert_eq!((map.role("org:admin"), map.key(Role::Viewer)), (None, Some("org:member")));
        assert_eq!((map.key(Role::Owner), map.key(Role::Editor)), (Some("org:boss"), None));
        for (text, expected) in [
            ("org:admin", InvalidRoleMap::Malformed),
            ("=admin", InvalidRoleMap::Malformed),
            ("org:admin=boss", InvalidRoleMap::Malformed),
            ("org:admin=owner", InvalidRoleMap::Owner),
            ("org:a=admin,org:a=viewer", InvalidRoleMap::Repeated),
            ("org:member=viewer", InvalidRoleMap::NoAdmin),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
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

    #[test]
    fn a_token_is_believed_for_a_minute_if_it_is_newer_than_the_last_removal() {
        let at = |second| Timestamp::from_unix_seconds(second).unwrap();
        let account = "acc_00000000000000000000000001".parse().unwrap();
        for (removed, trusted, issued, now, expected) in [
            (None, None, Some(100), 100, true),
            (None, None, None, 100, false),
            (None, Some(100), Some(150), 159, true),
            (None, Some(100), Some(150), 160, false),
            (Some(100), None, Some(99), 100, false),
            (Some(100), None, Some(100), 100, false),
            (Some(100), None, Some(101), 101, false),
            (Some(100), None, Some(103), 100, false),
            (Some(100), None, Some(105), 105, false),
            (Some(100), None, Some(106), 106, true),
            (Some(100), None, None, 106, false),
            (Some(100), Some(100), Some(130), 159, true),
            (Some(100), Some(90), Some(130), 150, false),
        ] {
            let standing = Standing { account, removed_at: removed.map(at), trusted_since: trusted.map(at) };
            let believed = standing.believes(issued.map(at), at(now), Duration::from_secs(5));
            assert_eq!(believed, expected, "{standing:?} {issued:?} {now}");
        }
    }

    #[test]
    fn nobody_owns_an_account_because_a_token_says_so() {
        let map = RoleMap([("org:admin".to_owned(), Role::Admin), ("org:boss".to_owned(), Role::Owner)].into());
        for (key, expected) in [("org:admin", Some(Role::Admin)), ("org:boss", Some(Role::Admin)), ("org:member", None)]
        {
            assert_eq!(map.provisional(&organization("org_acme", Some(key))), expected, "{key}");
        }
        assert_eq!(map.provisional(&organization("org_acme", None)), None);
    }
}
