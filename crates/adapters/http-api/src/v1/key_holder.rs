//! An API key, for whoever holds it.

use actix_web::{HttpResponse, web};
use portal_api_keys::{ApiKey, ApiKeys, KeyScope, Rates, Verifier};
use portal_authz::action::ReadKeys;
use portal_http_kit::{Endpoint, KeyHolder, MaybeKeyHolder, Routes};
use portal_kernel::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::keys::LimitState;
use crate::error::ApiError;

/// The presented key. Nothing in it is secret.
#[derive(Serialize, ToSchema)]
struct HeldKey {
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    account_id: String,
    name: String,
    /// `live` or `test`.
    environment: &'static str,
    /// `active`, `disabled` or `expired`.
    state: &'static str,
    /// What it is good for.
    scopes: Vec<&'static str>,
    /// With which models; empty for all.
    models: Vec<String>,
    /// From where; empty for everywhere.
    networks: Vec<String>,
    rate_limits: Vec<LimitState>,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl HeldKey {
    fn new(key: &ApiKey, rates: &Rates, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            account_id: key.account.to_string(),
            name: key.name.to_string(),
            environment: key.environment.as_str(),
            state: key.state(now).as_str(),
            scopes: key.policy.scopes.iter().map(KeyScope::as_str).collect(),
            models: key.policy.models.iter().map(str::to_owned).collect(),
            networks: key.policy.networks.iter().map(|network| network.to_string()).collect(),
            rate_limits: rates.standings.iter().map(LimitState::from).collect(),
            created_at: key.created_at.to_string(),
            expires_at: key.expires_at.map(|at| at.to_string()),
        }
    }
}

/// Read the presented API key
///
/// From the networks that it is bound to, if any. Counted against none of its limits.
#[utoipa::path(get, path = "/v1/key", operation_id = "getPresentedKey", tag = "key-holder",
    responses((status = 200, description = "The key", body = HeldKey)))]
async fn get(
    who: KeyHolder<ReadKeys>,
    keys: web::Data<ApiKeys>,
    verifier: web::Data<Verifier>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.get_own(&who.caller().principal, who.address()).await?;
    let now = keys.clock.now();
    let rates = verifier.rates.standing(key.id, &key.policy.rate_limits, now);
    Ok(HttpResponse::Ok().json(HeldKey::new(&key, &rates, now)))
}

/// Revoke the presented API key
///
/// For whoever finds one. Final, and from anywhere. Send the whole key as `Authorization: Bearer`; the answer is the same whatever was
/// sent.
#[utoipa::path(post, path = "/v1/keys/self-revoke", operation_id = "revokePresentedKey", tag = "key-holder",
    responses((status = 202, description = "If it was a key, it is revoked")))]
async fn revoke(who: MaybeKeyHolder, keys: web::Data<ApiKeys>) -> Result<HttpResponse, ApiError> {
    keys.revoke_own(who.caller()).await?;
    Ok(HttpResponse::Accepted().finish())
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_revoke, _, _, _>(revoke))
}
