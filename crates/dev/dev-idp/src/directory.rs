//! Everything that exists at the provider right now, under one lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::people::{Membership, NAMES, Organization, Person, person};
use crate::sessions::Session;

/// An invitation to an organization.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    pub(crate) id: String,
    pub(crate) organization_id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) inviter_id: Option<String>,
    /// Who accepted it.
    pub(crate) user_id: Option<String>,
    /// Past its end, `pending` means `expired`.
    pub(crate) stored_status: &'static str,
    pub(crate) expires_at: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

impl Invitation {
    pub(crate) fn status(&self, now: i64) -> &'static str {
        if self.stored_status == "pending" && self.expires_at <= now { "expired" } else { self.stored_status }
    }
}

/// Who exists right now; starts with the sample people. Lists are in the order in which things came to be.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) people: Vec<Person>,
    pub(crate) organizations: Vec<Organization>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) invitations: Vec<Invitation>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            people: NAMES.into_iter().filter_map(person).collect(),
            organizations: vec![Organization::acme()],
            sessions: Vec::new(),
            invitations: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn person(&self, user_id: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.user_id == user_id)
    }

    pub(crate) fn person_mut(&mut self, user_id: &str) -> Option<&mut Person> {
        self.people.iter_mut().find(|person| person.user_id == user_id)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }

    pub(crate) fn organization(&self, id_or_slug: &str) -> Option<&Organization> {
        self.organizations
            .iter()
            .find(|organization| organization.id == id_or_slug)
            .or_else(|| self.organizations.iter().find(|organization| organization.slug == id_or_slug))
    }

    pub(crate) fn members<'a>(
        &'a self,
        organization_id: &'a str,
    ) -> impl Iterator<Item = (&'a Person, &'a Membership)> {
        self.people.iter().filter_map(move |person| Some((person, person.membership(organization_id)?)))
    }

    pub(crate) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    pub(crate) fn invitation(&self, id: &str) -> Option<&Invitation> {
        self.invitations.iter().find(|invitation| invitation.id == id)
    }

    pub(crate) fn pending_invitations(&self, organization_id: &str) -> usize {
        let pending = |invitation: &&Invitation| invitation.stored_status == "pending";
        self.invitations.iter().filter(pending).filter(|held| held.organization_id == organization_id).count()
    }

    /// Whether the instance has this role: those of Clerk and of the sample people, and what anybody holds.
    pub(crate) fn knows_role(&self, role: &str) -> bool {
        ["org:admin", "org:member", "org:editor", "org:viewer"].contains(&role)
            || self.people.iter().flat_map(|person| &person.memberships).any(|held| held.role == role)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<World>);

impl Directory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        // Lists are whole between any two statements, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
