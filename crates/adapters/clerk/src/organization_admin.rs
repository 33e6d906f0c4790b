//! Organizations, changed at Clerk (`clerk.md` §8).

use async_trait::async_trait;
use portal_identity::{
    DirectoryError, InvitationStatus, Listed, OrganizationAdmin, OrganizationAdminError, OrganizationRefusal,
    ProviderInvitation, ProviderInvitationId, ProviderMembership, ProviderOrganization, ProviderOrganizationId,
    ProviderUserId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Answer, BackendApi};
use crate::records::{self, text};
use crate::times::from_millis;
use crate::{ClerkSettings, ClientError, directory};

const LARGEST_BODY: usize = 2 * 1_024 * 1_024;

/// Changes organizations at Clerk. Calls are not repeated: the caller knows whether the answer is worth waiting for.
#[derive(Debug)]
pub struct ClerkOrganizations {
    api: BackendApi,
}

type Outcome<T> = Result<T, OrganizationAdminError>;

impl ClerkOrganizations {
    /// Needs a secret key. Made inside a Tokio runtime, it calls on that runtime, which must outlive it.
    pub fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        Ok(Self { api: BackendApi::new(settings)? })
    }

    /// The body of a successful answer. Everything in `path` is a literal, a number or a well-formed id.
    async fn call(&self, method: Method, path: String, body: Option<Value>) -> Outcome<Value> {
        let api = self.api.clone();
        let work = async move { api.call(method, &path, body.as_ref(), LARGEST_BODY).await };
        let answer = self.api.run(work).await.ok_or_else(directory::stopping)?;
        let answer = answer.map_err(|error| DirectoryError::Unavailable(error.into()))?;
        if answer.is_success() {
            return Ok(serde_json::from_slice(&answer.body).map_err(|error| DirectoryError::Malformed(error.into()))?);
        }
        Err(refusal(&answer))
    }
}

/// Ids that Clerk does not make are nobody's, and whatever stands in them must not become a path.
fn known(is_well_formed: bool) -> Outcome<()> {
    if is_well_formed { Ok(()) } else { Err(OrganizationAdminError::NotFound) }
}

fn refusal(answer: &Answer) -> OrganizationAdminError {
    let code = answer.error_code().unwrap_or_default();
    match (answer.status, code.as_str(), answer.error_parameter().as_deref()) {
        (401 | 429 | 500.., ..) | (_, "clerk_key_invalid", _) => directory::refusal(answer.status, answer).into(),
        (_, "organization_minimum_permissions_needed", _) => OrganizationRefusal::LastAdmin.into(),
        (_, "already_a_member_in_organization", _) => OrganizationRefusal::AlreadyMember.into(),
        (_, "duplicate_record", _) => OrganizationRefusal::AlreadyInvited.into(),
        (_, "not_a_member_in_organization", _) => OrganizationRefusal::NotMember.into(),
        (_, "organization_invitation_not_pending" | "organization_invitation_already_accepted", _) => {
            OrganizationRefusal::NotPending.into()
        }
        (_, "organization_membership_quota_exceeded" | "organization_membership_plan_limit_exceeded", _) => {
            OrganizationRefusal::Full.into()
        }
        (_, "organization_role_not_found", _) | (_, _, Some("role")) => OrganizationRefusal::UnknownRole.into(),
        (_, _, Some("email_address")) => OrganizationRefusal::InvalidEmail.into(),
        (_, _, Some("name")) => OrganizationRefusal::InvalidName.into(),
        (404, ..) => OrganizationAdminError::NotFound,
        (status, code, _) => {
            tracing::warn!(status, code, "Clerk refuses a change of an organization");
            OrganizationRefusal::Other.into()
        }
    }
}

fn malformed(why: &'static str) -> OrganizationAdminError {
    DirectoryError::Malformed(why.into()).into()
}

fn invitation(record: &Value) -> Result<ProviderInvitation, &'static str> {
    let id = text(record, "id").and_then(|id| ProviderInvitationId::parse(&id).ok());
    let organization = text(record, "organization_id").and_then(|id| ProviderOrganizationId::parse(&id).ok());
    let time = |name: &str| record.get(name).and_then(Value::as_i64).and_then(from_millis);
    Ok(ProviderInvitation {
        id: id.ok_or("an invitation without id")?,
        organization: organization.ok_or("an invitation without organization")?,
        email: text(record, "email_address").ok_or("an invitation without address")?,
        role: text(record, "role").ok_or("an invitation without role")?,
        inviter: text(record, "inviter_id").and_then(|id| ProviderUserId::parse(&id).ok()),
        status: match text(record, "status").as_deref() {
            Some("pending") => InvitationStatus::Pending,
            Some("accepted") => InvitationStatus::Accepted,
            Some("revoked") => InvitationStatus::Revoked,
            Some("expired") => InvitationStatus::Expired,
            _ => return Err("an invitation without a status that is known"),
        },
        created_at: time("created_at"),
        expires_at: time("expires_at"),
    })
}

#[async_trait]
impl OrganizationAdmin for ClerkOrganizations {
    async fn rename(&self, id: &ProviderOrganizationId, name: &str) -> Outcome<ProviderOrganization> {
        known(id.is_well_formed())?;
        let body = self.call(Method::PATCH, format!("/organizations/{id}"), Some(json!({ "name": name }))).await?;
        records::organization(&body).map_err(malformed)
    }

