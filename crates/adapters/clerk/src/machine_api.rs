//! Opaque machine tokens: only the Backend API knows what they mean (`clerk.md` §4.2).

use std::sync::Arc;

use portal_identity::{MachineAuth, ProviderMachineId, TokenType};
use portal_kernel::Timestamp;
use quick_cache::sync::Cache;
use serde_json::{Value, json};

use crate::cache::TokenDigest;
use crate::http::{Answer, BackendApi};
use crate::machine::not_for_us;
use crate::machine_answer;
use crate::machine_error::MachineTokenError;
use crate::verify::Verifier;
use crate::{ClerkSettings, ClientError};

/// Before the paths of all three families. Clerk's SDK asks without the version that other paths have.
const PATH_PREFIX: &str = "";
const LARGEST_BODY: usize = 256 * 1_024;
/// Longest time that an answer is believed.
const LIFE_MS: i64 = 60 * 1_000;
/// Longest part of the provider's own words that a message repeats.
const LONGEST_WORDS: usize = 256;

/// Where a class of token is verified.
struct Family {
    path: &'static str,
    /// The member of the question that holds the token.
    member: &'static str,
    not_found: &'static str,
}

impl Family {
    fn of(token_type: TokenType) -> Option<Self> {
        let (path, member, not_found) = match token_type {
            TokenType::SessionToken => return None,
            TokenType::M2mToken => ("/m2m_tokens/verify", "token", "Machine token not found"),
            TokenType::OauthToken => {
                ("/oauth_applications/access_tokens/verify", "access_token", "OAuth token not found")
            }
            TokenType::ApiKey => ("/api_keys/verify", "secret", "API key not found"),
        };
        Some(Self { path, member, not_found })
    }
}

struct Entry {
    auth: Arc<MachineAuth>,
    from: i64,
    until: i64,
}

/// Asks about tokens, and remembers what it was told about good ones.
pub(crate) struct MachineApi {
    /// With the secret key of the instance.
    instance: Option<BackendApi>,
    /// With the machine secret key: a client of its own, so that neither key is ever sent for the other.
    machine: Option<BackendApi>,
    cache: Option<Cache<TokenDigest, Arc<Entry>>>,
}

impl MachineApi {
    pub(crate) fn new(settings: &ClerkSettings, instance: Option<BackendApi>) -> Result<Self, ClientError> {
        let entries = settings.token_cache_entries();
        let cached = settings.choices().cache_opaque_tokens && entries > 0;
        Ok(Self { instance, machine: BackendApi::of_machine(settings)?, cache: cached.then(|| Cache::new(entries)) })
    }

    /// What Clerk says about the token. A machine's must name `own_id`, if there is one.
    pub(crate) async fn verify(
        &self,
        token: &str,
        token_type: TokenType,
        own_id: Option<&ProviderMachineId>,
        verifier: &Verifier,
    ) -> Result<Arc<MachineAuth>, MachineTokenError> {
        let now_ms = || verifier.clock.now().unix_millis();
        let digest = TokenDigest::of(token);
        if let Some(auth) = self.remembered(&digest, token_type, now_ms()) {
            return Ok(auth);
        }
        let answer = self.ask(token, token_type).await?;
        let now_ms = now_ms();
        let auth = machine_answer::read(&answer, token_type, &verifier.settings, now_ms)?;
        if own_id.is_some_and(|own_id| !auth.scopes.iter().any(|scope| scope == own_id.as_str())) {
            return Err(not_for_us().with_status(answer.status));
        }
        let auth = Arc::new(auth);
        self.remember(digest, &auth, now_ms);
        Ok(auth)
    }

    /// The answer, if it describes the token.
    async fn ask(&self, token: &str, token_type: TokenType) -> Result<Answer, MachineTokenError> {
        let Some(family) = Family::of(token_type) else {
            return Err(MachineTokenError::invalid("It is not a machine token."));
        };
        let own = self.machine.as_ref().filter(|_| token_type == TokenType::M2mToken);
        let Some(api) = own.or(self.instance.as_ref()).cloned() else {
            return Err(MachineTokenError::secret_key("A secret key is needed to verify this token."));
        };
        let (path, body) = (format!("{PATH_PREFIX}{}", family.path), json!({ family.member: token }));
        let caller = api.clone();
        let call = async move { caller.post_unversioned(&path, &body, LARGEST_BODY).await };
        let Some(Ok(answer)) = api.run(call).await else { return Err(MachineTokenError::unexpected(None)) };
        match answer.status {
            200..300 => Ok(answer),
            401 => Err(MachineTokenError::secret_key(words(&answer.body)).with_status(401)),
            404 => Err(MachineTokenError::invalid(family.not_found).with_status(404)),
            status => Err(MachineTokenError::unexpected(Some(status))),
        }
    }

    fn remembered(&self, token: &TokenDigest, token_type: TokenType, now_ms: i64) -> Option<Arc<MachineAuth>> {
        let cache = self.cache.as_ref()?;
        let entry = cache.get(token)?;
        if (entry.from..entry.until).contains(&now_ms) && entry.auth.token_type == token_type {
            return Some(Arc::clone(&entry.auth));
        }
        cache.remove_if(token, |found| Arc::ptr_eq(found, &entry));
        None
    }

    fn remember(&self, token: TokenDigest, auth: &Arc<MachineAuth>, now_ms: i64) {
        let Some(cache) = &self.cache else { return };
        let end = auth.expires_at.map_or(i64::MAX, Timestamp::unix_millis);
        let until = now_ms.saturating_add(LIFE_MS).min(end);
        cache.insert(token, Arc::new(Entry { auth: Arc::clone(auth), from: now_ms, until }));
    }
}

/// The provider's own words for a refused key, where it has some that can be repeated.
fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = body.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or_default();
    let sound = (1..=LONGEST_WORDS).contains(&words.len()) && !words.chars().any(char::is_control);
    if sound { words.to_owned() } else { "Invalid secret key".to_owned() }
}
