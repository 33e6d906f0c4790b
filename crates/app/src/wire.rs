//! From settings to use cases: one function.

use std::sync::Arc;
use std::time::Duration;

use portal_accounts::{
    Accounts, AccountsStore, EndedSessions, Facts, FailedSignIns, GlobalSignOut, Intake, KnownUsers, Organizations,
    Profiles, Reconciler, Retention, RevokeAgain, RoleMap, SeenSessions, Sessions, SignIn, Turns, Webhooks,
};
use portal_api_keys::KeyFeed;
use portal_audit::AuditTrail;
use portal_clerk::{
    ClerkAuthenticator, ClerkDirectory, ClerkListing, ClerkOrganizations, ClerkSessions, ClerkSettings, ClerkWebhooks,
    WebhookVerifier,
};
use portal_http_api::Api;
use portal_http_kit::{HttpMetrics, Kit, RateLimits, ServiceLog};
use portal_identity::{DirectoryListing, IdentityDirectory};
use portal_kernel::{Clock, Entropy, IdGen};
use portal_postgres::{PgFeed, PgStore};
use portal_web::Web;

use crate::audit::{AuditTools, HeadSigning};
use crate::credentials::{CredentialSettings, Credentials};
use crate::metrics::Sources;
use crate::settings::{AccountsSettings, Settings};
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
    /// Merges what the provider tells.
    pub facts: Arc<Facts>,
    /// Mends what webhooks lost.
    pub reconciler: Arc<Reconciler>,
    /// Deletes what is old.
    pub retention: Arc<Retention>,
    /// Tells the provider of ends that it did not confirm.
    pub revoke_again: Arc<RevokeAgain>,
    /// The identity provider.
    pub authenticator: Arc<ClerkAuthenticator>,
    /// Accounts and who is in them.
    pub organizations: Arc<Organizations>,
    /// API keys and service tokens.
    pub credentials: Credentials,
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
    let Surroundings { clock, ids, .. } = surroundings.clone();
    let store = Arc::new(PgStore::new(&settings.database).map_err(|error| WireError::Database(error.into()))?);
    let authenticator = ClerkAuthenticator::new(settings.clerk.clone(), clock.clone());
    let authenticator = Arc::new(authenticator.map_err(|error| WireError::Clerk(error.into()))?);
    let (directory, listing) = provider(&settings.clerk)?;
    let sessions_at_provider = ClerkSessions::new(&settings.clerk).map_err(|error| WireError::Clerk(error.into()))?;
    let audit_tools = AuditTools::new(&store, &settings.audit, surroundings);
    let head_signing = audit_tools.signing.clone().ok_or(WireError::Audit)?;
    let feed = Arc::new(store.feed());
    let facts = facts(settings.accounts.role_map.clone(), surroundings);
    let webhooks = settings.webhooks.map(|verifier| Arc::new(webhooks(&store, &facts, verifier)));
    let clock_skew = settings.clerk.clock_skew();
    let sign_in = sign_in((&store, &feed), &facts, directory, (&settings.accounts, clock_skew), &clock);
    let profiles = Profiles { store: store.clone() as Arc<AccountsStore>, ids: ids.clone(), clock: clock.clone() };
    let organizations = organizations(&store, &facts, &settings.clerk)?;
    let revoke_again = revoke_again(&store, &facts, sessions_at_provider);
    let sessions = sessions(&store, &facts, &revoke_again);
    let failed_sign_ins = Arc::new(FailedSignIns::new(store.clone(), facts.clone()));
    let reconciler = reconciler(&store, facts.clone(), listing);
    let retention = Retention { store: store.clone() as Arc<AccountsStore>, clock: clock.clone() };
    let credentials = Credentials::new(
        CredentialSettings {
            keys: settings.keys,
            legacy: settings.legacy_service,
            partners: settings.scanning_keys,
            canary_every: settings.canary_every,
        },
        (&store, &feed, &settings.database),
        surroundings,
    )?;
    let web = Web { public_origin: settings.public_origin.clone(), sign_in_url: settings.sign_in_url };
    let rate_limits = Arc::new(RateLimits::new(&settings.limits, clock.clone()));
    let kit = Kit {
        authenticator: authenticator.clone(),
        sign_in: Arc::new(sign_in),
        failed_sign_ins,
        services: credentials.services.clone(),
        verifier: credentials.verifier.clone(),
        service_log: ServiceLog::default(),
        ids,
        public_origin: settings.public_origin,
        trusted_proxies: settings.http.trusted_proxies,
        rate_limits: rate_limits.clone(),
    };
    let sources = Sources {
        store: store.clone(),
        authenticator: authenticator.clone(),
        webhooks: webhooks.as_ref().map(|webhooks| webhooks.health.clone()).unwrap_or_default(),
        reconciler: reconciler.health.clone(),
        revocations: revoke_again.health.clone(),
        sign_ins: kit.sign_in.health.clone(),
        rate_limits,
        head_signing: head_signing.clone(),
        revocation_delays: credentials.canary.as_ref().map(|canary| canary.delays.clone()),
    };
    let metrics =
        HttpMetrics::new(sources.metrics(), sources.delays()).map_err(|error| WireError::Metrics(error.into()))?;
    let api = Api {
        kit: Arc::new(kit),
        accounts: Arc::new(Accounts::new(store.clone())),
        profiles: Arc::new(profiles),
        organizations: organizations.clone(),
        sessions: Arc::new(sessions),
        keys: credentials.keys.clone(),
        audit: Arc::new(AuditTrail { reader: store.clone(), clock }),
        verifier: credentials.verifier.clone(),
        key_feed: Arc::new(KeyFeed { reader: store.clone() }),
        revocation_delays: credentials.canary.as_ref().map(|canary| canary.delays.clone()),
        webhooks,
        secret_scanning: credentials.secret_scanning.clone(),
        database: store.clone(),
        metrics: Arc::new(metrics),
        open_metrics: settings.metrics.open,
    };
    Ok(Wired {
        api,
        web,
        store,
        feed,
        facts,
        reconciler: Arc::new(reconciler),
        retention: Arc::new(retention),
        revoke_again: Arc::new(revoke_again),
        authenticator,
        organizations,
        credentials,
        audit_tools,
        head_signing,
    })
}

