//! What people say about keys.

use std::time::Duration;

use portal_api_keys::{
    InvalidKeyName, InvalidKeyScopes, InvalidModels, InvalidNetworks, InvalidOverlap, InvalidRateLimits, KeyDraft,
    KeyEnvironment, KeyName, KeyPatch, KeyPolicy, KeyScopes, ModelAllowList, Networks, Overlap, RateLimit, RateLimits,
};
use portal_http_kit::{Object, Problem};
use portal_kernel::{InvalidTimestamp, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::member::Member;

/// How long the text before goes on where nobody says.
const USUAL_OVERLAP_SECONDS: u64 = 24 * 60 * 60;

/// What a key is for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Environment {
    Live,
    Test,
}

/// So many requests in a span of time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRateLimit {
    /// 1 to 32 lower-case letters, digits and hyphens; of its own among the limits of the key.
    #[schema(min_length = 1, max_length = 32, example = "per-minute")]
    id: String,
    /// Requests.
    #[schema(minimum = 1, maximum = 1_000_000, example = 600)]
    limit: u64,
    /// In which time.
    #[schema(minimum = 1, maximum = 86_400, example = 60)]
    window_seconds: u64,
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "Production")]
    name: String,
    /// `live` unless given.
    #[schema(default = "live")]
    environment: Option<Environment>,
    /// What it is good for: `inference`, `usage:read`. `inference` unless given.
    #[schema(min_items = 1, example = json!(["inference"]))]
    scopes: Option<Vec<String>>,
    /// For which models, by name or by how the name begins, with `*` at the end. All unless given.
    #[schema(max_items = 100, example = json!(["llama-3.1-8b", "mixtral-*"]))]
    models: Option<Vec<String>>,
    /// From which addresses and networks. Everywhere unless given.
    #[schema(max_items = 50, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    networks: Option<Vec<String>>,
    /// How often; all of them hold. Without limit unless given.
    #[schema(value_type = Option<Vec<NewRateLimit>>, max_items = 8)]
    rate_limits: Option<Vec<Object<NewRateLimit>>>,
    /// When its time is over; RFC 3339. Never unless given.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A change of a key: what is absent stays, what is null goes back to what a new key has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyChange {
    /// 1 to 100 characters; never null.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, example = "Production")]
    name: Member<String>,
    /// What it is good for: `inference`, `usage:read`. Null for `inference`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, example = json!(["inference"]))]
    scopes: Member<Vec<String>>,
    /// For which models. Null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 100, example = json!(["llama-3.1-8b", "mixtral-*"]))]
    models: Member<Vec<String>>,
    /// From which addresses and networks. Null for everywhere.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 50, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    networks: Member<Vec<String>>,
    /// How often. Null for no limit.
    #[serde(default)]
    #[schema(value_type = Option<Vec<NewRateLimit>>, max_items = 8)]
    rate_limits: Member<Vec<Object<NewRateLimit>>>,
    /// When its time is over; RFC 3339. Null for never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Member<String>,
}

/// How to rotate a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRotation {
    /// How long the text before goes on: up to 30 days, and 0 for not at all. A day unless given.
    #[schema(maximum = 2_592_000, default = 86_400, example = 86_400)]
    overlap_seconds: Option<u64>,
}

impl NewKey {
    pub(super) fn parse(self) -> Result<KeyDraft, ApiError> {
        let environment = match self.environment {
            None | Some(Environment::Live) => KeyEnvironment::Live,
            Some(Environment::Test) => KeyEnvironment::Test,
        };
        let policy = KeyPolicy {
            scopes: self.scopes.map(KeyScopes::parse).transpose()?.unwrap_or_default(),
            models: self.models.map(ModelAllowList::parse).transpose()?.unwrap_or_default(),
            networks: self.networks.map(Networks::parse).transpose()?.unwrap_or_default(),
            rate_limits: self.rate_limits.map(rate_limits).transpose()?.unwrap_or_default(),
        };
        let expires_at = self.expires_at.map(|text| text.parse::<Timestamp>()).transpose()?;
        Ok(KeyDraft { name: KeyName::parse(&self.name)?, environment, policy, expires_at })
    }
}

impl KeyChange {
    pub(super) fn parse(self) -> Result<KeyPatch, ApiError> {
        Ok(KeyPatch {
            name: self.name.parse_or(|| Err(InvalidKeyName), |name| KeyName::parse(&name))?,
            scopes: self.scopes.parse_or(|| Ok(KeyScopes::default()), KeyScopes::parse)?,
            models: self.models.parse_or(|| Ok(ModelAllowList::default()), ModelAllowList::parse)?,
            networks: self.networks.parse_or(|| Ok(Networks::default()), Networks::parse)?,
            rate_limits: self.rate_limits.parse_or(|| Ok(RateLimits::default()), rate_limits)?,
            expires_at: self.expires_at.parse_or(|| Ok(None), |text| text.parse().map(Some))?,
        })
    }
}

impl NewRotation {
    pub(super) fn parse(&self) -> Result<Overlap, ApiError> {
        let seconds = self.overlap_seconds.unwrap_or(USUAL_OVERLAP_SECONDS);
        Ok(Overlap::parse(Duration::from_secs(seconds))?)
    }
}

fn rate_limits(limits: Vec<Object<NewRateLimit>>) -> Result<RateLimits, InvalidRateLimits> {
    let limit = |Object(limit): Object<NewRateLimit>| RateLimit::new(&limit.id, limit.limit, limit.window_seconds);
    RateLimits::new(limits.into_iter().map(limit).collect::<Result<Vec<_>, _>>()?)
}

/// What is wrong with a member of a body, and with which one.
fn invalid(code: &'static str, title: &'static str, field: &'static str, error: impl std::fmt::Display) -> ApiError {
    Problem::invalid(code, title).detail(error).member("field", field).into()
}

impl From<InvalidKeyName> for ApiError {
    fn from(error: InvalidKeyName) -> Self {
        invalid("invalid_name", "The name is not valid", "name", error)
    }
}

impl From<InvalidKeyScopes> for ApiError {
    fn from(error: InvalidKeyScopes) -> Self {
        invalid("invalid_scopes", "The scopes are not valid", "scopes", error)
    }
}

impl From<InvalidModels> for ApiError {
    fn from(error: InvalidModels) -> Self {
        invalid("invalid_models", "The models are not valid", "models", error)
    }
}

impl From<InvalidNetworks> for ApiError {
    fn from(error: InvalidNetworks) -> Self {
        invalid("invalid_networks", "The networks are not valid", "networks", error)
    }
}

impl From<InvalidRateLimits> for ApiError {
    fn from(error: InvalidRateLimits) -> Self {
        invalid("invalid_rate_limits", "The rate limits are not valid", "rate_limits", error)
    }
}

impl From<InvalidTimestamp> for ApiError {
    fn from(error: InvalidTimestamp) -> Self {
        invalid("invalid_expiry", "The end is not valid", "expires_at", error)
    }
}

impl From<InvalidOverlap> for ApiError {
    fn from(error: InvalidOverlap) -> Self {
        invalid("invalid_overlap", "The overlap is not valid", "overlap_seconds", error)
    }
}
