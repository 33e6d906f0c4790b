//! Accounts.

use actix_web::{HttpResponse, web};
use portal_accounts::{AccountOfUser, Accounts};
use portal_authz::action::ReadAccount;
use portal_http_kit::{Endpoint, Routes, Session};
use portal_kernel::AccountId;
use serde::Serialize;
use utoipa::ToSchema;

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
        (status = 404, description = "Absent, or not the caller's", body = portal_http_kit::ProblemBody,
            content_type = "application/problem+json")))]
async fn get(
    who: Session<ReadAccount>,
    accounts: web::Data<Accounts>,
    account: web::Path<AccountId>,
) -> Result<HttpResponse, ApiError> {
    let account = accounts.get(who.principal(), *account).await?;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_get, _, _, _>(get))
}
