//! Members of an account.

use actix_web::{HttpResponse, web};
use portal_accounts::{Member, Organizations};
use portal_authz::Role;
use portal_authz::action::{ChangeRole, ReadMembers, RemoveMember};
use portal_http_kit::{Endpoint, Object, ProblemBody, Routes, Session};
use portal_kernel::{AccountId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::page::PageQuery;

/// Somebody in an account. What Clerk did not tell is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    user_id: String,
    /// Clerk's id.
    #[schema(example = "user_2abc")]
    clerk_user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// `owner`, `admin`, `editor` or `viewer`; absent if Clerk's role gives no access.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// Clerk's role key; absent in a personal account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "org:admin")]
    clerk_role: Option<String>,
    /// When the membership appeared here; RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let profile = member.profile;
        Self {
            user_id: member.user.to_string(),
            clerk_user_id: member.provider_id.to_string(),
            email: profile.email,
            first_name: profile.first_name,
            last_name: profile.last_name,
            image_url: profile.image_url,
            role: member.role.map(Role::as_str),
            clerk_role: member.provider_role,
            created_at: member.created_at.to_string(),
        }
    }
}

/// A role that a member can be given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GrantedRole {
    Admin,
    Editor,
    Viewer,
}

impl From<GrantedRole> for Role {
    fn from(role: GrantedRole) -> Self {
        match role {
            GrantedRole::Admin => Self::Admin,
            GrantedRole::Editor => Self::Editor,
            GrantedRole::Viewer => Self::Viewer,
        }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
struct MemberList {
    /// Whoever signed in here last for the first time comes first.
    data: Vec<MemberView>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List an account's members
#[utoipa::path(get, path = "/v1/accounts/{account_id}/members", operation_id = "listMembers", tag = "members",
    params(("account_id" = String, Path), PageQuery),
    responses(
        (status = 200, description = "A page of members", body = MemberList),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(
    who: Session<ReadMembers>,
    organizations: web::Data<Organizations>,
    account: web::Path<AccountId>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = organizations.members(who.principal(), *account, query.parse()?).await?;
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(HttpResponse::Ok()
        .json(MemberList { data: page.items.into_iter().map(MemberView::from).collect(), next_cursor }))
}

/// Read a member
#[utoipa::path(get, path = "/v1/accounts/{account_id}/members/{user_id}", operation_id = "getMember", tag = "members",
    params(("account_id" = String, Path), ("user_id" = String, Path)),
    responses(
        (status = 200, description = "The member", body = MemberView),
        (status = 404, description = "No such account or member", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn get(
    who: Session<ReadMembers>,
    organizations: web::Data<Organizations>,
    path: web::Path<(AccountId, UserId)>,
) -> Result<HttpResponse, ApiError> {
    let (account, user) = path.into_inner();
    Ok(HttpResponse::Ok().json(MemberView::from(organizations.member(who.principal(), account, user).await?)))
}

/// Another role for a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberPatch {
    /// Below the caller's own. Ownership is transferred, not given.
    role: GrantedRole,
}

/// Give a member another role
///
/// At Clerk, and then here. Only to members below the caller, and only roles below the caller's. Repeating it succeeds.
#[utoipa::path(patch, path = "/v1/accounts/{account_id}/members/{user_id}", operation_id = "updateMember",
    tag = "members", params(("account_id" = String, Path), ("user_id" = String, Path)), request_body = MemberPatch,
    responses(
        (status = 200, description = "The member", body = MemberView),
        (status = 404, description = "No such account or member", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "Clerk refuses, or a personal account", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn update(
    who: Session<ChangeRole>,
    organizations: web::Data<Organizations>,
    path: web::Path<(AccountId, UserId)>,
    web::Json(Object(body)): web::Json<Object<MemberPatch>>,
) -> Result<HttpResponse, ApiError> {
    let (account, user) = path.into_inner();
    let member = organizations.change_role(who.caller(), account, user, body.role.into()).await?;
    Ok(HttpResponse::Ok().json(MemberView::from(member)))
}

/// Remove a member, or leave
///
/// At Clerk, and then here. Members below the caller, or the caller's own membership; the owner transfers the ownership first.
#[utoipa::path(delete, path = "/v1/accounts/{account_id}/members/{user_id}", operation_id = "removeMember",
    tag = "members", params(("account_id" = String, Path), ("user_id" = String, Path)),
    responses(
        (status = 204, description = "The membership ended"),
        (status = 404, description = "No such account or member", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The owner, or a personal account", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn remove(
    who: Session<RemoveMember>,
    organizations: web::Data<Organizations>,
    path: web::Path<(AccountId, UserId)>,
) -> Result<HttpResponse, ApiError> {
    let (account, user) = path.into_inner();
    organizations.remove(who.caller(), account, user).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_list, _, _, _>(list))
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_update, _, _, _>(update).asks_provider())
        .with(Endpoint::new::<__path_remove, _, _, _>(remove).asks_provider())
}
