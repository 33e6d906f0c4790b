//! The sample people and their organization.
//!
//! Ids and times are fixed, so that what a development database remembers still fits after a restart.

/// Names of the sample people.
pub const NAMES: [&str; 5] = ["alice", "adam", "edith", "victor", "stranger"];

/// 2026-01-01T00:00:00Z in milliseconds: when everything that ships with the provider was made.
const EPOCH: i64 = 1_767_225_600_000;

/// An organization at the provider. It stays when everybody leaves it, until it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// `org_…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Name in addresses and tokens.
    pub slug: String,
    /// User id of the person who made it.
    pub created_by: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

impl Organization {
    /// An organization with ids derived from its name.
    pub fn new(name: &str, created_by: &str) -> Self {
        let slug = word(name);
        Self {
            id: format!("org_dev_{slug}"),
            name: name.to_owned(),
            slug: slug.replace('_', "-"),
            created_by: created_by.to_owned(),
            created_at: EPOCH,
            updated_at: EPOCH,
        }
    }

    /// The organization of the sample people, made by `alice`.
    pub fn acme() -> Self {
        Self::new("Acme", "user_dev_alice")
    }
}

/// A person's place in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// `orgmem_…`.
    pub id: String,
    /// Where.
    pub organization: Organization,
    /// The provider's role key, with its prefix `org:`.
    pub role: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// Somebody who can sign in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Short name for commands and pages.
    pub name: String,
    /// `user_…`.
    pub user_id: String,
    /// `sess_…`: the session that tokens of the person name. Another takes its place after a new sign-in.
    pub session_id: String,
    /// Primary address.
    pub email: String,
    /// Whether the provider verified the address.
    pub email_verified: bool,
    /// Name that the person signs in with, if there is one beside the address.
    pub username: Option<String>,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Avatar; empty means initials, so that nothing is loaded from outside.
    pub image_url: String,
    /// Whether the provider lets the person sign in no more.
    pub banned: bool,
    /// Organizations, oldest first.
    pub memberships: Vec<Membership>,
    /// Id of the organization that the session acts in.
    pub active_organization: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970; tests that change a person move it.
    pub updated_at: i64,
}

impl Person {
    /// A person without organization whose ids are derived from the name: `user_dev_<name>` and so on.
    ///
    /// In ids, everything but ASCII letters and digits becomes an underscore.
    pub fn new(name: &str) -> Self {
        let word = word(name);
        Self {
            name: name.to_owned(),
            user_id: format!("user_dev_{word}"),
            session_id: format!("sess_dev_{word}"),
            email: format!("{word}@example.test"),
            email_verified: true,
            username: None,
            first_name: capitalized(name),
            last_name: "Example".to_owned(),
            image_url: String::new(),
            banned: false,
            memberships: Vec::new(),
            active_organization: None,
            created_at: EPOCH,
            updated_at: EPOCH,
        }
    }

    /// The same person as a member, with the session acting in that organization.
    #[must_use]
    pub fn member_of(mut self, organization: Organization, role: &str) -> Self {
        self.active_organization = Some(organization.id.clone());
        self.memberships.retain(|membership| membership.organization.id != organization.id);
        self.memberships.push(Membership {
            id: format!("orgmem_dev_{}_{}", word(&self.name), word(&organization.slug)),
            organization,
            role: role.to_owned(),
            created_at: EPOCH,
            updated_at: EPOCH,
        });
        self
    }

    /// The membership of the organization that the session acts in.
    pub fn active_membership(&self) -> Option<&Membership> {
        let active = self.active_organization.as_deref()?;
        self.membership(active)
    }

    /// The membership of one organization.
    pub fn membership(&self, organization_id: &str) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.organization.id == organization_id)
    }
}

/// One of the sample people.
pub fn person(name: &str) -> Option<Person> {
    let family = match name {
        "alice" => "Archer",
        "adam" => "Baker",
        "edith" => "Carver",
        "victor" => "Dyer",
        "stranger" => "Elsewhere",
        _ => return None,
    };
    let person = Person { last_name: family.to_owned(), ..Person::new(name) };
    Some(match name {
        "alice" | "adam" => person.member_of(Organization::acme(), "org:admin"),
        "edith" => person.member_of(Organization::acme(), "org:editor"),
        "victor" => person.member_of(Organization::acme(), "org:viewer"),
        _ => person,
    })
}

pub(crate) fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use portal_identity::{ProviderOrganizationId, ProviderSessionId, ProviderUserId};

    use super::*;

    #[test]
    fn everybody_has_ids_that_the_portal_accepts() {
        let added = Person::new("Zoë O'Neil-2").member_of(Organization::new("Ümlaut & Co", "user_dev_x"), "org:viewer");
        for person in NAMES.into_iter().filter_map(person).chain([added]) {
            ProviderUserId::parse(&person.user_id).unwrap();
            ProviderSessionId::parse(&person.session_id).unwrap();
            for membership in &person.memberships {
                ProviderOrganizationId::parse(&membership.organization.id).unwrap();
            }
        }
    }

    #[test]
    fn acme_has_the_roles_of_the_design_and_the_stranger_is_alone() {
        let role = |name: &str| person(name).unwrap().active_membership().map(|held| held.role.clone());
        assert_eq!(role("alice").as_deref(), Some("org:admin"));
        assert_eq!(role("adam").as_deref(), Some("org:admin"));
        assert_eq!(role("edith").as_deref(), Some("org:editor"));
        assert_eq!(role("victor").as_deref(), Some("org:viewer"));
        assert_eq!(role("stranger"), None);
        assert_eq!(Organization::acme().created_by, person("alice").unwrap().user_id);
        assert_eq!(person("bob"), None);
    }
}
