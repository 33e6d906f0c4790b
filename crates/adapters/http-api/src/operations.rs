//! Health, metrics and the description of the API.

use std::sync::Arc;

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use portal_authz::action::ReadMetrics;
use portal_http_kit::{Endpoint, HttpMetrics, Problem, Public, Routes, Service};
use portal_kernel::Ping;
use serde_json::json;

/// Whether the program runs
#[utoipa::path(get, path = "/livez", operation_id = "getLiveness", tag = "operations",
    responses((status = 200, description = "It runs", content_type = "application/json")))]
async fn livez(_: Public) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(json!({ "status": "ok" })))
}

/// Whether the program can serve
///
/// 503 while the database does not answer.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "operations",
    responses((status = 200, description = "It can serve", content_type = "application/json")))]
async fn readyz(_: Public, database: web::Data<dyn Ping>) -> Result<HttpResponse, Problem> {
    database.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ok" })))
}

/// The API described in OpenAPI 3.1
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "operations",
    responses((status = 200, description = "This document", content_type = "application/json")))]
async fn openapi(_: Public, document: web::Data<Document>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(document.0.clone()))
}

/// The rendered document.
pub(crate) struct Document(pub(crate) web::Bytes);

/// Counters for Prometheus
///
/// Needs a service token with the scope `metrics:read` here; a listener of its own, where one is configured, serves it openly.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "operations",
    responses((status = 200, description = "Exposition format 0.0.4", content_type = "text/plain")))]
async fn metrics(_: Service<ReadMetrics>, metrics: web::Data<HttpMetrics>) -> Result<HttpResponse, Problem> {
    Ok(render(&metrics))
}

#[utoipa::path(get, path = "/metrics", operation_id = "getMetricsOpenly", tag = "operations",
    responses((status = 200, description = "Exposition format 0.0.4", content_type = "text/plain")))]
async fn open_metrics(_: Public, metrics: web::Data<HttpMetrics>) -> Result<HttpResponse, Problem> {
    Ok(render(&metrics))
}

fn render(metrics: &HttpMetrics) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// Whom the main listener tells its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsFor {
    /// Services with the scope `metrics:read`.
    Services,
    /// Anybody: a listener that only operators reach, or development.
    Anybody,
}

pub(crate) fn metrics_routes(whom: MetricsFor) -> Routes {
    Routes::default().with(match whom {
        MetricsFor::Services => Endpoint::new::<__path_metrics, _, _, _>(metrics),
        MetricsFor::Anybody => Endpoint::new::<__path_open_metrics, _, _, _>(open_metrics),
    })
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_livez, _, _, _>(livez))
        .with(Endpoint::new::<__path_readyz, _, _, _>(readyz))
        .with(Endpoint::new::<__path_openapi, _, _, _>(openapi))
}

/// The database as handlers see it.
pub(crate) fn database(ping: Arc<dyn Ping>) -> web::Data<dyn Ping> {
    web::Data::from(ping)
}
