//! From settings to use cases: one function.

use std::sync::Arc;

use portal_accounts::{Accounts, AccountsStore, Facts, KnownUsers, RoleMap, SignIn, Turns};
use portal_api_keys::{ApiKeys, ApiKeysStore, Peppers, ServiceTokens, Verifier};
use portal_audit::AuditTrail;
use portal_clerk::{ClerkAuthenticator, ClerkDirectory};
use portal_http_api::Api;
use portal_http_kit::{Counter, HttpMetrics, Kit};
use portal_kernel::{Clock, Entropy, IdGen};
use portal_postgres::{PgFeed, PgStore};
use portal_web::Web;

use crate::audit::{AuditTools, HeadSigning};
use crate::settings::{KeySettings, Settings};
use crate::system::{OsEntropy, SystemClock, V7Ids};

/// Everything the program consists of, ready to be served.
pub struct Wired {
    /// What the handlers need.
    pub api: Api,
    /// The pages.
    pub web: Web,
    /// The database.
    pub store: Arc<PgStore>,
    /// What other replicas change; runs as long as the server.
    pub feed: Arc<PgFeed>,
    /// The identity provider.
    pub authenticator: Arc<ClerkAuthenticator>,
    /// What operators do to service tokens.
    pub service_tokens: ServiceTokens,
    /// What operators do with the audit trail.
    pub audit_tools: AuditTools,
    /// Signs the heads of audit trails; runs as long as the server.
    pub head_signing: Arc<HeadSigning>,
}

/// Why the parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// TLS towards the database.
    #[error("the database connection cannot be protected as asked")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The identity provider's adapter.
    #[error("the identity provider's adapter cannot be set up")]
    Clerk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Signed heads.
    #[error("the heads of audit trails cannot be signed: audit.signing_key is missing")]
    Audit,
    /// Metrics.
    #[error("the metrics cannot be set up")]
    Metrics(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The outside world, which tests replace.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// New secrets.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(V7Ids), entropy: Arc::new(OsEntropy) }
    }
}

/// Connects the parts. Opens no connection yet: the database and the provider may come up later.
pub fn wire(settings: Settings, surroundings: &Surroundings) -> Result<Wired, WireError> {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    let store = Arc::new(PgStore::new(&settings.database).map_err(|error| WireError::Database(error.into()))?);
    let authenticator = ClerkAuthenticator::new(settings.clerk.clone(), clock.clone());
    let authenticator = Arc::new(authenticator.map_err(|error| WireError::Clerk(error.into()))?);
    let directory = ClerkDirectory::new(&settings.clerk).map_err(|error| WireError::Clerk(error.into()))?;
    let KeySettings { brand, peppers } = settings.keys;
    let peppers = Arc::new(peppers);
    let service_tokens = service_tokens(store.clone(), peppers.clone(), surroundings);
    let audit_tools = AuditTools::new(&store, &settings.audit, surroundings);
    let head_signing = audit_tools.signing.clone().ok_or(WireError::Audit)?;
    let feed = Arc::new(store.feed());
    let sign_in = SignIn {
        reader: Arc::new(KnownUsers::new(store.clone(), feed.clone(), settings.principal_cache_entries)),
        store: store.clone() as Arc<AccountsStore>,
        directory: Arc::new(directory),
        facts: Arc::new(Facts { role_map: RoleMap::default(), ids: ids.clone(), clock: clock.clone() }),
        turns: Turns::default(),
    };
    let verifier = Arc::new(Verifier { reader: store.clone(), peppers: peppers.clone(), brand: brand.clone() });
    let keys = ApiKeys {
        store: store.clone() as Arc<ApiKeysStore>,
        reader: store.clone(),
        peppers,
        brand,
        ids: ids.clone(),
        entropy,
        clock: clock.clone(),
    };
    let web = Web { public_origin: settings.public_origin.clone(), sign_in_url: settings.sign_in_url };
    let kit = Kit {
        authenticator: authenticator.clone(),
        sign_in: Arc::new(sign_in),
        verifier: verifier.clone(),
        ids,
        public_origin: settings.public_origin,
        trusted_proxies: settings.http.trusted_proxies,
    };
    let metrics =
        HttpMetrics::new(counters(&store, &authenticator)).map_err(|error| WireError::Metrics(error.into()))?;
    let api = Api {
        kit: Arc::new(kit),
        accounts: Arc::new(Accounts::new(store.clone())),
        keys: Arc::new(keys),
        audit: Arc::new(AuditTrail { reader: store.clone(), clock }),
        verifier,
        database: store.clone(),
        metrics: Arc::new(metrics),
        open_metrics: settings.metrics.open,
    };
    Ok(Wired { api, web, store, feed, authenticator, service_tokens, audit_tools, head_signing })
}

/// The use cases of an operator's command.
pub fn service_tokens(store: Arc<PgStore>, peppers: Arc<Peppers>, surroundings: &Surroundings) -> ServiceTokens {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    ServiceTokens { store: store.clone() as Arc<ApiKeysStore>, reader: store, peppers, ids, entropy, clock }
}

fn counters(store: &Arc<PgStore>, authenticator: &Arc<ClerkAuthenticator>) -> Vec<Counter> {
    let database = store.clone();
    let clerk = |name, help, read: fn(&portal_clerk::ClerkStats) -> u64| {
        let authenticator = authenticator.clone();
        Counter { name, help, read: Arc::new(move || read(&authenticator.stats())) }
    };
    vec![
        Counter {
            name: "portal_database_checkouts_total",
            help: "Connections taken from the pool.",
            read: Arc::new(move || database.checkouts()),
        },
        clerk("portal_clerk_signature_checks_total", "Session tokens whose signature was checked.", |stats| {
            stats.signature_checks
        }),
        clerk("portal_clerk_jwks_fetches_total", "Requests for the provider's signing keys.", |stats| {
            stats.jwks_fetches
        }),
        clerk("portal_clerk_token_cache_hits_total", "Session tokens that were known.", |stats| stats.cache_hits),
        clerk("portal_clerk_token_cache_misses_total", "Session tokens that were not known.", |stats| {
            stats.cache_misses
        }),
    ]
}
