//! API keys, as gateways ask about them.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use portal_api_keys::{self as domain, KeyUse, KeyVerification, Standing, Verifier};
use portal_authz::action::VerifyKeys;
use portal_http_kit::{Endpoint, LargeJson, Object, Routes, Service};
use portal_kernel::{ExposeSecret, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// Bytes of a body with as many keys as there may be.
const BATCH_LIMIT: usize = 256 * 1024;

/// A key that somebody presented to a gateway, and what for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "no key is restricted to amounts; the shape is checked all the same")]
struct Presented {
    /// The whole text.
    #[schema(value_type = String, example = "cort_live_4fT9aQz81LmK…")]
    key: SecretString,
    /// The model that was asked for.
    model: Option<String>,
    /// Where the customer's request came from. A key that is bound to networks is refused without it.
    #[schema(value_type = Option<String>, example = "198.51.100.7")]
    ip: Option<IpAddr>,
    /// What the key is wanted for; `inference` unless given.
    scope: Option<String>,
    /// What the request will use at most, in the gateway's units.
    #[schema(value_type = Option<Object>)]
    estimate: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Presented {
    fn wanted(&self) -> KeyUse<'_> {
        KeyUse { ip: self.ip, scope: self.scope.as_deref(), model: self.model.as_deref() }
    }
}

/// Keys to verify together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PresentedKeys {
    /// At most 256.
    #[schema(value_type = Vec<Presented>, max_items = 256)]
    keys: Vec<Object<Presented>>,
}

/// Whether each of the keys may be used.
#[derive(Serialize, ToSchema)]
struct Verdicts {
    /// In the order of the keys.
    results: Vec<Verdict>,
}

/// Where the key stands with one of its limits: what the standard headers need.
#[derive(Serialize, ToSchema)]
pub(super) struct LimitState {
    id: String,
    /// So many requests.
    limit: u32,
    /// In so many seconds.
    window_seconds: u64,
    /// How many more this server would let through now.
    remaining: u32,
    /// When it would let one more through than that. RFC 3339, UTC.
    #[schema(format = DateTime)]
    reset_at: String,
}

impl From<&Standing> for LimitState {
    fn from(standing: &Standing) -> Self {
        Self {
            id: standing.limit.id().to_owned(),
            limit: standing.limit.limit(),
            window_seconds: standing.limit.window().as_secs(),
            remaining: standing.remaining,
            reset_at: standing.reset_at.to_string(),
        }
    }
}

/// Whether the key may be used.
#[derive(Serialize, ToSchema)]
struct Verdict {
    /// `allow` or `deny`.
    decision: &'static str,
    /// `valid`, `invalid_api_key`, `key_revoked`, `key_expired`, `key_disabled`, `ip_not_allowed`, `scope_missing`,
    /// `model_not_allowed` or `rate_limited`.
    code: &'static str,
    /// Told once the secret matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    key_id: Option<String>,
    /// Told once the secret matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "acc_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    account_id: Option<String>,
    /// Told of a key with limits, where nothing else speaks against the request: after this request if it is allowed, and where it stands
    /// if a limit refuses it, which then has nothing remaining.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Vec<LimitState>>,
    /// With `rate_limited`: after how many seconds no limit would refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// The key's revision, which never goes down; 0 where no key was found.
    revision: i64,
    /// How long the answer may be kept.
    cacheable_for_ms: u128,
}

impl Verdict {
    fn new(answer: &KeyVerification, now: Timestamp) -> Self {
        let rates = answer.rates.as_ref().filter(|rates| !rates.standings.is_empty());
        Self {
            decision: answer.decision().as_str(),
            code: answer.code.as_str(),
            key_id: answer.known.map(|(key, _)| key.to_string()),
            account_id: answer.known.map(|(_, account)| account.to_string()),
            limits: rates.map(|rates| rates.standings.iter().map(LimitState::from).collect()),
            retry_after_seconds: rates.and_then(|rates| rates.retry_after(now)).map(whole_seconds),
            revision: answer.revision,
            cacheable_for_ms: answer.cacheable_for.as_millis(),
        }
    }
}

/// Rounded up.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Verify an API key
///
/// 200 whenever it could be decided, also when the answer is no: a 4xx means that the gateway's own request is wrong. A request that is
/// allowed is counted against every limit of the key.
#[utoipa::path(post, path = "/v1/keys/verify", operation_id = "verifyApiKey", tag = "gateway", request_body = Presented,
    responses((status = 200, description = "The decision", body = Verdict)))]
async fn verify(
    who: Service<VerifyKeys>,
    verifier: web::Data<Verifier>,
    web::Json(Object(body)): web::Json<Object<Presented>>,
) -> Result<HttpResponse, ApiError> {
    let answer = verifier.verify_key(who.principal(), body.key.expose_secret(), &body.wanted()).await?;
    Ok(HttpResponse::Ok().json(Verdict::new(&answer, verifier.clock.now())))
}

/// Verify several API keys
///
/// As `/v1/keys/verify` for each of them, one after the other: the same key twice is counted twice.
#[utoipa::path(post, path = "/v1/keys/verify-batch", operation_id = "verifyApiKeys", tag = "gateway",
    request_body = PresentedKeys, responses((status = 200, description = "The decisions", body = Verdicts)))]
async fn verify_batch(
    who: Service<VerifyKeys>,
    verifier: web::Data<Verifier>,
    LargeJson(Object(body)): LargeJson<Object<PresentedKeys>, BATCH_LIMIT>,
) -> Result<HttpResponse, ApiError> {
    let presented: Vec<_> =
        body.keys.iter().map(|Object(one)| domain::Presented { text: &one.key, wanted: one.wanted() }).collect();
    let answers = verifier.verify_keys(who.principal(), &presented).await?;
    let now = verifier.clock.now();
    Ok(HttpResponse::Ok().json(Verdicts { results: answers.iter().map(|answer| Verdict::new(answer, now)).collect() }))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_verify, _, _, _>(verify)).with(Endpoint::new::<
        __path_verify_batch,
        _,
        _,
        _,
    >(verify_batch))
}
