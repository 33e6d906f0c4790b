//! People and, through [`Changes::put_person`], everything about them at once.

use super::Changes;
use crate::error::ApiError;
use crate::people::{Membership, Person};
use crate::shapes;

/// What changes about a user; none leaves it as it is.
#[derive(Default)]
pub(crate) struct UserUpdate {
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    /// An empty text takes the name away.
    pub(crate) username: Option<String>,
}

impl Changes<'_> {
    pub(crate) fn put_person(&mut self, mut person: Person) {
        let known = self.world.person(&person.user_id).cloned();
        if known.as_ref() == Some(&person) {
            return;
        }
        let mut founded = Vec::new();
        for held in &mut person.memberships {
            match self.world.organization(&held.organization.id) {
                Some(organization) if organization.id == held.organization.id => {
                    held.organization.clone_from(organization);
                }
                _ => {
                    self.world.organizations.push(held.organization.clone());
                    founded.push(held.organization.clone());
                }
            }
        }
        let Some(known) = known else {
            self.world.people.push(person.clone());
            self.event("user.created", shapes::user(self.world, &person));
            for organization in founded {
                self.event("organization.created", shapes::organization(self.world, &organization));
            }
            for held in &person.memberships {
                self.event("organizationMembership.created", shapes::membership(self.world, &person, held));
            }
            return;
        };
        let kinds = self.move_times(&known, &mut person);
        let changed = told_of(&known) != told_of(&person);
        if changed && person.updated_at <= known.updated_at {
            person.updated_at = self.after(known.updated_at);
        }
        if let Some(place) = self.world.person_mut(&person.user_id) {
            *place = person.clone();
        }
        if changed {
            self.event("user.updated", shapes::user(self.world, &person));
        }
        for organization in founded {
            self.event("organization.created", shapes::organization(self.world, &organization));
        }
        for (held, kind) in person.memberships.iter().zip(kinds) {
            if let Some(kind) = kind {
                self.event(kind, shapes::membership(self.world, &person, held));
            }
        }
        for held in known.memberships.iter().filter(|held| person.membership(&held.organization.id).is_none()) {
            let held = Membership { updated_at: self.after(held.updated_at), ..held.clone() };
            self.event("organizationMembership.deleted", shapes::membership(self.world, &person, &held));
        }
    }

    /// Moves the times of memberships that are new or changed, and says what happened to each.
    fn move_times(&self, known: &Person, person: &mut Person) -> Vec<Option<&'static str>> {
        let judge = |held: &mut Membership| match known.membership(&held.organization.id) {
            None => {
                held.updated_at = held.updated_at.max(self.now());
                held.created_at = held.updated_at;
                Some("organizationMembership.created")
            }
            Some(before) if (&before.id, &before.role) == (&held.id, &held.role) => {
                held.updated_at = held.updated_at.max(before.updated_at);
                (held.updated_at > before.updated_at).then_some("organizationMembership.updated")
            }
            Some(before) => {
                if held.updated_at <= before.updated_at {
                    held.updated_at = self.after(before.updated_at);
                }
                Some("organizationMembership.updated")
            }
        };
        person.memberships.iter_mut().map(judge).collect()
    }

    pub(crate) fn update_user(&mut self, user_id: &str, update: UserUpdate) -> Result<Person, ApiError> {
        if let Some(name) = &update.username
            && self
                .world
                .people
                .iter()
                .any(|person| person.username.as_ref() == Some(name) && person.user_id != user_id)
        {
            return Err(ApiError::identifier_exists("username"));
        }
        let mut person = self.world.person(user_id).cloned().ok_or_else(|| ApiError::user_not_found(user_id))?;
        let UserUpdate { first_name, last_name, username } = update;
        person.first_name = first_name.unwrap_or(person.first_name);
        person.last_name = last_name.unwrap_or(person.last_name);
        if let Some(name) = username {
            person.username = Some(name).filter(|name| !name.is_empty());
        }
        person.updated_at = self.after(person.updated_at);
        if let Some(place) = self.world.person_mut(user_id) {
            place.clone_from(&person);
        }
        self.event("user.updated", shapes::user(self.world, &person));
        Ok(person)
    }

    /// The person is gone with memberships and sessions, of which no event tells.
    pub(crate) fn remove_person(&mut self, user_id: &str) -> Result<(), ApiError> {
        self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        self.world.people.retain(|person| person.user_id != user_id);
        self.world.sessions.retain(|session| session.user_id != user_id);
        self.event("user.deleted", shapes::deleted("user", user_id));
        Ok(())
    }
}

/// What programs are told about a person, without memberships and sessions.
fn told_of(person: &Person) -> Person {
    Person {
        name: String::new(),
        session_id: String::new(),
        memberships: Vec::new(),
        active_organization: None,
        ..person.clone()
    }
}