    async fn delete(&self, id: &ProviderOrganizationId) -> Outcome<()> {
        known(id.is_well_formed())?;
        match self.call(Method::DELETE, format!("/organizations/{id}"), None).await {
            Ok(_) | Err(OrganizationAdminError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn set_role(
        &self,
        id: &ProviderOrganizationId,
        member: &ProviderUserId,
        role: &str,
    ) -> Outcome<ProviderMembership> {
        known(id.is_well_formed() && member.is_well_formed())?;
        let path = format!("/organizations/{id}/memberships/{member}");
        let body = self.call(Method::PATCH, path, Some(json!({ "role": role }))).await?;
        records::membership(&body, member).map_err(malformed)
    }

    async fn remove(&self, id: &ProviderOrganizationId, member: &ProviderUserId) -> Outcome<()> {
        known(id.is_well_formed() && member.is_well_formed())?;
        match self.call(Method::DELETE, format!("/organizations/{id}/memberships/{member}"), None).await {
            Ok(_) | Err(OrganizationAdminError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn pending_invitations(
        &self,
        id: &ProviderOrganizationId,
        offset: usize,
        limit: usize,
    ) -> Outcome<Listed<ProviderInvitation>> {
        known(id.is_well_formed())?;
        let query = format!("status=pending&order_by=-created_at&limit={limit}&offset={offset}");
        let body = self.call(Method::GET, format!("/organizations/{id}/invitations?{query}"), None).await?;
        let data = body.get("data").and_then(Value::as_array).ok_or_else(|| malformed("no list of invitations"))?;
        let total = body.get("total_count").and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
        let end = offset.saturating_add(data.len());
        let is_more = !data.is_empty() && total.map_or(data.len() >= limit, |total| end < total);
        let items: Vec<_> = data.iter().filter_map(|record| invitation(record).ok()).collect();
        let unreadable = data.len() - items.len();
        Ok(Listed { items, unreadable, next: is_more.then_some(end) })
    }

    async fn invitation(
        &self,
        id: &ProviderOrganizationId,
        invitation: &ProviderInvitationId,
    ) -> Outcome<ProviderInvitation> {
        known(id.is_well_formed() && invitation.is_well_formed())?;
        let body = self.call(Method::GET, format!("/organizations/{id}/invitations/{invitation}"), None).await?;
        self::invitation(&body).map_err(malformed)
    }

    async fn invite(
        &self,
        id: &ProviderOrganizationId,
        inviter: &ProviderUserId,
        email: &str,
        role: &str,
    ) -> Outcome<ProviderInvitation> {
        known(id.is_well_formed())?;
        let body = json!({ "email_address": email, "role": role, "inviter_user_id": inviter.as_str() });
        let body = self.call(Method::POST, format!("/organizations/{id}/invitations"), Some(body)).await?;
        self::invitation(&body).map_err(malformed)
    }

    async fn revoke_invitation(
        &self,
        id: &ProviderOrganizationId,
        invitation: &ProviderInvitationId,
        by: &ProviderUserId,
    ) -> Outcome<ProviderInvitation> {
        known(id.is_well_formed() && invitation.is_well_formed())?;
        let (path, body) = (
            format!("/organizations/{id}/invitations/{invitation}/revoke"),
            json!({ "requesting_user_id": by.as_str() }),
        );
        let body = self.call(Method::POST, path, Some(body)).await?;
        self::invitation(&body).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, parameter: Option<&str>) -> Answer {
        let error = json!({ "code": code, "meta": { "param_name": parameter } });
        let body = json!({ "errors": [error] }).to_string().into_bytes();
        Answer { status, date: None, retry_after: None, declares_json: true, body }
    }

    #[test]
    fn a_refusal_is_told_from_an_absence_and_from_an_outage() {
        for (status, code, parameter, expected) in [
            (404, "resource_not_found", None, "NotFound"),
            (404, "resource_not_found", Some("role"), "Refused(UnknownRole)"),
            (400, "organization_minimum_permissions_needed", None, "Refused(LastAdmin)"),
            (400, "already_a_member_in_organization", None, "Refused(AlreadyMember)"),
            (400, "duplicate_record", None, "Refused(AlreadyInvited)"),
            (403, "not_a_member_in_organization", None, "Refused(NotMember)"),
            (404, "organization_invitation_not_pending", None, "Refused(NotPending)"),
            (403, "organization_membership_quota_exceeded", None, "Refused(Full)"),
            (422, "form_param_format_invalid", Some("email_address"), "Refused(InvalidEmail)"),
            (422, "form_param_value_invalid", Some("name"), "Refused(InvalidName)"),
            (422, "something_new", None, "Refused(Other)"),
            (429, "too_many_requests", None, "Provider(RateLimited { retry_after: None })"),
            (401, "clerk_key_invalid", None, "Provider(SecretKeyInvalid)"),
        ] {
            assert_eq!(format!("{:?}", refusal(&answer(status, code, parameter))), expected, "{status} {code}");
        }
        let outage = refusal(&answer(503, "service_unavailable", None));
        assert!(matches!(outage, OrganizationAdminError::Provider(DirectoryError::Unavailable(_))));
    }

    #[test]
    fn an_invitation_is_read_whole_or_not_at_all() {
        let whole = json!({
            "id": "orginv_1", "organization_id": "org_1", "email_address": "a@b.co", "role": "org:member",
            "inviter_id": "user_1", "status": "pending", "created_at": 1_000, "expires_at": 2_000,
        });
        let read = invitation(&whole).unwrap();
        assert_eq!((read.id.as_str(), read.status), ("orginv_1", InvitationStatus::Pending));
        assert_eq!(read.expires_at.map(portal_kernel::Timestamp::unix_millis), Some(2_000));
        for missing in ["id", "organization_id", "email_address", "role", "status"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(missing);
            assert!(invitation(&part).is_err(), "{missing}");
        }
        let mut strange = whole;
        strange["status"] = json!("dreamt");
        assert!(invitation(&strange).is_err());
    }
}
