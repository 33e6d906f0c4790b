//! Invitations into an account.

use actix_web::{HttpResponse, web};
use portal_accounts::{EmailAddress, Invitation, Organizations};
use portal_authz::Role;
use portal_authz::action::{InviteMember, ReadInvitations, RevokeInvitation};
use portal_http_kit::{Endpoint, Object, Problem, ProblemBody, Routes, Session};
use portal_identity::{InvitationStatus, ProviderInvitationId};
use portal_kernel::{AccountId, PageSize};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::GrantedRole;
use crate::error::ApiError;
use crate::page::PageQuery;

/// An invitation. It can be accepted by whoever reads mail at that address, at Clerk, and gives a place in this account only.
#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
struct InvitationView {
    /// Clerk's id.
    #[schema(example = "orginv_2abc")]
    id: String,
    email: String,
    /// `admin`, `editor` or `viewer`; absent if Clerk's role gives no access.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// Clerk's role key.
    #[schema(example = "org:member")]
    clerk_role: String,
    /// `pending`, `accepted`, `revoked` or `expired`.
    status: &'static str,
    /// Clerk's id of the person who invited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "user_2abc")]
    invited_by: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            email: invitation.email,
            role: invitation.role.map(Role::as_str),
            clerk_role: invitation.provider_role,
            status: match invitation.status {
                InvitationStatus::Pending => "pending",
                InvitationStatus::Accepted => "accepted",
                InvitationStatus::Revoked => "revoked",
                InvitationStatus::Expired => "expired",
            },
            invited_by: invitation.inviter.map(|id| id.to_string()),
            created_at: invitation.created_at.map(|at| at.to_string()),
            expires_at: invitation.expires_at.map(|at| at.to_string()),
        }
    }
}

/// A page of invitations.
#[derive(Serialize, ToSchema)]
struct InvitationList {
    /// Those that can be accepted, newest first.
    data: Vec<InvitationView>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List an account's open invitations
#[utoipa::path(get, path = "/v1/accounts/{account_id}/invitations", operation_id = "listInvitations", tag = "members",
    params(("account_id" = String, Path), PageQuery),
    responses(
        (status = 200, description = "A page of invitations", body = InvitationList),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A personal account", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn list(
    who: Session<ReadInvitations>,
    organizations: web::Data<Organizations>,
    account: web::Path<AccountId>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let size = query.limit.map(PageSize::parse).transpose()?.unwrap_or_default();
    let offset = query.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
        Problem::bad_request("invalid_cursor", "The cursor is not valid").detail("Use next_cursor of the page before.")
    })?;
    let listed = organizations.invitations(who.principal(), *account, offset.unwrap_or(0), size.rows()).await?;
    let data = listed.items.into_iter().map(InvitationView::from).collect();
    Ok(HttpResponse::Ok().json(InvitationList { data, next_cursor: listed.next.map(|next| next.to_string()) }))
}

/// Whom to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvitation {
    #[schema(example = "zoe@example.com")]
    email: String,
    /// Below the caller's own.
    role: GrantedRole,
}

/// Invite somebody into an account
///
/// Clerk sends the mail. The caller's own primary e-mail must be verified.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/invitations", operation_id = "createInvitation", tag = "members",
    params(("account_id" = String, Path)), request_body = NewInvitation,
    responses(
        (status = 201, description = "The invitation", body = InvitationView),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A member or invited already, or a personal account", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn create(
    who: Session<InviteMember>,
    organizations: web::Data<Organizations>,
    account: web::Path<AccountId>,
    web::Json(Object(body)): web::Json<Object<NewInvitation>>,
) -> Result<HttpResponse, ApiError> {
    let email = EmailAddress::parse(&body.email)
        .map_err(|error| Problem::invalid("invalid_email", "The e-mail address is not valid").detail(error))?;
    let by = &who.signed_in().known.user.provider_id;
    let invitation = organizations.invite(who.caller(), by, *account, &email, body.role.into()).await?;
    Ok(HttpResponse::Created().json(InvitationView::from(invitation)))
}

/// Take an invitation back
///
/// Repeating it succeeds. One that was accepted or is too old is 409.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/invitations/{invitation_id}/revoke",
    operation_id = "revokeInvitation", tag = "members",
    params(("account_id" = String, Path), ("invitation_id" = String, Path, example = "orginv_2abc")),
    responses(
        (status = 200, description = "The revoked invitation", body = InvitationView),
        (status = 404, description = "No such account or invitation", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "Not open any more", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn revoke(
    who: Session<RevokeInvitation>,
    organizations: web::Data<Organizations>,
    path: web::Path<(AccountId, String)>,
) -> Result<HttpResponse, ApiError> {
    let (account, id) = path.into_inner();
    // A malformed id names nothing, and goes the same way as one that does.
    let id = ProviderInvitationId::as_written(&id);
    let by = &who.signed_in().known.user.provider_id;
    let revoked = organizations.revoke_invitation(who.caller(), by, account, &id).await?;
    Ok(HttpResponse::Ok().json(InvitationView::from(revoked)))
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_list, _, _, _>(list).asks_provider())
        .with(Endpoint::new::<__path_create, _, _, _>(create).asks_provider())
        .with(Endpoint::new::<__path_revoke, _, _, _>(revoke).asks_provider())
}
