//! Invitations to organizations.

use std::time::Duration;

use super::Changes;
use crate::directory::Invitation;
use crate::error::ApiError;
use crate::people::Membership;
use crate::shapes;
use crate::token::random_hex;

/// An invitation to be made.
pub(crate) struct NewInvitation {
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) inviter_id: Option<String>,
    pub(crate) days: u32,
}

impl Changes<'_> {
    pub(crate) fn create_invitation(&mut self, id: &str, new: NewInvitation) -> Result<Invitation, ApiError> {
        let organization = self.known_organization(id)?;
        if !self.world.knows_role(&new.role) {
            return Err(ApiError::role_not_found());
        }
        if let Some(inviter) = &new.inviter_id {
            let person = self.world.person(inviter).ok_or_else(|| ApiError::user_not_found(inviter))?;
            person.membership(&organization.id).ok_or_else(ApiError::not_a_member)?;
        }
        let same = |email: &str| email.eq_ignore_ascii_case(&new.email);
        if self.world.members(&organization.id).any(|(person, _)| same(&person.email)) {
            return Err(ApiError::already_a_member(&new.email));
        }
        let now = self.now();
        let mut earlier = self.world.invitations.iter().filter(|held| held.organization_id == organization.id);
        if earlier.any(|held| same(&held.email) && held.status(now) == "pending") {
            return Err(ApiError::duplicate_invitation(&new.email));
        }
        let lifetime = Duration::from_hours(24).saturating_mul(new.days);
        let invitation = Invitation {
            id: format!("orginv_{}", random_hex::<14>()),
            organization_id: organization.id,
            email: new.email,
            role: new.role,
            inviter_id: new.inviter_id,
            user_id: None,
            stored_status: "pending",
            expires_at: self.now.plus(lifetime).unix_millis(),
            created_at: now,
            updated_at: now,
        };
        self.world.invitations.push(invitation.clone());
        self.event("organizationInvitation.created", shapes::invitation_event(self.world, &invitation, now));
        Ok(invitation)
    }

    pub(crate) fn revoke_invitation(
        &mut self,
        id: &str,
        invitation_id: &str,
        requested_by: Option<&str>,
    ) -> Result<Invitation, ApiError> {
        let organization = self.known_organization(id)?;
        if let Some(user_id) = requested_by {
            let person = self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
            person.membership(&organization.id).ok_or_else(ApiError::not_a_member)?;
        }
        let known = self.world.invitation(invitation_id).filter(|held| held.organization_id == organization.id);
        known.ok_or_else(|| ApiError::invitation_not_found(invitation_id))?;
        let revoked = self.settle(invitation_id, "revoked", None)?;
        let data = shapes::invitation_event(self.world, &revoked, self.now());
        self.event("organizationInvitation.revoked", data);
        Ok(revoked)
    }

    pub(crate) fn accept_invitation(&mut self, invitation_id: &str, user_id: &str) -> Result<Membership, ApiError> {
        let known = self.world.invitation(invitation_id);
        let known = known.ok_or_else(|| ApiError::invitation_not_found(invitation_id))?.clone();
        let organization = self.known_organization(&known.organization_id)?;
        let person = self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        if person.membership(&known.organization_id).is_some() {
            return Err(ApiError::already_a_member(&person.email));
        }
        let accepted = self.settle(invitation_id, "accepted", Some(user_id))?;
        let data = shapes::invitation_event(self.world, &accepted, self.now());
        self.event("organizationInvitation.accepted", data);
        Ok(self.join(organization, user_id, &known.role)?.1)
    }

    /// Only what is pending can become something else.
    fn settle(&mut self, id: &str, status: &'static str, user_id: Option<&str>) -> Result<Invitation, ApiError> {
        let now = self.now();
        let known = self.world.invitations.iter_mut().find(|held| held.id == id && held.status(now) == "pending");
        let invitation = known.ok_or_else(ApiError::invitation_not_pending)?;
        invitation.stored_status = status;
        invitation.user_id = user_id.map(str::to_owned);
        invitation.updated_at = now.max(invitation.updated_at + 1);
        Ok(invitation.clone())
    }
}
