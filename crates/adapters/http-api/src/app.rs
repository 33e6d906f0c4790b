//! All routes in one place, and how a worker mounts them.

use std::sync::Arc;

use actix_web::web;
use portal_accounts::{Accounts, Organizations, Profiles, Sessions, Webhooks};
use portal_api_keys::{ApiKeys, KeyFeed, RevocationDelays, SecretScanning, Verifier};
use portal_audit::AuditTrail;
use portal_http_kit::{HttpMetrics, Kit, Routes, configure_extractors, not_found};
use portal_kernel::Ping;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::operations::{Document, MetricsFor, database, metrics_routes};
use crate::webhooks::Receiver;
use crate::{operations, secret_scanning, v1, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portal API",
        description = "Accounts, API keys and their verification. Errors are RFC 9457 problem bodies with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(portal_http_kit::ProblemBody)),
    tags(
        (name = "auth", description = "Who the identity provider says is calling"),
        (name = "me", description = "The signed-in person"),
        (name = "accounts", description = "Accounts of the signed-in person"),
        (name = "members", description = "Members of an organization, and invitations into it"),
        (name = "api-keys", description = "API keys, as their owners manage them"),
        (name = "audit", description = "What was done in an account"),
        (name = "key-holder", description = "For whoever holds an API key, with the key"),
        (name = "gateway", description = "For gateways, with a service token"),
        (name = "webhooks", description = "For the identity provider, and for partners who scan for secrets"),
        (name = "operations", description = "For operators")
    )
)]
struct Base;

/// What the handlers need. Built once, outside the worker factory.
#[derive(Clone)]
pub struct Api {
    /// What guards need.
    pub kit: Arc<Kit>,
    /// Reading accounts.
    pub accounts: Arc<Accounts>,
    /// Changing what a person chose here.
    pub profiles: Arc<Profiles>,
    /// Changing accounts and who is in them.
    pub organizations: Arc<Organizations>,
    /// Seeing and ending sessions.
    pub sessions: Arc<Sessions>,
    /// Managing keys.
    pub keys: Arc<ApiKeys>,
    /// Reading audit trails.
    pub audit: Arc<AuditTrail>,
    /// Judging keys.
    pub verifier: Arc<Verifier>,
    /// Telling gateways of keys.
    pub key_feed: Arc<KeyFeed>,
    /// How long revoked keys went on; none where it is not measured.
    pub revocation_delays: Option<Arc<RevocationDelays>>,
    /// Taking in what the provider sends; none without a secret to verify it with.
    pub webhooks: Option<Arc<Webhooks>>,
    /// Taking in what partners report who scan for secrets; none without their keys.
    pub secret_scanning: Option<Arc<SecretScanning>>,
    /// Readiness.
    pub database: Arc<dyn Ping>,
    /// Counters.
    pub metrics: Arc<HttpMetrics>,
    /// Whether the main listener tells its metrics to anybody.
    pub open_metrics: bool,
}

fn routes(metrics: MetricsFor) -> Routes {
    Routes::default()
        .and(v1::auth::routes())
        .and(v1::me::routes())
        .and(v1::sessions::routes())
        .and(v1::accounts::routes())
        .and(v1::members::routes())
        .and(v1::invitations::routes())
        .and(v1::api_keys::routes())
        .and(v1::explain::routes())
        .and(v1::audit_events::routes())
        .and(v1::key_holder::routes())
        .and(v1::keys::routes())
        .and(v1::key_feed::routes())
        .and(v1::status::routes())
        .and(webhooks::routes())
        .and(secret_scanning::routes())
        .and(operations::routes())
        .and(metrics_routes(metrics))
}

impl Api {
    /// What each worker calls to serve everything.
    pub fn mount(self) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + Sync + 'static {
        let whom = if self.open_metrics { MetricsFor::Anybody } else { MetricsFor::Services };
        let routes = routes(whom).mount(&self.metrics);
        let delays = web::Data::new(v1::status::Delays(self.revocation_delays));
        let receiver = web::Data::new(Receiver(self.webhooks));
        let scanning = web::Data::new(secret_scanning::Scanning(self.secret_scanning));
        let document = web::Data::new(Document(document().into()));
        move |config| {
            config
                .app_data(web::Data::from(self.kit.clone()))
                .app_data(web::Data::from(self.accounts.clone()))
                .app_data(web::Data::from(self.profiles.clone()))
                .app_data(web::Data::from(self.organizations.clone()))
                .app_data(web::Data::from(self.sessions.clone()))
                .app_data(web::Data::from(self.keys.clone()))
                .app_data(web::Data::from(self.audit.clone()))
                .app_data(web::Data::from(self.verifier.clone()))
                .app_data(web::Data::from(self.key_feed.clone()))
                .app_data(web::Data::from(self.metrics.clone()))
                .app_data(delays.clone())
                .app_data(receiver.clone())
                .app_data(scanning.clone())
                .app_data(database(self.database.clone()))
                .app_data(document.clone())
                .configure(configure_extractors)
                .configure(&routes)
                .default_service(web::to(not_found));
        }
    }
}

/// What a worker of the metrics listener calls: metrics for anybody who reaches it, and nothing else.
pub fn mount_metrics(metrics: Arc<HttpMetrics>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + Sync + 'static {
    let routes = metrics_routes(MetricsFor::Anybody).mount(&metrics);
    move |config| {
        config.app_data(web::Data::from(metrics.clone())).configure(&routes).default_service(web::to(not_found));
    }
}

/// The OpenAPI document of the production server, with sorted keys and a final newline.
pub fn document() -> String {
    let mut document = Base::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    routes(MetricsFor::Services).describe(&mut document);
    let bearer = |format: &str, words: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format).description(Some(words));
        SecurityScheme::Http(scheme.build())
    };
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("session", bearer("JWT", "A Clerk session token"));
    components.add_security_scheme("service", bearer("portal_svc", "A service token"));
    components.add_security_scheme("api_key", bearer("cort_live", "An API key"));
    // Through a Value, whose maps are sorted: the text then depends on nothing but its contents.
    let sorted = serde_json::to_value(&document).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&sorted).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_describes_the_api() {
        let committed = include_str!("../../../../docs/openapi.json");
        assert!(super::document() == committed, "run: cargo run -- openapi > docs/openapi.json");
    }
}
