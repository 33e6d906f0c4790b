//! Organizations and who belongs to them.

use super::Changes;
use crate::error::ApiError;
use crate::people::{Membership, Organization, Person, word};
use crate::shapes;
use crate::token::random_hex;

const ADMIN: &str = "org:admin";

/// An organization to be made.
pub(crate) struct NewOrganization {
    pub(crate) name: String,
    pub(crate) slug: Option<String>,
    pub(crate) created_by: Option<String>,
}

impl Changes<'_> {
    /// As a program of the provider's own sets it; unknown ones are left alone.
    pub(crate) fn put_organization(&mut self, organization: &Organization) {
        let Some(known) = self.world.organizations.iter_mut().find(|known| known.id == organization.id) else { return };
        if known == organization {
            return;
        }
        let before = known.updated_at;
        let mut organization = organization.clone();
        if organization.updated_at <= before {
            organization.updated_at = self.after(before);
        }
        self.store(&organization);
        self.event("organization.updated", shapes::organization(self.world, &organization));
    }

    pub(crate) fn create_organization(&mut self, new: NewOrganization) -> Result<Organization, ApiError> {
        if let Some(user_id) = &new.created_by {
            self.world.person(user_id).ok_or_else(|| ApiError::creator_not_found(user_id))?;
        }
        let slug = match new.slug {
            Some(slug) => self.free_slug(slug, "")?,
            None => self.derived_slug(&new.name),
        };
        let organization = Organization {
            id: format!("org_{}", random_hex::<14>()),
            name: new.name,
            slug,
            created_by: new.created_by.clone().unwrap_or_default(),
            created_at: self.now(),
            updated_at: self.now(),
        };
        self.world.organizations.push(organization.clone());
        self.event("organization.created", shapes::organization(self.world, &organization));
        if let Some(user_id) = new.created_by {
            self.join(organization.clone(), &user_id, ADMIN)?;
        }
        Ok(organization)
    }

    pub(crate) fn update_organization(
        &mut self,
        id: &str,
        name: Option<String>,
        slug: Option<String>,
    ) -> Result<Organization, ApiError> {
        let known = self.known_organization(id)?;
        let slug = slug.map(|slug| self.free_slug(slug, &known.id)).transpose()?;
        let organization = Organization {
            name: name.unwrap_or_else(|| known.name.clone()),
            slug: slug.unwrap_or_else(|| known.slug.clone()),
            updated_at: self.after(known.updated_at),
            ..known
        };
        self.store(&organization);
        self.event("organization.updated", shapes::organization(self.world, &organization));
        Ok(organization)
    }

    /// The organization is gone with memberships and invitations, of which no event tells.
    pub(crate) fn delete_organization(&mut self, id: &str) -> Result<serde_json::Value, ApiError> {
        let organization = self.known_organization(id)?;
        for person in &mut self.world.people {
            person.memberships.retain(|held| held.organization.id != organization.id);
            if person.active_organization.as_ref() == Some(&organization.id) {
                person.active_organization = None;
            }
        }
        self.world.organizations.retain(|known| known.id != organization.id);
        self.world.invitations.retain(|invitation| invitation.organization_id != organization.id);
        let mut deleted = shapes::deleted("organization", &organization.id);
        deleted["slug"] = organization.slug.into();
        self.event("organization.deleted", deleted.clone());
        Ok(deleted)
    }

    pub(crate) fn create_membership(
        &mut self,
        id: &str,
        user_id: &str,
        role: &str,
    ) -> Result<(Person, Membership), ApiError> {
        let organization = self.known_organization(id)?;
        let person = self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        if person.membership(&organization.id).is_some() {
            return Err(ApiError::already_a_member(&person.email));
        }
        if !self.world.knows_role(role) {
            return Err(ApiError::role_not_found());
        }
        self.join(organization, user_id, role)
    }

    /// For callers that made sure of everything.
    pub(super) fn join(
        &mut self,
        organization: Organization,
        user_id: &str,
        role: &str,
    ) -> Result<(Person, Membership), ApiError> {
        let membership = Membership {
            id: format!("orgmem_{}", random_hex::<14>()),
            organization,
            role: role.to_owned(),
            created_at: self.now(),
            updated_at: self.now(),
        };
        let person = self.change_person(user_id, |person| person.memberships.push(membership.clone()))?;
        self.event("organizationMembership.created", shapes::membership(self.world, &person, &membership));
        Ok((person, membership))
    }

    pub(crate) fn update_membership(
        &mut self,
        id: &str,
        user_id: &str,
        role: &str,
    ) -> Result<(Person, Membership), ApiError> {
        let mut membership = self.known_membership(id, user_id)?;
        if !self.world.knows_role(role) {
            return Err(ApiError::role_not_found());
        }
        if role != ADMIN {
            self.another_admin_than(&membership, user_id)?;
        }
        role.clone_into(&mut membership.role);
        membership.updated_at = self.after(membership.updated_at);
        let person = self.change_person(user_id, |person| {
            if let Some(held) = person.memberships.iter_mut().find(|held| held.id == membership.id) {
                held.clone_from(&membership);
            }
        })?;
        self.event("organizationMembership.updated", shapes::membership(self.world, &person, &membership));
        Ok((person, membership))
    }

    pub(crate) fn delete_membership(&mut self, id: &str, user_id: &str) -> Result<(Person, Membership), ApiError> {
        let mut membership = self.known_membership(id, user_id)?;
        self.another_admin_than(&membership, user_id)?;
        membership.updated_at = self.after(membership.updated_at);
        let person = self.change_person(user_id, |person| {
            person.memberships.retain(|held| held.id != membership.id);
            if person.active_organization.as_ref() == Some(&membership.organization.id) {
                person.active_organization = None;
            }
        })?;
        self.event("organizationMembership.deleted", shapes::membership(self.world, &person, &membership));
        Ok((person, membership))
    }

    /// An organization by id or slug.
    pub(crate) fn known_organization(&self, id: &str) -> Result<Organization, ApiError> {
        self.world.organization(id).cloned().ok_or_else(|| ApiError::organization_not_found(id))
    }

    fn known_membership(&self, id: &str, user_id: &str) -> Result<Membership, ApiError> {
        let organization = self.known_organization(id)?;
        let person = self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        let membership = person.membership(&organization.id).cloned();
        membership.ok_or_else(|| ApiError::not_found("No organization membership was found for this user."))
    }

    /// Refuses to leave an organization without anybody who may manage it.
    fn another_admin_than(&self, membership: &Membership, user_id: &str) -> Result<(), ApiError> {
        let mut members = self.world.members(&membership.organization.id);
        let another = members.any(|(person, held)| held.role == ADMIN && person.user_id != user_id);
        if membership.role == ADMIN && !another { Err(ApiError::last_admin()) } else { Ok(()) }
    }

    fn change_person(&mut self, user_id: &str, change: impl FnOnce(&mut Person)) -> Result<Person, ApiError> {
        let person = self.world.person_mut(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        change(person);
        Ok(person.clone())
    }

    /// In the list, and in the copies that memberships carry.
    fn store(&mut self, organization: &Organization) {
        let copies = self.world.people.iter_mut().flat_map(|person| &mut person.memberships);
        for known in self.world.organizations.iter_mut().chain(copies.map(|held| &mut held.organization)) {
            if known.id == organization.id {
                known.clone_from(organization);
            }
        }
    }

    fn free_slug(&self, slug: String, own: &str) -> Result<String, ApiError> {
        let taken = self.world.organizations.iter().any(|known| known.slug == slug && known.id != own);
        if taken { Err(ApiError::identifier_exists("slug")) } else { Ok(slug) }
    }

    fn derived_slug(&self, name: &str) -> String {
        let slug = word(name).replace('_', "-");
        let taken = self.world.organizations.iter().any(|known| known.slug == slug);
        if taken { format!("{slug}-{}", random_hex::<4>()) } else { slug }
    }
}
