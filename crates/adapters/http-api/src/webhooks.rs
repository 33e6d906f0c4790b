//! What the identity provider sends on its own.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use portal_accounts::{ReceiveWebhookError, Webhooks};
use portal_http_kit::{Endpoint, Problem, ProblemBody, Routes, Signed, whole_body};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// Bytes of an event: a person with all their organizations and metadata fits.
const LARGEST_EVENT: usize = 1024 * 1024;

/// Takes deliveries in, if the program knows the secret of the endpoint.
pub(crate) struct Receiver(pub(crate) Option<Arc<Webhooks>>);

/// What became of a delivery.
#[derive(Serialize, ToSchema)]
struct Receipt {
    /// `applied`, `repeated`, `ignored` or `parked`.
    #[schema(example = "applied")]
    status: &'static str,
}

/// Take in a delivery of Clerk's webhooks
///
/// Signed by Svix: `svix-id`, `svix-timestamp` and `svix-signature`. Answers 200 once the effect is committed, also for a message that
/// came before, tells nothing that is kept, or was put aside. 503 asks for another attempt.
#[utoipa::path(post, path = "/webhooks/clerk", operation_id = "receiveClerkWebhook", tag = "webhooks",
    responses(
        (status = 200, description = "Taken in", body = Receipt),
        (status = 400, description = "Not Clerk's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemBody, content_type = "application/problem+json")))]
async fn receive(
    signed: Signed,
    receiver: web::Data<Receiver>,
    req: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let webhooks = receiver.0.as_ref().ok_or_else(not_configured)?;
    let headers: Vec<_> = req.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    // Nobody makes this program hold a body who does not even claim to be Clerk.
    webhooks.screen(&headers)?;
    let body = whole_body(body, LARGEST_EVENT).await?;
    let outcome = webhooks.receive(&headers, &body, signed.provenance()).await?;
    Ok(HttpResponse::Ok().json(Receipt { status: outcome.as_str() }))
}

/// The provider repeats deliveries for days: they arrive once the secret is set.
fn not_configured() -> Problem {
    Problem::unavailable("webhooks_not_configured", "Webhooks cannot be verified")
        .cause("CLERK_WEBHOOK_SIGNING_SECRET is not set")
}

impl From<ReceiveWebhookError> for ApiError {
    fn from(error: ReceiveWebhookError) -> Self {
        match error {
            // Why is for the log alone: whoever forges signatures learns nothing.
            ReceiveWebhookError::Refused(_) => {
                Problem::bad_request("invalid_webhook", "The delivery cannot be verified").into()
            }
            ReceiveWebhookError::Denied(denied) => Problem::from(denied).into(),
            // Whatever stood in the way, the provider is to try again.
            ReceiveWebhookError::Store(error) => {
                Problem::unavailable("unavailable", "Temporarily unavailable").cause(error).into()
            }
        }
    }
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_receive, _, _, _>(receive))
}