/// Turns sessions into people.
fn sign_in(
    (store, feed): (&Arc<PgStore>, &Arc<PgFeed>),
    facts: &Arc<Facts>,
    directory: Arc<dyn IdentityDirectory>,
    (settings, clock_skew): (&AccountsSettings, Duration),
    clock: &Arc<dyn Clock>,
) -> SignIn {
    SignIn {
        ended_sessions: Arc::new(EndedSessions::new(store.clone(), feed.clone(), clock.clone())),
        reader: Arc::new(KnownUsers::new(store.clone(), feed.clone(), settings.cache_entries)),
        store: store.clone() as Arc<AccountsStore>,
        directory,
        facts: facts.clone(),
        turns: Turns::default(),
        step_up: settings.step_up,
        clock_skew,
        seen: SeenSessions::new(settings.cache_entries),
        health: Arc::default(),
    }
}

/// The use cases of who sees and ends sessions.
fn sessions(store: &Arc<PgStore>, facts: &Arc<Facts>, revoke_again: &RevokeAgain) -> Sessions {
    Sessions {
        control: revoke_again.control.clone(),
        store: store.clone() as Arc<AccountsStore>,
        facts: facts.clone(),
        health: revoke_again.health.clone(),
    }
}

/// How the provider is asked.
type Provider = (Arc<dyn IdentityDirectory>, Arc<dyn DirectoryListing>);

fn provider(settings: &ClerkSettings) -> Result<Provider, WireError> {
    let directory = ClerkDirectory::new(settings).map_err(|error| WireError::Clerk(error.into()))?;
    let listing = ClerkListing::new(settings).map_err(|error| WireError::Clerk(error.into()))?;
    Ok((Arc::new(directory), Arc::new(listing)))
}

fn revoke_again(store: &Arc<PgStore>, facts: &Arc<Facts>, control: ClerkSessions) -> RevokeAgain {
    RevokeAgain {
        control: Arc::new(control),
        reader: store.clone(),
        store: store.clone() as Arc<AccountsStore>,
        facts: facts.clone(),
        health: Arc::default(),
    }
}

fn reconciler(store: &Arc<PgStore>, facts: Arc<Facts>, listing: Arc<dyn DirectoryListing>) -> Reconciler {
    let health = Arc::default();
    Reconciler { listing, reader: store.clone(), store: store.clone() as Arc<AccountsStore>, facts, health }
}

/// The use case of an operator who does not wait for the job.
pub fn reconciler_of(settings: &Settings, surroundings: &Surroundings) -> Result<Reconciler, WireError> {
    let store = Arc::new(PgStore::new(&settings.database).map_err(|error| WireError::Database(error.into()))?);
    let (_, listing) = provider(&settings.clerk)?;
    Ok(reconciler(&store, facts(settings.accounts.role_map.clone(), surroundings), listing))
}

/// The use cases of an operator who repairs an account.
pub fn organizations_of(settings: &Settings, surroundings: &Surroundings) -> Result<Arc<Organizations>, WireError> {
    let store = Arc::new(PgStore::new(&settings.database).map_err(|error| WireError::Database(error.into()))?);
    organizations(&store, &facts(settings.accounts.role_map.clone(), surroundings), &settings.clerk)
}

fn organizations(
    store: &Arc<PgStore>,
    facts: &Arc<Facts>,
    settings: &ClerkSettings,
) -> Result<Arc<Organizations>, WireError> {
    let admin = ClerkOrganizations::new(settings).map_err(|error| WireError::Clerk(error.into()))?;
    let (reader, store) = (store.clone(), store.clone() as Arc<AccountsStore>);
    Ok(Arc::new(Organizations { admin: Arc::new(admin), reader, store, facts: facts.clone() }))
}

/// The use cases of what the provider sends on its own.
fn webhooks(store: &Arc<PgStore>, facts: &Arc<Facts>, verifier: WebhookVerifier) -> Webhooks {
    Webhooks {
        verifier: Arc::new(ClerkWebhooks::new(verifier)),
        store: store.clone() as Arc<AccountsStore>,
        parked: store.clone(),
        facts: facts.clone(),
        health: Arc::default(),
        intake: Intake::default(),
    }
}

/// The use cases of an operator who looks at what was put aside: that was verified when it came.
pub fn parked_webhooks(store: Arc<PgStore>, facts: Arc<Facts>) -> Webhooks {
    Webhooks {
        verifier: Arc::new(ClerkWebhooks::without_secret()),
        store: store.clone() as Arc<AccountsStore>,
        parked: store,
        facts,
        health: Arc::default(),
        intake: Intake::default(),
    }
}

/// Merges what the provider tells.
pub fn facts(role_map: RoleMap, surroundings: &Surroundings) -> Arc<Facts> {
    let Surroundings { clock, ids, .. } = surroundings.clone();
    Arc::new(Facts { role_map, ids, clock })
}

/// The use case of an operator who signs everybody out.
pub fn global_sign_out(store: Arc<PgStore>, facts: Arc<Facts>) -> GlobalSignOut {
    GlobalSignOut { store, facts }
}
