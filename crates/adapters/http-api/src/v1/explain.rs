//! Why a gateway would refuse a key, for its owner.

use std::net::IpAddr;

use actix_web::{HttpResponse, web};
use portal_api_keys::{ApiKeys, Check, CheckOutcome, Code, Decision, Explanation, KeyUse, Verifier};
use portal_authz::action::ReadKeys;
use portal_http_kit::{Endpoint, Object, ProblemBody, Routes, Session};
use portal_kernel::ApiKeyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// What the key would be wanted for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// With which model.
    model: Option<String>,
    /// Where the request would come from. A key that is bound to networks is refused without it.
    #[schema(value_type = Option<String>, example = "198.51.100.7")]
    ip: Option<IpAddr>,
    /// `inference` unless given.
    scope: Option<String>,
}

/// One check of a key.
#[derive(Serialize, ToSchema)]
struct CheckView {
    /// `syntax`, `identity`, `state`, `network`, `scope`, `model` or `rate`.
    check: &'static str,
    /// `passed`, `failed`, or `not_reached`: one before it failed, or a dry run has nothing to make it with.
    outcome: &'static str,
}

/// What a gateway would be told about the key.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
struct ExplanationView {
    /// `allow` or `deny`.
    decision: &'static str,
    /// As `/v1/keys/verify` says it.
    code: &'static str,
    /// All of them, in the order in which they are made.
    checks: Vec<CheckView>,
    /// The key's revision.
    revision: i64,
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        let view =
            |(check, outcome): (Check, CheckOutcome)| CheckView { check: check.as_str(), outcome: outcome.as_str() };
        let decision = if explanation.code == Code::Valid { Decision::Allow } else { Decision::Deny };
        Self {
            decision: decision.as_str(),
            code: explanation.code.as_str(),
            checks: explanation.checks.into_iter().map(view).collect(),
            revision: explanation.revision,
        }
    }
}

/// Explain what a gateway would say about an API key
///
/// By its newest secret, which is not needed. Nothing is counted.
#[utoipa::path(post, path = "/v1/api-keys/{key_id}/explain", operation_id = "explainApiKey", tag = "api-keys",
    params(("key_id" = String, Path)), request_body = Wanted,
    responses(
        (status = 200, description = "Every check", body = ExplanationView),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json")))]
async fn explain(
    who: Session<ReadKeys>,
    keys: web::Data<ApiKeys>,
    verifier: web::Data<Verifier>,
    key: web::Path<ApiKeyId>,
    web::Json(Object(body)): web::Json<Object<Wanted>>,
) -> Result<HttpResponse, ApiError> {
    let wanted = KeyUse { ip: body.ip, scope: body.scope.as_deref(), model: body.model.as_deref() };
    let explanation = keys.explain(&verifier, who.principal(), *key, &wanted).await?;
    Ok(HttpResponse::Ok().json(ExplanationView::from(explanation)))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_explain, _, _, _>(explain))
}
