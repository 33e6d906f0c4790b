//! API keys and service tokens, connected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portal_api_keys::{
    Activity, ApiKeys, ApiKeysStore, Canary, KeysOfDeleted, KnownKeys, KnownServiceTokens, LegacyToken, OldRequests,
    Peppers, SecretScanning, ServiceTokens, Services, Verifier,
};
use portal_kernel::ServiceTokenId;
use portal_postgres::{PgFeed, PgStore};

use crate::scanning_keys::{ScanningKey, ScanningKeys};
use crate::settings::KeySettings;
use crate::wire::Surroundings;

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
    /// Taking in what partners report who scan for secrets; none without their keys.
    pub secret_scanning: Option<Arc<SecretScanning>>,
    /// Measures how long revoked keys go on, where that is wanted; runs as long as the server.
    pub canary: Option<Arc<Canary>>,
    /// Deletes names of requests that count no more.
    pub old_requests: Arc<OldRequests>,
    /// Ends the keys of accounts that are gone; runs as long as the server.
    pub keys_of_deleted: Arc<KeysOfDeleted>,
}

/// The legacy token, and the keys of partners who report published secrets.
type OfServices = (Option<LegacyToken>, BTreeMap<String, ScanningKey>);

impl Credentials {
    /// Connects them. The legacy token is accepted where there is one.
    pub fn new(
        settings: KeySettings,
        (legacy, partners): OfServices,
        canary_every: Option<Duration>,
        (store, feed): (&Arc<PgStore>, &Arc<PgFeed>),
        surroundings: &Surroundings,
    ) -> Self {
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
        let verifier = Verifier {
            reader: Arc::new(known_keys),
            peppers: peppers.clone(),
            brand: brand.clone(),
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
        Self {
            keys,
            verifier,
            services,
            secret_scanning,
            canary,
            service_tokens,
            service_activity: Arc::new(service_activity),
            old_requests: Arc::new(old_requests),
            keys_of_deleted: Arc::new(keys_of_deleted),
        }
    }
}

/// The use cases of an operator's command.
pub fn service_tokens(store: Arc<PgStore>, peppers: Arc<Peppers>, surroundings: &Surroundings) -> ServiceTokens {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    ServiceTokens { store: store.clone() as Arc<ApiKeysStore>, reader: store, peppers, ids, entropy, clock }
}
