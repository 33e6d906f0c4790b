//! Invitations: kept, sent and accepted at the provider, bound to an address and an organization there.

use portal_audit::{AuditAction, Caller, Subject};
use portal_authz::action::{InviteMember, ReadInvitations, RevokeInvitation};
use portal_authz::{Authorized, Owned, Principal, Role, Target, Unchecked};
use portal_identity::{
    InvitationStatus, Listed, OrganizationRefusal, ProviderInvitation, ProviderInvitationId, ProviderUserId,
};
use portal_kernel::{AccountId, Timestamp};

use super::{OrganizationError, Organizations, organization};

/// Where an invitation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is NAME@HOST, in at most 254 characters")]
pub struct InvalidEmailAddress;

impl EmailAddress {
    /// Checks the shape; whether somebody reads mail there only the mail can tell.
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let parts = text.rsplit_once('@').filter(|(name, host)| {
            let plain = |c: char| !c.is_whitespace() && !c.is_control();
            let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
            let is_host = host.contains('.') && host.split('.').all(is_label);
            !name.is_empty() && !name.contains('@') && text.chars().all(plain) && is_host
        });
        if parts.is_some() && text.len() <= 254 { Ok(Self(text.to_owned())) } else { Err(InvalidEmailAddress) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An invitation into an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The provider's id.
    pub id: ProviderInvitationId,
    /// Into which account.
    pub account: AccountId,
    /// To whom.
    pub email: String,
    /// The role that comes with it; none if the provider's role key is not mapped.
    pub role: Option<Role>,
    /// The provider's role key.
    pub provider_role: String,
    /// Who invited, where that is known.
    pub inviter: Option<ProviderUserId>,
    /// What became of it, as of now: whether it is too late is decided by the clock, and by nobody who cleans up.
    pub status: InvitationStatus,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// From then on nobody can accept it.
    pub expires_at: Option<Timestamp>,
}

impl Owned for Invitation {
    fn target(&self) -> Target {
        Target::Membership { account: self.account, member: None, highest: self.role }
    }
}

/// A membership that is offered.
struct Offer {
    account: AccountId,
    role: Role,
}

impl Owned for Offer {
    fn target(&self) -> Target {
        Target::Membership { account: self.account, member: None, highest: Some(self.role) }
    }
}

impl Organizations {
    /// Invitations that can be accepted, the newest first, from that one on.
    pub async fn invitations(
        &self,
        who: &Principal,
        id: AccountId,
        offset: usize,
        limit: usize,
    ) -> Result<Listed<Invitation>, OrganizationError> {
        let account = self.account(who, id).await?;
        let _: Authorized<ReadInvitations, _> = Unchecked::new(id).authorize(who)?;
        let listed = self.admin.pending_invitations(organization(&account)?, offset, limit).await?;
        let items = listed.items.into_iter().map(|told| self.invitation(id, told));
        let items = items.filter(|invitation| invitation.status == InvitationStatus::Pending).collect();
        Ok(Listed { items, unreadable: listed.unreadable, next: listed.next })
    }

    /// Invites somebody. `by` is the caller, as the provider knows them.
    pub async fn invite(
        &self,
        caller: &Caller,
        by: &ProviderUserId,
        id: AccountId,
        email: &EmailAddress,
        role: Role,
    ) -> Result<Invitation, OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let offer: Authorized<InviteMember, _> =
            Unchecked::new(Offer { account: id, role }).authorize(&caller.principal)?;
        let organization = organization(&account)?;
        let key = self.role_key(offer.role)?;
        // The address is nobody's business in a trail that nothing is ever taken out of.
        let opened = self.opened(caller, id, AuditAction::InvitationCreated, Subject::Account(id));
        self.open(&opened).await?;
        let invited = self.admin.invite(organization, by, email.as_str(), key).await;
        let told = self.close(caller, opened, invited, |_| Vec::new()).await?;
        Ok(self.invitation(id, told))
    }

    /// Takes an invitation back, so that nobody can accept it. `by` is the caller, as the provider knows them.
    pub async fn revoke_invitation(
        &self,
        caller: &Caller,
        by: &ProviderUserId,
        id: AccountId,
        invitation: &ProviderInvitationId,
    ) -> Result<Invitation, OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let _: Authorized<ReadInvitations, _> = Unchecked::new(id).authorize(&caller.principal)?;
        let organization = organization(&account)?;
        let told = self.admin.invitation(organization, invitation).await?;
        if told.organization != *organization {
            return Err(OrganizationError::NotFound);
        }
        let found: Authorized<RevokeInvitation, _> =
            Unchecked::new(self.invitation(id, told)).authorize(&caller.principal)?;
        match found.status {
            InvitationStatus::Pending => {}
            InvitationStatus::Revoked => return Ok(found.into_inner()),
            InvitationStatus::Accepted | InvitationStatus::Expired => {
                return Err(OrganizationRefusal::NotPending.into());
            }
        }
        let subject = Subject::Invitation(invitation.to_string());
        let opened = self.opened(caller, id, AuditAction::InvitationRevoked, subject);
        self.open(&opened).await?;
        let revoked = self.admin.revoke_invitation(organization, invitation, by).await;
        let told = self.close(caller, opened, revoked, |_| Vec::new()).await?;
        Ok(self.invitation(id, told))
    }

    fn invitation(&self, account: AccountId, told: ProviderInvitation) -> Invitation {
        let is_late = told.expires_at.is_some_and(|end| end <= self.facts.clock.now());
        let status = match told.status {
            InvitationStatus::Pending if is_late => InvitationStatus::Expired,
            status => status,
        };
        Invitation {
            id: told.id,
            account,
            email: told.email,
            role: self.facts.role_map.role(&told.role),
            provider_role: told.role,
            inviter: told.inviter,
            status,
            created_at: told.created_at,
            expires_at: told.expires_at,
        }
    }
}
