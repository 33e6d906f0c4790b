//! Members: seen, given another role, and removed.

use portal_audit::{AuditAction, Caller, Subject};
use portal_authz::action::{ChangeRole, ReadMembers, RemoveMember};
use portal_authz::{Authorized, Principal, Role, Unchecked};
use portal_identity::ProviderEvent;
use portal_kernel::{AccountId, Page, PageRequest, UserId};

use super::{OrganizationError, Organizations, organization};
use crate::{Member, RoleChange};

impl Organizations {
    /// Members of an account, whoever appeared here last first.
    pub async fn members(
        &self,
        who: &Principal,
        id: AccountId,
        request: PageRequest<UserId>,
    ) -> Result<Page<Member, UserId>, OrganizationError> {
        let cleared: Authorized<ReadMembers, _> = Unchecked::new(id).authorize(who)?;
        Ok(self.reader.members(&cleared, request).await?)
    }

    /// Gives a member another role. Repeating it succeeds.
    pub async fn change_role(
        &self,
        caller: &Caller,
        id: AccountId,
        user: UserId,
        to: Role,
    ) -> Result<Member, OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let member = self.member(&caller.principal, id, user).await?;
        let change: Authorized<ChangeRole, _> =
            Unchecked::new(RoleChange { member, to }).authorize(&caller.principal)?;
        let organization = organization(&account)?;
        let RoleChange { member, .. } = change.into_inner();
        if member.role == Some(to) {
            return Ok(member);
        }
        let key = self.role_key(to)?;
        let opened = self.opened(caller, id, AuditAction::MembershipChanged, Subject::User(user));
        self.open(&opened).await?;
        let changed = self.admin.set_role(organization, &member.provider_id, key).await;
        self.close(caller, opened, changed, |told| vec![ProviderEvent::Membership(told.clone())]).await?;
        self.member(&caller.principal, id, user).await
    }

    /// Ends a membership: that of somebody below oneself, or one's own.
    pub async fn remove(&self, caller: &Caller, id: AccountId, user: UserId) -> Result<(), OrganizationError> {
        let account = self.account(&caller.principal, id).await?;
        let found = self.reader.member(id, user).await?.ok_or(OrganizationError::NotFound)?;
        let member: Authorized<RemoveMember, _> = found.authorize(&caller.principal)?;
        let organization = organization(&account)?;
        let membership = member.membership.clone().ok_or(OrganizationError::NotFound)?;
        let opened = self.opened(caller, id, AuditAction::MembershipRemoved, Subject::User(user));
        self.open(&opened).await?;
        let removed = self.admin.remove(organization, &member.provider_id).await;
        let gone = |(): &()| {
            vec![ProviderEvent::MembershipDeleted {
                id: membership,
                organization: organization.clone(),
                user: member.provider_id.clone(),
            }]
        };
        self.close(caller, opened, removed, gone).await
    }

    /// One member.
    pub async fn member(&self, who: &Principal, id: AccountId, user: UserId) -> Result<Member, OrganizationError> {
        let found = self.reader.member(id, user).await?.ok_or(OrganizationError::NotFound)?;
        let member: Authorized<ReadMembers, _> = found.authorize(who)?;
        Ok(member.into_inner())
    }
}
