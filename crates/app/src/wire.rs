//! From settings to use cases: one function.

use std::sync::Arc;

use portal_accounts::{
    Accounts, AccountsStore, EndedSessions, Facts, FailedSignIns, GlobalSignOut, Intake, KnownUsers, Organizations,
    Profiles, Reconciler, Retention, RevokeAgain, RoleMap, SeenSessions, Sessions, SignIn, Turns, Webhooks,
};
use portal_api_keys::rate_reports::EVERY;
use portal_api_keys::{
    Activity, ApiKeys, ApiKeysStore, Brand, KeyRates, KnownKeys, LastUsed, LegacyToken, OldRequests, Peppers,
    RateReports, ServiceTokens, Services, Verifier,
};
use portal_audit::AuditTrail;
use portal_clerk::{
    ClerkAuthenticator, ClerkDirectory, ClerkListing, ClerkOrganizations, ClerkSessions, ClerkSettings, ClerkWebhooks,
    WebhookVerifier,
};
use portal_http_api::Api;
use portal_http_kit::{HttpMetrics, Kit, RateLimits, ServiceLog};
use portal_identity::{DirectoryListing, IdentityDirectory};
use portal_kernel::{AccountId, ApiKeyId, Clock, Entropy, Id, IdGen, ReplicaId, ServiceTokenId};
use portal_postgres::{PgFeed, PgSettings, PgStore};
use portal_web::Web;

use crate::audit::{AuditTools, HeadSigning};
use crate::metrics::Sources;
use crate::settings::{AccountsSettings, KeySettings, Settings};
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
    /// Deletes names of requests that count no more.
    pub old_requests: Arc<OldRequests>,
    /// Tells the provider of ends that it did not confirm.
    pub revoke_again: Arc<RevokeAgain>,
    /// The identity provider.
    pub authenticator: Arc<ClerkAuthenticator>,
    /// Accounts and who is in them.
    pub organizations: Arc<Organizations>,
    /// What operators do to service tokens.
    pub service_tokens: ServiceTokens,
    /// Writes when service tokens were last used; runs as long as the server.
    pub service_activity: Arc<Activity<ServiceTokenId>>,
    /// Writes when keys were last used; runs as long as the server.
    pub key_activity: Arc<Activity<(AccountId, ApiKeyId)>>,
    /// Shares the limits of keys with other replicas; runs as long as the server.
    pub rate_reports: Arc<RateReports>,
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
    let KeySettings { brand, peppers, cache_entries: most_known_keys, most_per_account } = settings.keys;
    let peppers = Arc::new(peppers);
    let service_tokens = service_tokens(store.clone(), peppers.clone(), surroundings);
    let audit_tools = AuditTools::new(&store, &settings.audit, surroundings);
    let head_signing = audit_tools.signing.clone().ok_or(WireError::Audit)?;
    let feed = Arc::new(store.feed());
    let AccountsSettings { cache_entries, role_map, step_up } = settings.accounts;
    let facts = facts(role_map, surroundings);
    let webhooks = settings.webhooks.map(|verifier| Arc::new(webhooks(&store, &facts, verifier)));
    let sign_in = SignIn {
        ended_sessions: Arc::new(EndedSessions::new(store.clone(), feed.clone(), clock.clone())),
        reader: Arc::new(KnownUsers::new(store.clone(), feed.clone(), cache_entries)),
        store: store.clone() as Arc<AccountsStore>,
        directory: directory.clone(),
        facts: facts.clone(),
        turns: Turns::default(),
        step_up,
        clock_skew: settings.clerk.clock_skew(),
        seen: SeenSessions::new(cache_entries),
        health: Arc::default(),
    };
    let profiles = Profiles { store: store.clone() as Arc<AccountsStore>, ids: ids.clone(), clock: clock.clone() };
    let organizations = organizations(&store, &facts, &settings.clerk)?;
    let revoke_again = revoke_again(&store, &facts, sessions_at_provider);
    let sessions = sessions(&store, &facts, &revoke_again);
    let failed_sign_ins = Arc::new(FailedSignIns::new(store.clone(), facts.clone()));
    let reconciler = reconciler(&store, facts.clone(), listing);
    let (retention, old_requests) = forgetting(&store, &clock);
    let known_keys = Arc::new(KnownKeys::new(store.clone(), feed.clone(), clock.clone(), most_known_keys));
    let rates = Arc::new(KeyRates::new(most_known_keys));
    let rate_reports = rate_reports(&settings.database, rates.clone(), surroundings)?;
    let (verifier, key_activity) = verifier(&store, known_keys, (&peppers, &brand), rates, surroundings);
    let keys = api_keys(&store, peppers.clone(), brand, most_per_account, surroundings);
    let web = Web { public_origin: settings.public_origin.clone(), sign_in_url: settings.sign_in_url };
    let rate_limits = Arc::new(RateLimits::new(&settings.limits, clock.clone()));
    let service_activity = Arc::new(Activity { last_used: Arc::default(), log: store.clone() });
    let last_used = service_activity.last_used.clone();
    let services = services(&store, (&peppers, settings.legacy_service), last_used, surroundings);
    let kit = Kit {
        authenticator: authenticator.clone(),
        sign_in: Arc::new(sign_in),
        failed_sign_ins,
        services: Arc::new(services),
        verifier: verifier.clone(),
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
    };
    let metrics = HttpMetrics::new(sources.metrics()).map_err(|error| WireError::Metrics(error.into()))?;
    let api = Api {
        kit: Arc::new(kit),
        accounts: Arc::new(Accounts::new(store.clone())),
        profiles: Arc::new(profiles),
        organizations: organizations.clone(),
        sessions: Arc::new(sessions),
        keys: Arc::new(keys),
        audit: Arc::new(AuditTrail { reader: store.clone(), clock }),
        verifier,
        webhooks,
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
        retention,
        old_requests,
        revoke_again: Arc::new(revoke_again),
        authenticator,
        organizations,
        service_tokens,
        service_activity,
        key_activity,
        rate_reports,
        audit_tools,
        head_signing,
    })
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

