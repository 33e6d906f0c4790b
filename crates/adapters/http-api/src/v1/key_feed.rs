//! All API keys, for gateways that decide by themselves.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_api_keys::{
    AccountStanding, FeedHead, FeedPosition, FeedRecord, KeyChanges, KeyFeed, KeyPolicy, Kid, RateLimit, Snapshot,
    StoredKey,
};
use portal_authz::action::ReadKeyFeed;
use portal_http_kit::{Endpoint, Problem, ProblemBody, Routes, Service};
use portal_kernel::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;

/// One secret of a key, with what decides about its use.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyRecord)]
struct RecordView {
    /// The public part of the text.
    #[schema(example = "4fT9aQz81LmK")]
    kid: String,
    /// HMAC-SHA-256 of the whole text, in base64.
    digest: String,
    /// Which pepper the digest was made with.
    pepper_version: i16,
    /// `live` or `test`.
    environment: &'static str,
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    key_id: String,
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    account_id: String,
    /// Whether keys of the account count at all.
    account_active: bool,
    scopes: Vec<&'static str>,
    /// None means every model.
    models: Vec<String>,
    /// None means everywhere.
    networks: Vec<String>,
    rate_limits: Vec<LimitView>,
    /// When this secret ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    secret_expires_at: Option<String>,
    /// When this secret was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    secret_revoked_at: Option<String>,
    /// When the time of the key is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Since when the key is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// When the key was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// The key's revision, which never goes down.
    revision: i64,
}

/// So many requests in a span of time.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyRecordLimit)]
struct LimitView {
    id: String,
    limit: u32,
    window_seconds: u64,
}

impl From<&RateLimit> for LimitView {
    fn from(limit: &RateLimit) -> Self {
        Self { id: limit.id().to_owned(), limit: limit.limit(), window_seconds: limit.window().as_secs() }
    }
}

impl From<FeedRecord> for RecordView {
    fn from(FeedRecord { kid, stored, account_is_active }: FeedRecord) -> Self {
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let StoredKey { key, account, environment, digest, pepper_version, policy, revision, .. } = stored;
        let KeyPolicy { scopes, models, networks, rate_limits } = policy;
        Self {
            kid: kid.to_string(),
            digest: STANDARD.encode(digest.as_bytes()),
            pepper_version: pepper_version.number(),
            environment: environment.as_str(),
            key_id: key.to_string(),
            account_id: account.to_string(),
            account_active: account_is_active,
            scopes: scopes.iter().map(portal_api_keys::KeyScope::as_str).collect(),
            models: models.iter().map(str::to_owned).collect(),
            networks: networks.iter().map(|network| network.to_string()).collect(),
            rate_limits: rate_limits.iter().map(LimitView::from).collect(),
            secret_expires_at: text(stored.secret_expires_at),
            secret_revoked_at: text(stored.secret_revoked_at),
            expires_at: text(stored.expires_at),
            disabled_at: text(stored.disabled_at),
            revoked_at: text(stored.revoked_at),
            revision,
        }
    }
}

/// A page of all keys that count.
#[derive(Serialize, ToSchema)]
#[schema(as = KeySnapshot)]
struct SnapshotView {
    /// In the order of their kids: each secret that has not ended, of a key that has not.
    data: Vec<RecordView>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// In the first page alone, and taken before it: `after` of the first question for changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "7412:7412:")]
    position: Option<String>,
    /// In the first page alone: the database's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    database_time: Option<String>,
}

impl From<Snapshot> for SnapshotView {
    fn from(Snapshot { keys, next, head }: Snapshot) -> Self {
        Self {
            data: keys.into_iter().map(RecordView::from).collect(),
            next_cursor: next.map(|kid| kid.to_string()),
            position: head.as_ref().map(|head| head.position.to_string()),
            database_time: head.map(|head| head.at.to_string()),
        }
    }
}

/// What became of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyAccount)]
struct AccountView {
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    account_id: String,
    /// Whether its keys count.
    active: bool,
}

