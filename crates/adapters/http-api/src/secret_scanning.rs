//! What partners report who scan published text for secrets, in the form of GitHub's partner programme.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use portal_api_keys::secret_scanning::MOST_REPORTED;
use portal_api_keys::{FoundSecret, ReportError, Reported, SecretScanning};
use portal_http_kit::{Endpoint, Kit, Problem, ProblemBody, Routes, Signed, whole_body};
use portal_kernel::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// Bytes of a report: a thousand secrets with their places fit.
const LARGEST_REPORT: usize = 1024 * 1024;

const KEY: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

/// Takes reports in, if the keys of a partner are known.
pub(crate) struct Scanning(pub(crate) Option<Arc<SecretScanning>>);

/// A secret that was found. What else a partner says is nothing to us.
#[derive(Deserialize)]
struct FoundBody {
    token: SecretString,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    source: String,
}

/// What a reported secret is.
#[derive(Serialize, ToSchema)]
struct SecretLabel {
    /// SHA-256 of the secret, in hexadecimal digits.
    token_hash: String,
    /// As it was reported.
    token_type: String,
    /// `true_positive` of a credential that was made here, in whatever state; otherwise `false_positive`.
    #[schema(example = "true_positive")]
    label: &'static str,
}

/// Take in a report of published secrets
///
/// A list of `{"token", "type", "url", "source"}`, at most 1,000, signed with a key of the partner: ECDSA over P-256 and SHA-256, as
/// `github-public-key-identifier` and `github-public-key-signature` say. Keys among them are revoked before the answer. Answers one label for each, in their
/// order. 503 asks for another attempt; repeating changes nothing.
#[utoipa::path(post, path = "/webhooks/secret-scanning", operation_id = "receiveSecretScanningReport", tag = "webhooks",
    responses(
        (status = 200, description = "Taken in", body = [SecretLabel]),
        (status = 400, description = "Not a partner's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No report", body = ProblemBody, content_type = "application/problem+json")))]
async fn receive(
    signed: Signed,
    kit: web::Data<Kit>,
    scanning: web::Data<Scanning>,
    req: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let scanning = scanning.0.as_ref().ok_or_else(refused)?;
    let header = |name| req.headers().get(name).and_then(|value| value.to_str().ok()).ok_or_else(refused);
    let (key, signature) = (header(KEY)?, header(SIGNATURE)?);
    // Nobody makes this program hold a body who does not even claim to be a partner.
    if !scanning.signatures.knows(key) {
        return Err(refused().into());
    }
    let body = whole_body(body, LARGEST_REPORT).await?;
    if !scanning.signatures.is_signed(key, signature, &body) {
        return Err(refused().into());
    }
    let found: Vec<FoundBody> = serde_json::from_slice(&body).map_err(|_| {
        Problem::invalid("invalid_body", "The body is not valid").detail("A list of objects with token and type.")
    })?;
    if found.len() > MOST_REPORTED {
        let problem = Problem::invalid("too_many_secrets", "Too many secrets");
        return Err(problem.detail(format_args!("At most {MOST_REPORTED} at once.")).into());
    }
    let from = signed.provenance();
    let mut labels = Vec::with_capacity(found.len());
    for FoundBody { token, kind, url, source } in found {
        let found = FoundSecret { text: &token, source: &source, url: &url };
        let reported = scanning.take_in(found, &from).await?;
        if let Reported::ServiceToken(name) = &reported {
            kit.service_log.published(name);
        }
        labels.push(SecretLabel {
            token_hash: found.hash(),
            token_type: kind,
            label: if reported == Reported::Nothing { "false_positive" } else { "true_positive" },
        });
    }
    Ok(HttpResponse::Ok().json(labels))
}

/// Why is told to nobody, also not that no partner is known.
fn refused() -> Problem {
    Problem::bad_request("invalid_webhook", "The delivery cannot be verified")
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Denied(denied) => Problem::from(denied).into(),
            // Whatever stood in the way, the partner is to try again.
            ReportError::Store(error) => {
                Problem::unavailable("unavailable", "Temporarily unavailable").cause(error).into()
            }
        }
    }
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_receive, _, _, _>(receive))
}
