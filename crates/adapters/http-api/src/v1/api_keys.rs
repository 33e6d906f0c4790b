//! API keys, as their owners manage them.

mod body;
mod view;

use actix_web::{HttpResponse, web};
use portal_api_keys::{ApiKey, ApiKeys};
use portal_authz::action::{CreateKey, DisableKey, ReadKeys, RevokeKey, RotateKey, UpdateKey};
use portal_http_kit::{Endpoint, Object, ProblemBody, Routes, Session};
use portal_kernel::{AccountId, ApiKeyId, ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use self::body::{KeyChange, NewKey, NewRotation};
use self::view::KeyView;
use crate::error::ApiError;
use crate::idempotency::NameOfRequest;
use crate::page::PageQuery;

/// A key with the text that was just made for it.
#[derive(Serialize, ToSchema)]
struct IssuedKey<'a> {
    api_key: KeyView,
    /// The key's whole text. It is not stored: this is the only time anybody sees it.
    #[schema(example = "cort_live_4fT9aQz81LmK…")]
    secret: &'a str,
}

impl<'a> IssuedKey<'a> {
    fn new(keys: &ApiKeys, key: &ApiKey, secret: &'a SecretString) -> Self {
        Self { api_key: KeyView::new(keys, key), secret: secret.expose_secret() }
    }
}

/// Create an API key
///
/// The secret is in this answer and in no other. With an `Idempotency-Key` a repetition within a day makes no second key: it is 409
/// `secret_already_issued`, and `key_id` names the key.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/api-keys", operation_id = "createApiKey", tag = "api-keys",
    params(("account_id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = NewKey,
    responses(
        (status = 201, description = "The key and its secret", body = IssuedKey),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Too many live keys, or a repetition", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Not valid", body = ProblemBody, content_type = "application/problem+json")))]
async fn create(
    who: Session<CreateKey>,
    keys: web::Data<ApiKeys>,
    account: web::Path<AccountId>,
    NameOfRequest(name): NameOfRequest,
    web::Json(Object(body)): web::Json<Object<NewKey>>,
) -> Result<HttpResponse, ApiError> {
    let (key, secret) = keys.create(who.caller(), *account, body.parse()?, name).await?;
    Ok(HttpResponse::Created().json(IssuedKey::new(&keys, &key, &secret)))
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
struct KeyList {
    /// Newest first; revoked ones included.
    data: Vec<KeyView>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List an account's API keys
#[utoipa::path(get, path = "/v1/accounts/{account_id}/api-keys", operation_id = "listApiKeys", tag = "api-keys",
    params(("account_id" = String, Path), PageQuery),
    responses(
        (status = 200, description = "A page of keys", body = KeyList),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(
    who: Session<ReadKeys>,
    keys: web::Data<ApiKeys>,
    account: web::Path<AccountId>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = keys.list(who.principal(), *account, query.parse()?).await?;
    let next_cursor = page.next.map(|id| id.to_string());
    let data = page.items.iter().map(|key| KeyView::new(&keys, key)).collect();
    Ok(HttpResponse::Ok().json(KeyList { data, next_cursor }))
}

/// Read an API key
#[utoipa::path(get, path = "/v1/api-keys/{key_id}", operation_id = "getApiKey", tag = "api-keys",
    params(("key_id" = String, Path)),
    responses(
        (status = 200, description = "The key, masked", body = KeyView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json")))]
async fn get(
    who: Session<ReadKeys>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.get(who.principal(), *key).await?;
    Ok(HttpResponse::Ok().json(KeyView::new(&keys, &key)))
}

/// Change an API key
///
/// The body is a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/v1/api-keys/{key_id}", operation_id = "updateApiKey", tag = "api-keys",
    params(("key_id" = String, Path)), request_body = KeyChange,
    responses(
        (status = 200, description = "The changed key", body = KeyView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked, or its time is over", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "Not valid", body = ProblemBody, content_type = "application/problem+json")))]
async fn update(
    who: Session<UpdateKey>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
    web::Json(Object(body)): web::Json<Object<KeyChange>>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.update(who.caller(), *key, body.parse()?).await?;
    Ok(HttpResponse::Ok().json(KeyView::new(&keys, &key)))
}

/// Stop an API key
///
/// Until it is enabled. Repeating it succeeds.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/disable", operation_id = "disableApiKey", tag = "api-keys",
    params(("key_id" = String, Path)),
    responses(
        (status = 200, description = "The stopped key", body = KeyView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked, or its time is over", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn disable(
    who: Session<DisableKey>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.disable(who.caller(), *key).await?;
    Ok(HttpResponse::Ok().json(KeyView::new(&keys, &key)))
}

/// Let a stopped API key go on
///
/// Repeating it succeeds.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/enable", operation_id = "enableApiKey", tag = "api-keys",
    params(("key_id" = String, Path)),
    responses(
        (status = 200, description = "The key that goes on", body = KeyView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked, or its time is over", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn enable(
    who: Session<DisableKey>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.enable(who.caller(), *key).await?;
    Ok(HttpResponse::Ok().json(KeyView::new(&keys, &key)))
}

/// Give an API key a new secret
///
/// The secret is in this answer and in no other. The one before goes on for the overlap; one before that ends at once. With an
/// `Idempotency-Key` a repetition within a day makes no second secret: it is 409 `secret_already_issued`.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/rotate", operation_id = "rotateApiKey", tag = "api-keys",
    params(("key_id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = NewRotation,
    responses(
        (status = 200, description = "The key and its new secret", body = IssuedKey),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked, its time is over, or a repetition", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "Not valid", body = ProblemBody, content_type = "application/problem+json")))]
async fn rotate(
    who: Session<RotateKey>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
    NameOfRequest(name): NameOfRequest,
    web::Json(Object(body)): web::Json<Object<NewRotation>>,
) -> Result<HttpResponse, ApiError> {
    let (key, secret) = keys.rotate(who.caller(), *key, body.parse()?, name).await?;
    Ok(HttpResponse::Ok().json(IssuedKey::new(&keys, &key, &secret)))
}

/// Revoke an API key
///
/// Final. Repeating it succeeds.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/revoke", operation_id = "revokeApiKey", tag = "api-keys",
    params(("key_id" = String, Path)),
    responses(
        (status = 200, description = "The revoked key", body = KeyView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json")))]
async fn revoke(
    who: Session<RevokeKey>,
    keys: web::Data<ApiKeys>,
    key: web::Path<ApiKeyId>,
) -> Result<HttpResponse, ApiError> {
    let key = keys.revoke(who.caller(), *key).await?;
    Ok(HttpResponse::Ok().json(KeyView::new(&keys, &key)))
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_create, _, _, _>(create))
        .with(Endpoint::new::<__path_list, _, _, _>(list))
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_update, _, _, _>(update))
        .with(Endpoint::new::<__path_disable, _, _, _>(disable))
        .with(Endpoint::new::<__path_enable, _, _, _>(enable))
        .with(Endpoint::new::<__path_rotate, _, _, _>(rotate))
        .with(Endpoint::new::<__path_revoke, _, _, _>(revoke))
}
