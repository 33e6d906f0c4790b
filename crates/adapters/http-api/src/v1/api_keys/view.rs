//! A key as its owners see it.

use portal_api_keys::{ApiKey, ApiKeys, KeyScope, KeySecret, RateLimit};
use portal_kernel::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

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
    /// The public part of each text that can be presented, newest first: two while the one before the last rotation goes on, none
    /// once the key is revoked.
    kids: Vec<KidView>,
    /// `active`, `disabled`, `expired` or `revoked`.
    state: &'static str,
    /// What it is good for: `inference`, `usage:read`.
    #[schema(example = json!(["inference"]))]
    scopes: Vec<&'static str>,
    /// For which models, by name or by how the name begins, with `*` at the end. Empty for all.
    #[schema(example = json!(["llama-3.1-8b", "mixtral-*"]))]
    models: Vec<String>,
    /// From which IPv4 and IPv6 networks. Empty for everywhere.
    #[schema(example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    networks: Vec<String>,
    /// How often. Empty for no limit.
    rate_limits: Vec<RateLimitView>,
    /// Who made it.
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    created_by: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its time is over; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Since when it is stopped; absent unless it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// When it was ended for good; absent unless it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// When it was last verified with success, to the minute or so; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// Counts the changes.
    revision: i64,
}

/// A text of the key, by its public part.
#[derive(Serialize, ToSchema)]
#[schema(as = Kid)]
struct KidView {
    #[schema(example = "4fT9aQz81LmK")]
    kid: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it ends while the key goes on; absent for the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// So many requests in a span of time.
#[derive(Serialize, ToSchema)]
#[schema(as = RateLimit)]
struct RateLimitView {
    #[schema(example = "per-minute")]
    id: String,
    #[schema(example = 600)]
    limit: u32,
    #[schema(example = 60)]
    window_seconds: u64,
}

impl KeyView {
    pub(crate) fn new(keys: &ApiKeys, key: &ApiKey) -> Self {
        let now = keys.clock.now();
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        // The newest one lives as long as any.
        let kid = key.secrets.newest.kid;
        let policy = &key.policy;
        Self {
            id: key.id.to_string(),
            account_id: key.account.to_string(),
            name: key.name.to_string(),
            environment: key.environment.as_str(),
            prefix: format!("{}{}", keys.brand.prefix(key.environment), kid),
            kid: kid.to_string(),
            kids: key.secrets.iter().filter(|secret| secret.is_live(now)).map(KidView::from).collect(),
            state: key.state(now).as_str(),
            scopes: policy.scopes.iter().map(KeyScope::as_str).collect(),
            models: policy.models.iter().map(ToOwned::to_owned).collect(),
            networks: policy.networks.iter().map(|network| network.to_string()).collect(),
            rate_limits: policy.rate_limits.iter().map(RateLimitView::from).collect(),
            created_by: key.made_by.to_string(),
            created_at: key.created_at.to_string(),
            expires_at: text(key.expires_at),
            disabled_at: text(key.disabled_at),
            revoked_at: text(key.revoked_at),
            last_used_at: text(key.last_used_at),
            revision: key.revision,
        }
    }
}

impl From<&KeySecret> for KidView {
    fn from(secret: &KeySecret) -> Self {
        Self {
            kid: secret.kid.to_string(),
            created_at: secret.created_at.to_string(),
            expires_at: secret.expires_at.map(|end| end.to_string()),
        }
    }
}

impl From<&RateLimit> for RateLimitView {
    fn from(limit: &RateLimit) -> Self {
        Self { id: limit.id().to_owned(), limit: limit.limit(), window_seconds: limit.window().as_secs() }
    }
}
