//! What anybody may know of how well the program works.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use portal_api_keys::{DelaySummary, LastHour, RevocationDelays};
use portal_http_kit::{Endpoint, Problem, Public, Routes};
use serde::Serialize;
use utoipa::ToSchema;

/// What was measured, if anything is.
pub(crate) struct Delays(pub(crate) Option<Arc<RevocationDelays>>);

/// How long the server that answers went on with a revoked key.
#[derive(Serialize, ToSchema)]
struct RevocationStatus {
    /// Whether this server measures.
    measuring: bool,
    /// The last measurement, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ms: Option<u64>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    measured_at: Option<String>,
    /// The measurements of the last hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_hour: Option<RevocationsOfHour>,
}

/// Measurements of an hour.
#[derive(Serialize, ToSchema)]
struct RevocationsOfHour {
    /// How many.
    measurements: usize,
    /// Half of them were no longer than this, in milliseconds.
    p50_ms: u64,
    /// 99 of 100 were no longer than this, in milliseconds.
    p99_ms: u64,
}

/// Of a part of a millisecond the whole counts.
fn milliseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl From<LastHour> for RevocationsOfHour {
    fn from(LastHour { measurements, median, p99 }: LastHour) -> Self {
        Self { measurements, p50_ms: milliseconds(median), p99_ms: milliseconds(p99) }
    }
}

impl RevocationStatus {
    fn new(measuring: bool, summary: Option<DelaySummary>) -> Self {
        Self {
            measuring,
            last_ms: summary.map(|summary| milliseconds(summary.last)),
            measured_at: summary.map(|summary| summary.measured_at.to_string()),
            last_hour: summary.and_then(|summary| summary.last_hour).map(Into::into),
        }
    }
}

/// How fast revoked keys end
///
/// Each minute a key of the program's own is revoked, and every server measures until when it would have let it in. Answers what this server
/// measured; reads nothing but its memory.
#[utoipa::path(get, path = "/v1/status/revocation", operation_id = "getRevocationStatus", tag = "operations",
    responses((status = 200, description = "What was measured", body = RevocationStatus)))]
async fn revocation(_: Public, delays: web::Data<Delays>) -> Result<HttpResponse, Problem> {
    let delays = delays.0.as_ref();
    let status = RevocationStatus::new(delays.is_some(), delays.and_then(|delays| delays.summary()));
    Ok(HttpResponse::Ok().json(status))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_revocation, _, _, _>(revocation))
}
