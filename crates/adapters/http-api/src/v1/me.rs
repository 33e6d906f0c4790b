//! The signed-in person.

use actix_web::{HttpResponse, web};
use portal_accounts::{Accounts, User};
use portal_api_keys::ApiKeys;
use portal_authz::action::ViewSelf;
use portal_authz::permissions;
use portal_http_kit::{Endpoint, Routes, Session};
use portal_kernel::{PageRequest, PageSize};
use serde::Serialize;
use utoipa::ToSchema;

use super::accounts::AccountView;
use crate::error::ApiError;

/// The person.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    /// Clerk's id.
    #[schema(example = "user_2abc")]
    clerk_id: String,
    /// Absent until Clerk told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// First sign-in; RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        let profile = user.profile().clone();
        Self {
            id: user.id.to_string(),
            clerk_id: user.provider_id.to_string(),
            email: profile.email,
            email_verified: profile.email_verified,
            first_name: profile.first_name,
            last_name: profile.last_name,
            image_url: profile.image_url,
            created_at: user.created_at.to_string(),
        }
    }
}

/// How far the person got.
#[derive(Serialize, ToSchema)]
pub(crate) struct Onboarding {
    /// Whether the active account ever had an API key.
    has_api_key: bool,
}

/// The person, where they are, and what they may do there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    user: UserView,
    active_account: AccountView,
    /// Allowed actions in the active account; `ACTION:own` where only for what the person made.
    #[schema(example = json!(["read-account", "read-keys", "create-key", "revoke-key:own", "read-audit-trail:own"]))]
    permissions: Vec<String>,
    onboarding: Onboarding,
}

/// Read the signed-in person
///
/// The first request of a person makes their user, personal account and ownership.
#[utoipa::path(get, path = "/v1/me", operation_id = "getMe", tag = "me",
    responses((status = 200, description = "The person", body = Me)))]
async fn get(
    who: Session<ViewSelf>,
    accounts: web::Data<Accounts>,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse, ApiError> {
    let active = who.signed_in().active_account;
    let account = accounts.get(who.principal(), active).await?;
    let one = PageRequest { size: PageSize::ONE, after: None };
    let has_api_key = !keys.list(who.principal(), active, one).await?.items.is_empty();
    Ok(HttpResponse::Ok().json(Me {
        user: UserView::from(&who.signed_in().known.user),
        active_account: account.into(),
        permissions: permissions(who.principal(), active),
        onboarding: Onboarding { has_api_key },
    }))
}

/// Accounts of a person.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountList {
    /// The personal account first, then by name.
    data: Vec<AccountView>,
}

/// List one's accounts
#[utoipa::path(get, path = "/v1/me/accounts", operation_id = "listMyAccounts", tag = "me",
    responses((status = 200, description = "All accounts of the person", body = AccountList)))]
async fn accounts(who: Session<ViewSelf>, accounts: web::Data<Accounts>) -> Result<HttpResponse, ApiError> {
    let data = accounts.list(who.principal()).await?.into_iter().map(AccountView::from).collect();
    Ok(HttpResponse::Ok().json(AccountList { data }))
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_accounts, _, _, _>(accounts))
}
