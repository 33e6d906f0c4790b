//! API keys and service tokens, connected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portal_api_keys::rate_reports::EVERY;
use portal_api_keys::{
    Activity, ApiKeys, ApiKeysStore, Canary, KeyRates, KeysOfDeleted, KnownKeys, KnownServiceTokens, LegacyToken,
    MoveDigests, OldRequests, Peppers, RateReports, SecretScanning, ServiceTokens, Services, Verifier,
};
use portal_kernel::{AccountId, ApiKeyId, Id, ReplicaId, ServiceTokenId};
use portal_postgres::{PgFeed, PgSettings, PgStore};

use crate::scanning_keys::{ScanningKey, ScanningKeys};
use crate::settings::KeySettings;
use crate::wire::{Surroundings, WireError};

/// The use cases of API keys and service tokens.
pub struct Credentials {
    /// What owners do to keys.
    pub keys: Arc<ApiKeys>,
    /// Judges presented keys.
    pub verifier: Arc<Verifier>,
    /// Judges presented service tokens.
    pub services: Arc<Services>,
    /// What operators do to service tokens.
    pub service_tokens: ServiceTokens,
    /// Writes when service tokens were last used; runs as long as the server.
    pub service_activity: Arc<Activity<ServiceTokenId>>,
    /// Writes when keys were last used; runs as long as the server.
    pub key_activity: Arc<Activity<(AccountId, ApiKeyId)>>,
    /// Moves digests to the newest pepper; runs as long as the server.
    pub digests: Arc<MoveDigests>,
    /// Shares the limits of keys with other replicas; runs as long as the server.
    pub rate_reports: Arc<RateReports>,
    /// Taking in what partners report who scan for secrets; none without their keys.
    pub secret_scanning: Option<Arc<SecretScanning>>,
    /// Measures how long revoked keys go on, where that is wanted; runs as long as the server.
    pub canary: Option<Arc<Canary>>,
    /// Deletes names of requests that count no more.
    pub old_requests: Arc<OldRequests>,
    /// Ends the keys of accounts that are gone; runs as long as the server.
    pub keys_of_deleted: Arc<KeysOfDeleted>,
}

/// What the settings say of them.
pub struct CredentialSettings {
    /// Of keys.
    pub keys: KeySettings,
    /// What services shared so far, where it is accepted.
    pub legacy: Option<LegacyToken>,
    /// Keys of partners who report published secrets, by their names.
    pub partners: BTreeMap<String, ScanningKey>,
    /// How often the canary lives, where it does.
    pub canary_every: Option<Duration>,
}

impl Credentials {
    /// Connects them.
    pub fn new(
        settings: CredentialSettings,
        (store, feed, database): (&Arc<PgStore>, &Arc<PgFeed>, &PgSettings),
        surroundings: &Surroundings,
    ) -> Result<Self, WireError> {
        let CredentialSettings { keys: settings, legacy, partners, canary_every } = settings;
        let KeySettings { brand, peppers, cache_entries, most_per_account: most_keys } = settings;
        let (peppers, Surroundings { clock, ids, entropy }) = (Arc::new(peppers), surroundings.clone());
        let service_tokens = service_tokens(store.clone(), peppers.clone(), surroundings);
        let service_activity = Activity { last_used: Arc::default(), log: store.clone() };
        let services = Services {
            reader: Arc::new(KnownServiceTokens::new(store.clone(), feed.clone(), clock.clone())),
            peppers: peppers.clone(),
            clock: clock.clone(),
            last_used: service_activity.last_used.clone(),
            legacy,
        };
        let known_keys = KnownKeys::new(store.clone(), feed.clone(), clock.clone(), cache_entries);
        let key_activity = Activity { last_used: Arc::default(), log: store.clone() };
        let rates = Arc::new(KeyRates::new(cache_entries));
        let rate_reports = rate_reports(database, rates.clone(), surroundings)?;
        let digests = MoveDigests { newer: Arc::default(), store: store.clone() };
        let verifier = Verifier {
            reader: Arc::new(known_keys),
            peppers: peppers.clone(),
            brand: brand.clone(),
            rates: rates.clone(),
            newer_digests: digests.newer.clone(),
            last_used: key_activity.last_used.clone(),
            clock: clock.clone(),
        };
        let keys_store = store.clone() as Arc<ApiKeysStore>;
        let old_requests = OldRequests { store: keys_store.clone(), clock: clock.clone() };
        let keys_of_deleted = KeysOfDeleted::new(store.clone(), &**feed, ids.clone(), clock.clone());
        let reader = store.clone();
        let canary = |every| Arc::new(Canary::new(store.clone(), store.clone(), feed.clone(), clock.clone(), every));
        let canary = canary_every.map(canary);
        let keys = ApiKeys { store: keys_store, reader, peppers, brand, ids, entropy, clock, most_keys };
        let (keys, verifier, services) = (Arc::new(keys), Arc::new(verifier), Arc::new(services));
        let secret_scanning = (!partners.is_empty()).then(|| {
            let (verifier, keys, services) = (verifier.clone(), keys.clone(), services.clone());
            Arc::new(SecretScanning { signatures: Arc::new(ScanningKeys(partners)), verifier, keys, services })
        });
        Ok(Self {
            keys,
            verifier,
            services,
            secret_scanning,
            canary,
            service_tokens,
            service_activity: Arc::new(service_activity),
            key_activity: Arc::new(key_activity),
            digests: Arc::new(digests),
            rate_reports,
            old_requests: Arc::new(old_requests),
            keys_of_deleted: Arc::new(keys_of_deleted),
        })
    }
}

/// The use cases of an operator's command.
pub fn service_tokens(store: Arc<PgStore>, peppers: Arc<Peppers>, surroundings: &Surroundings) -> ServiceTokens {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    ServiceTokens { store: store.clone() as Arc<ApiKeysStore>, reader: store, peppers, ids, entropy, clock }
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
