//! Accounts.

use actix_web::{HttpResponse, web};
use portal_accounts::{AccountName, AccountOfUser, Accounts, Organizations};
use portal_authz::action::{DeleteAccount, ReadAccount, TransferOwnership, UpdateAccount};
use portal_http_kit::{Endpoint, Object, Problem, ProblemBody, Routes, Session};
use portal_kernel::{AccountId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::MemberView;
use crate::error::ApiError;

/// An account and the caller's role in it.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountView {
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    /// `personal` or `organization`.
    kind: &'static str,
    name: String,
    /// The caller's role: `owner`, `admin`, `editor` or `viewer`.
    role: &'static str,
    /// Clerk's id of the organization; absent for a personal account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "org_2abc")]
    clerk_organization_id: Option<String>,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<AccountOfUser> for AccountView {
    fn from(AccountOfUser { account, role }: AccountOfUser) -> Self {
        Self {
            id: account.id.to_string(),
            kind: account.kind().as_str(),
            name: account.name,
            role: role.as_str(),
            clerk_organization_id: account.provider_organization.map(|id| id.to_string()),
            created_at: account.created_at.to_string(),
        }
    }
}

/// Read an account
#[utoipa::path(get, path = "/v1/accounts/{account_id}", operation_id = "getAccount", tag = "accounts",
    params(("account_id" = String, Path, example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")),
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 404, description = "Absent, or not the caller's", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn get(
    who: Session<ReadAccount>,
    accounts: web::Data<Accounts>,
    account: web::Path<AccountId>,
) -> Result<HttpResponse, ApiError> {
    let account = accounts.get(who.principal(), *account).await?;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}

/// A change of an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountPatch {
    /// 1 to 256 characters.
    #[schema(min_length = 1, max_length = 256, example = "Initech")]
    name: String,
}

/// Rename an account
///
/// An organization gets its name at Clerk, and then here. Repeating it succeeds. 503 if Clerk does not answer: nobody knows whether it
/// happened, and the audit trail says so.
#[utoipa::path(patch, path = "/v1/accounts/{account_id}", operation_id = "updateAccount", tag = "accounts",
    params(("account_id" = String, Path)), request_body = AccountPatch,
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json")))]
async fn update(
    who: Session<UpdateAccount>,
    organizations: web::Data<Organizations>,
    accounts: web::Data<Accounts>,
    account: web::Path<AccountId>,
    web::Json(Object(body)): web::Json<Object<AccountPatch>>,
) -> Result<HttpResponse, ApiError> {
    let name = AccountName::parse(&body.name)
        .map_err(|error| Problem::invalid("invalid_name", "The name is not valid").detail(error))?;
    organizations.rename(who.caller(), *account, name).await?;
    let account = accounts.get(who.principal(), *account).await?;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}

/// Delete an account
///
/// Deletes the organization at Clerk and closes its account: its keys count for nothing from then on, and nothing brings it back. Needs a
/// fresh proof of identity. A personal account ends with its person.
#[utoipa::path(delete, path = "/v1/accounts/{account_id}", operation_id = "deleteAccount", tag = "accounts",
    params(("account_id" = String, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A personal account", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn delete(
    who: Session<DeleteAccount>,
    organizations: web::Data<Organizations>,
    account: web::Path<AccountId>,
) -> Result<HttpResponse, ApiError> {
    organizations.delete(who.caller(), *account).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whom to give an account to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transfer {
    /// A member of the account.
    #[schema(value_type = String, example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    user_id: UserId,
}

/// Transfer the ownership of an account
///
/// The member becomes an administrator at Clerk, and the owner here; the caller stays an administrator. Needs a fresh proof of identity.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/transfer-ownership", operation_id = "transferOwnership",
    tag = "accounts", params(("account_id" = String, Path)), request_body = Transfer,
    responses(
        (status = 200, description = "The new owner", body = MemberView),
        (status = 404, description = "No such account or member", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A personal account, or not the caller's any more", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn transfer(
    who: Session<TransferOwnership>,
    organizations: web::Data<Organizations>,
    account: web::Path<AccountId>,
    web::Json(Object(body)): web::Json<Object<Transfer>>,
) -> Result<HttpResponse, ApiError> {
    let by = &who.signed_in().known.user.provider_id;
    let owner = organizations.transfer(who.caller(), by, *account, body.user_id).await?;
    Ok(HttpResponse::Ok().json(MemberView::from(owner)))
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_update, _, _, _>(update).asks_provider())
        .with(Endpoint::new::<__path_delete, _, _, _>(delete).asks_provider())
        .with(Endpoint::new::<__path_transfer, _, _, _>(transfer).asks_provider())
}
