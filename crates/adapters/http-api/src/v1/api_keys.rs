//! API keys, as their owners manage them.

use actix_web::{HttpResponse, web};
use portal_api_keys::{ApiKey, ApiKeys, KeyDraft, KeyEnvironment, KeyName, KeyPolicy};
use portal_authz::action::{CreateKey, ReadKeys, RevokeKey};
use portal_http_kit::{Endpoint, Object, ProblemBody, Routes, Session};
use portal_kernel::{AccountId, ApiKeyId, ExposeSecret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::page::PageQuery;

/// A key, masked: nothing in it is secret.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyView {
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    account_id: String,
    name: String,
    /// `live` or `test`.
    environment: &'static str,
    /// How the key's text begins.
    #[schema(example = "cort_live_4fT9aQz81LmK")]
    prefix: String,
    /// Public part of the text: names the key in logs and errors.
    #[schema(example = "4fT9aQz81LmK")]
    kid: String,
    /// `active`, `disabled`, `expired` or `revoked`.
    state: &'static str,
    /// Who made it.
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    created_by: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// Counts the changes.
    revision: i64,
}

impl KeyView {
    fn new(keys: &ApiKeys, key: &ApiKey) -> Self {
        // The newest one lives as long as any.
        let kid = key.secrets.newest.kid;
        Self {
            id: key.id.to_string(),
            account_id: key.account.to_string(),
            name: key.name.to_string(),
            environment: key.environment.as_str(),
            prefix: format!("{}{}", keys.brand.prefix(key.environment), kid),
            kid: kid.to_string(),
            state: key.state(keys.clock.now()).as_str(),
            created_by: key.made_by.to_string(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
            revision: key.revision,
        }
    }
}

/// What a key is for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Environment {
    Live,
    Test,
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "Production")]
    name: String,
    /// `live` unless given.
    #[schema(default = "live")]
    environment: Option<Environment>,
}

/// A key that was just made, with its text.
#[derive(Serialize, ToSchema)]
struct CreatedKey<'a> {
    api_key: KeyView,
    /// The key's whole text. It is not stored: this is the only time anybody sees it.
    #[schema(example = "cort_live_4fT9aQz81LmK…")]
    secret: &'a str,
}

/// Create an API key
///
/// The secret is in this answer and in no other.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/api-keys", operation_id = "createApiKey", tag = "api-keys",
    params(("account_id" = String, Path)), request_body = NewKey,
    responses(
        (status = 201, description = "The key and its secret", body = CreatedKey),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Too many live keys", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Not valid", body = ProblemBody, content_type = "application/problem+json")))]
async fn create(
    who: Session<CreateKey>,
    keys: web::Data<ApiKeys>,
    account: web::Path<AccountId>,
    web::Json(Object(body)): web::Json<Object<NewKey>>,
) -> Result<HttpResponse, ApiError> {
    let name = KeyName::parse(&body.name)?;
    let environment = match body.environment {
        None | Some(Environment::Live) => KeyEnvironment::Live,
        Some(Environment::Test) => KeyEnvironment::Test,
    };
    let draft = KeyDraft { name, environment, policy: KeyPolicy::default(), expires_at: None };
    let (key, secret) = keys.create(who.caller(), *account, draft).await?;
    Ok(HttpResponse::Created().json(CreatedKey { api_key: KeyView::new(&keys, &key), secret: secret.expose_secret() }))
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
        .with(Endpoint::new::<__path_revoke, _, _, _>(revoke))
}