/// What people do with their sessions.
fn sessions(store: &Arc<PgStore>, facts: &Arc<Facts>, revoke_again: &RevokeAgain) -> Sessions {
    Sessions {
        control: revoke_again.control.clone(),
        store: store.clone() as Arc<AccountsStore>,
        facts: facts.clone(),
        health: revoke_again.health.clone(),
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

/// Judges the tokens of services, and the legacy one where it is accepted.
fn services(
    store: &Arc<PgStore>,
    (peppers, legacy): (&Arc<Peppers>, Option<LegacyToken>),
    last_used: Arc<LastUsed<ServiceTokenId>>,
    surroundings: &Surroundings,
) -> Services {
    let (reader, peppers, clock) = (store.clone(), peppers.clone(), surroundings.clock.clone());
    Services { reader, peppers, clock, last_used, legacy }
}

/// When a key was used, by its owner and itself.
type KeyActivity = Activity<(AccountId, ApiKeyId)>;

/// Judges presented keys, and notes what they were used for.
fn verifier(
    store: &Arc<PgStore>,
    reader: Arc<KnownKeys>,
    (peppers, brand): (&Arc<Peppers>, &Brand),
    rates: Arc<KeyRates>,
    surroundings: &Surroundings,
) -> (Arc<Verifier>, Arc<KeyActivity>) {
    let (peppers, brand, clock) = (peppers.clone(), brand.clone(), surroundings.clock.clone());
    let activity = Arc::new(Activity { last_used: Arc::default(), log: store.clone() });
    let last_used = activity.last_used.clone();
    (Arc::new(Verifier { reader, peppers, brand, rates, last_used, clock }), activity)
}

/// Deletes what is old.
fn forgetting(store: &Arc<PgStore>, clock: &Arc<dyn Clock>) -> (Arc<Retention>, Arc<OldRequests>) {
    let retention = Retention { store: store.clone() as Arc<AccountsStore>, clock: clock.clone() };
    let old_requests = OldRequests { store: store.clone() as Arc<ApiKeysStore>, clock: clock.clone() };
    (Arc::new(retention), Arc::new(old_requests))
}

/// This process, as one of those that share the limits of keys. On connections of its own: requests that use up all others must not keep
/// it from reporting.
fn rate_reports(
    settings: &PgSettings,
    rates: Arc<KeyRates>,
    surroundings: &Surroundings,
) -> Result<Arc<RateReports>, WireError> {
    let settings = PgSettings { pool_size: 2, acquire_timeout: EVERY, statement_timeout: EVERY, ..settings.clone() };
    let board = PgStore::new(&settings).map_err(|error| WireError::Database(error.into()))?;
    let replica = ReplicaId::from_uuid(surroundings.ids.uuid());
    Ok(Arc::new(RateReports::new(rates, Arc::new(board), surroundings.clock.clone(), replica)))
}

/// The use cases of who owns keys.
fn api_keys(
    store: &Arc<PgStore>,
    peppers: Arc<Peppers>,
    brand: Brand,
    most_keys: usize,
    surroundings: &Surroundings,
) -> ApiKeys {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    let (reader, store) = (store.clone(), store.clone() as Arc<ApiKeysStore>);
    ApiKeys { store, reader, peppers, brand, ids, entropy, clock, most_keys }
}

/// The use cases of an operator's command.
pub fn service_tokens(store: Arc<PgStore>, peppers: Arc<Peppers>, surroundings: &Surroundings) -> ServiceTokens {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    ServiceTokens { store: store.clone() as Arc<ApiKeysStore>, reader: store, peppers, ids, entropy, clock }
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
