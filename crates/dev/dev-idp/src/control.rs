//! Switches that a developer or a test sets over HTTP.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{Either, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::error::ApiError;
use crate::webhooks::WebhookFaults;
use crate::{DevIdp, PATH};

/// What goes wrong with webhooks; what is left out does not.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Faults {
    duplicate: u8,
    loss: u8,
    delay_ms: u64,
    reorder: bool,
    seed: u64,
}

/// `POST /webhook-faults`, in JSON or from the form on the provider's page, whose browser is sent back there.
pub(crate) async fn webhook_faults(
    idp: web::Data<DevIdp>,
    body: Either<web::Json<Faults>, web::Form<Faults>>,
) -> Result<HttpResponse, ApiError> {
    let (faults, from_page) = match body {
        Either::Left(json) => (json.into_inner(), false),
        Either::Right(form) => (form.into_inner(), true),
    };
    for (name, percentage) in [("duplicate", faults.duplicate), ("loss", faults.loss)] {
        if percentage > 100 {
            return Err(ApiError::bad_parameter(name, format!("{name} must be a percentage.")));
        }
    }
    let Faults { duplicate, loss, delay_ms, reorder, seed } = faults;
    idp.set_webhook_faults(WebhookFaults { duplicate, loss, delay: Duration::from_millis(delay_ms), reorder, seed });
    if from_page {
        return Ok(HttpResponse::SeeOther().insert_header((LOCATION, PATH)).finish());
    }
    let counters = idp.webhook_counters();
    Ok(HttpResponse::Ok().json(json!({
        "faults": { "duplicate": duplicate, "loss": loss, "delay_ms": delay_ms, "reorder": reorder, "seed": seed },
        "counters": {
            "events": counters.events,
            "sent": counters.sent,
            "accepted": counters.accepted,
            "lost": counters.lost,
            "duplicated": counters.duplicated,
            "given_up": counters.given_up,
        },
    })))
}
