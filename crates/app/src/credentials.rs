//! API keys and service tokens, connected.

use std::sync::Arc;

use portal_api_keys::{
    Activity, ApiKeys, ApiKeysStore, KnownKeys, LegacyToken, OldRequests, Peppers, ServiceTokens, Services, Verifier,
};
use portal_kernel::ServiceTokenId;
use portal_postgres::{PgFeed, PgStore};

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
    /// Deletes names of requests that count no more.
    pub old_requests: Arc<OldRequests>,
}

impl Credentials {
    /// Connects them. The legacy token is accepted where there is one.
    pub fn new(
        settings: KeySettings,
        legacy: Option<LegacyToken>,
        (store, feed): (&Arc<PgStore>, &Arc<PgFeed>),
        surroundings: &Surroundings,
    ) -> Self {
        let KeySettings { brand, peppers, cache_entries, most_per_account: most_keys } = settings;
        let (peppers, Surroundings { clock, ids, entropy }) = (Arc::new(peppers), surroundings.clone());
        let service_tokens = service_tokens(store.clone(), peppers.clone(), surroundings);
        let service_activity = Activity { last_used: Arc::default(), log: store.clone() };
        let services = Services {
            reader: store.clone(),
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
        let reader = store.clone();
        let keys = ApiKeys { store: keys_store, reader, peppers, brand, ids, entropy, clock, most_keys };
        Self {
            keys: Arc::new(keys),
            verifier: Arc::new(verifier),
            services: Arc::new(services),
            service_tokens,
            service_activity: Arc::new(service_activity),
            old_requests: Arc::new(old_requests),
        }
    }
}

/// The use cases of an operator's command.
pub fn service_tokens(store: Arc<PgStore>, peppers: Arc<Peppers>, surroundings: &Surroundings) -> ServiceTokens {
    let Surroundings { clock, ids, entropy } = surroundings.clone();
    ServiceTokens { store: store.clone() as Arc<ApiKeysStore>, reader: store, peppers, ids, entropy, clock }
}