impl From<AccountStanding> for AccountView {
    fn from(AccountStanding { account, is_active }: AccountStanding) -> Self {
        Self { account_id: account.to_string(), active: is_active }
    }
}

/// What changed.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyChanges)]
struct ChangesView {
    /// All secrets of the keys that changed, those included that have ended.
    keys: Vec<RecordView>,
    /// The accounts that changed; each counts for more than what `keys` say of it.
    accounts: Vec<AccountView>,
    /// `after` of the next question.
    #[schema(example = "7412:7412:")]
    position: String,
    /// The database's time: everything that was committed before it has been told.
    #[schema(format = DateTime)]
    database_time: String,
    /// How long something was waited for before that time.
    waited_ms: u128,
}

impl From<KeyChanges> for ChangesView {
    fn from(KeyChanges { keys, accounts, head, waited }: KeyChanges) -> Self {
        let FeedHead { position, at } = head;
        Self {
            keys: keys.into_iter().map(RecordView::from).collect(),
            accounts: accounts.into_iter().map(AccountView::from).collect(),
            position: position.to_string(),
            database_time: at.to_string(),
            waited_ms: waited.as_millis(),
        }
    }
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SnapshotQuery {
    /// Records at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Since when.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangesQuery {
    /// `position` of the snapshot or of the changes before; from now on without it.
    after: Option<String>,
    /// How long to wait for something to tell, 0 to 10000.
    #[param(minimum = 0, maximum = 10000, default = 0)]
    wait_ms: Option<u64>,
}

fn invalid(detail: impl std::fmt::Display) -> ApiError {
    Problem::bad_request("invalid_query", "The query string is not valid").detail(detail).into()
}

/// Read all API keys
///
/// Page by page; what changes meanwhile is told by `/v1/keys/changes` from `position` on.
#[utoipa::path(get, path = "/v1/keys/snapshot", operation_id = "getKeySnapshot", tag = "gateway", params(SnapshotQuery),
    responses((status = 200, description = "A page of keys", body = SnapshotView)))]
async fn snapshot(
    who: Service<ReadKeyFeed>,
    feed: web::Data<KeyFeed>,
    web::Query(query): web::Query<SnapshotQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = query.limit.unwrap_or(KeyFeed::MOST_RECORDS);
    if !(1..=KeyFeed::MOST_RECORDS).contains(&limit) {
        return Err(invalid("limit must be between 1 and 1000"));
    }
    let cursor = query.cursor.as_deref().map(Kid::parse).transpose().map_err(|_| {
        Problem::bad_request("invalid_cursor", "The cursor is not valid").detail("Use next_cursor of the page before.")
    })?;
    let page = feed.snapshot(who.principal(), cursor, limit).await?;
    Ok(HttpResponse::Ok().json(SnapshotView::from(page)))
}

/// Read what changed of API keys
///
/// Everything that was committed since a position, at once if there is something and otherwise at the end of the wait.
#[utoipa::path(get, path = "/v1/keys/changes", operation_id = "getKeyChanges", tag = "gateway", params(ChangesQuery),
    responses(
        (status = 200, description = "What changed", body = ChangesView),
        (status = 410, description = "Not everything since that position is kept: read all keys anew", body = ProblemBody, content_type = "application/problem+json")))]
async fn changes(
    who: Service<ReadKeyFeed>,
    feed: web::Data<KeyFeed>,
    web::Query(query): web::Query<ChangesQuery>,
    req: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let after: Option<FeedPosition> = query.after.as_deref().map(str::parse).transpose().map_err(invalid)?;
    let wait = Duration::from_millis(query.wait_ms.unwrap_or_default());
    if wait > KeyFeed::LONGEST_WAIT {
        return Err(invalid("wait_ms must be between 0 and 10000"));
    }
    let changes = feed.changes(who.principal(), after, wait).await?;
    // The token may have ended while it waited.
    Service::<ReadKeyFeed>::still_counts(&req).await?;
    Ok(HttpResponse::Ok().json(ChangesView::from(changes)))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_snapshot, _, _, _>(snapshot)).with(Endpoint::new::<
        __path_changes,
        _,
        _,
        _,
    >(changes))
}
