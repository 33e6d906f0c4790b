//! The key set of one instance, kept fresh with as few calls as possible.
//!
//! Nothing is global: two authenticators share neither keys nor failures. Intervals are measured by the clock port;
//! when the clock went backwards they count as over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_kernel::Clock;
use quick_cache::sync::Cache;
use tokio::sync::OwnedMutexGuard;

use crate::StrictChoices;
use crate::error::TokenVerificationError;
use crate::http::BackendApi;
use crate::jwks_document::{FetchFailure, Keys, fetch};
use crate::keys::FoundKey;
use crate::rsa_key::VerificationKey;
use crate::stats::Counters;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

/// From this age on a set is fetched again beside the requests that use it.
const REFRESH_AFTER: i64 = 4 * MINUTE;
/// From this age on a set counts as expired.
const EXPIRES_AFTER: i64 = 5 * MINUTE;
/// From this age on a set is not used for anything, however often it was used.
const UNUSABLE_AFTER: i64 = 24 * 60 * MINUTE;
/// Pause after a failed fetch: while an older set helps out, and while there is none.
const PAUSE_WITH_KEYS: i64 = 5 * SECOND;
const PAUSE_WITHOUT_KEYS: i64 = SECOND;
/// How long after a failed fetch nobody waits for the next one, if an older set helps out.
const KNOWN_DOWN_FOR: i64 = MINUTE;
/// Between two fetches because of an unknown key id, and between two because of a signature that does not fit.
const THROTTLE: i64 = MINUTE;
/// How long an id is remembered as unknown, how many are, and how long they may be.
const UNKNOWN_FOR: i64 = 5 * MINUTE;
const UNKNOWN_IDS: usize = 1_024;
const LONGEST_ID: usize = 256;
/// What every object of JavaScript has, and so the one in which Clerk's SDK keeps its keys: no key, and yet something.
const BUILT_IN: [&str; 12] = [
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// A set as it was fetched.
struct KeySet {
    keys: Keys,
    fetched_at: i64,
    generation: u64,
}

impl KeySet {
    /// None if the set is from the future.
    fn age(&self, now: i64) -> Option<i64> {
        Some(now.saturating_sub(self.fetched_at)).filter(|age| *age >= 0)
    }

    fn is_younger_than(&self, limit: i64, now: i64) -> bool {
        self.age(now).is_some_and(|age| age < limit)
    }

    fn find(&self, kid: &str) -> Option<FoundKey> {
        self.keys.get(kid).map(|key| self.found(Arc::clone(key)))
    }

    fn found(&self, key: Arc<VerificationKey>) -> FoundKey {
        FoundKey { key, usable_until: self.fetched_at.saturating_add(UNUSABLE_AFTER) }
    }
}

#[derive(Default)]
struct State {
    set: Option<Arc<KeySet>>,
    /// The last fetch failed, and when.
    failure: Option<(i64, FetchFailure)>,
    asked_for_unknown_id_at: Option<i64>,
    asked_for_bad_signature_at: Option<i64>,
}

/// The cached key set.
pub(crate) struct Jwks(Arc<Inner>);

struct Inner {
    api: BackendApi,
    clock: Arc<dyn Clock>,
    choices: StrictChoices,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Held by the one fetch that is under way.
    flight: Arc<tokio::sync::Mutex<()>>,
    /// Ids that the source did not know, and since when.
    unknown: Cache<Box<str>, i64>,
}

impl Jwks {
    pub(crate) fn new(api: BackendApi, clock: Arc<dyn Clock>, choices: StrictChoices, counters: Arc<Counters>) -> Self {
        Self(Arc::new(Inner {
            api,
            clock,
            choices,
            counters,
            state: Mutex::default(),
            flight: Arc::default(),
            unknown: Cache::new(UNKNOWN_IDS),
        }))
    }

    pub(crate) async fn find(&self, kid: Option<&str>) -> Result<FoundKey, TokenVerificationError> {
        let before = self.0.state().set.as_ref().map(|set| set.generation);
        let set = self.current().await?;
        let Some(kid) = kid.filter(|kid| kid.len() <= LONGEST_ID) else {
            return Err(TokenVerificationError::unknown_key(kid));
        };
        if let Some(found) = set.find(kid) {
            return Ok(found);
        }
        if !self.0.choices.plain_key_ids && BUILT_IN.contains(&kid) {
            return Ok(set.found(Arc::new(VerificationKey::unusable())));
        }
        if before != Some(set.generation) {
            self.0.state().asked_for_unknown_id_at = Some(self.0.now());
            return Err(self.remember_unknown(kid));
        }
        self.look_again(kid, &set).await
    }

    /// After a signature did not fit: whether the source has another key by that id by now. Asked at most once a
    /// minute, and not about a set that is younger than that, so that forged tokens cause no load. What is cached stays
    /// in any case.
    pub(crate) async fn replacement(&self, kid: &str, failed: &VerificationKey) -> Option<FoundKey> {
        if !self.0.choices.refetch_on_bad_signature {
            return None;
        }
        let now = self.0.now();
        let set = self.0.state().set.clone()?;
        let other = |set: &KeySet| set.find(kid).filter(|found| !found.key.same_as(failed));
        if let Some(found) = other(&set) {
            return Some(found);
        }
        if set.is_younger_than(THROTTLE, now) {
            return None;
        }
        let newer = self.ask(set.generation, |state, now| may_ask(&mut state.asked_for_bad_signature_at, now)).await;
        other(&*newer.ok()??)
    }

    /// A set that may be used now.
    async fn current(&self) -> Result<Arc<KeySet>, FetchFailure> {
        let now = self.0.now();
        let (set, failure) = {
            let state = self.0.state();
            (state.set.clone(), state.failure)
        };
        let Some(set) = set else { return self.refresh(0).await };
        if set.is_younger_than(REFRESH_AFTER, now) {
            return Ok(set);
        }
        if set.is_younger_than(EXPIRES_AFTER, now) {
            self.refresh_beside();
            return Ok(set);
        }
        let usable = self.0.choices.keep_stale_keys && set.age(now).is_none_or(|age| age < UNUSABLE_AFTER);
        match failure {
            // The source is known to be down: nobody waits for it.
            Some((at, failure)) if usable && failure.is_outage() && is_within(KNOWN_DOWN_FOR, at, now) => {
                self.refresh_beside();
                Ok(set)
            }
            _ => match self.refresh(set.generation).await {
                Err(failure) if usable && failure.is_outage() => Ok(set),
                outcome => outcome,
            },
        }
    }

    /// The source may know the id since the last fetch. It is asked once per window, whoever asks for whatever id.
    async fn look_again(&self, kid: &str, set: &KeySet) -> Result<FoundKey, TokenVerificationError> {
        let now = self.0.now();
        let known_unknown = self.0.unknown.get(kid).is_some_and(|since| is_within(UNKNOWN_FOR, since, now));
        let newer = self
            .ask(set.generation, |state, now| {
                let worth_it = !known_unknown || state.failure.is_some();
                worth_it && may_ask(&mut state.asked_for_unknown_id_at, now)
            })
            .await?;
        match newer {
            Some(newer) => newer.find(kid).ok_or_else(|| self.remember_unknown(kid)),
            None => Err(match self.0.state().failure {
                // An older set cannot say that a key does not exist.
                Some((_, failure)) => failure.into(),
                None => TokenVerificationError::unknown_key(Some(kid)),
            }),
        }
    }

    fn remember_unknown(&self, kid: &str) -> TokenVerificationError {
        self.0.unknown.insert(kid.into(), self.0.now());
        TokenVerificationError::unknown_key(Some(kid))
    }

    /// A set newer than `seen`, fetched now if need be.
    async fn refresh(&self, seen: u64) -> Result<Arc<KeySet>, FetchFailure> {
        self.ask(seen, |_, _| true).await?.ok_or(FetchFailure::Unreachable)
    }

    /// A set newer than `seen`, or none if there is none and it may not be fetched now.
    ///
    /// At most one fetch is under way at any time; whoever comes meanwhile waits for it. It runs to its end even if its
    /// caller goes away: otherwise callers that give up could keep the set old.
    async fn ask(
        &self,
        seen: u64,
        may_fetch: impl FnOnce(&mut State, i64) -> bool + Send,
    ) -> Result<Option<Arc<KeySet>>, FetchFailure> {
        let flight = Arc::clone(&self.0.flight).lock_owned().await;
        if let Some(set) = self.0.newer_than(seen) {
            return Ok(Some(set));
        }
        if let Some(failure) = self.0.recent_failure() {
            return Err(failure);
        }
        if !may_fetch(&mut self.0.state(), self.0.now()) {
            return Ok(None);
        }
        let inner = Arc::clone(&self.0);
        let outcome = self.0.api.run(async move { inner.fetch(flight).await }).await;
        outcome.unwrap_or(Err(FetchFailure::Unreachable)).map(Some)
    }

    /// Starts a fetch that nobody waits for, unless one is under way or the last one has just failed.
    fn refresh_beside(&self) {
        let Ok(flight) = Arc::clone(&self.0.flight).try_lock_owned() else { return };
        if self.0.recent_failure().is_none() {
            let inner = Arc::clone(&self.0);
            self.0.api.start(async move { inner.fetch(flight).await });
        }
    }
}

impl Inner {
    fn now(&self) -> i64 {
        self.clock.now().unix_millis()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newer_than(&self, seen: u64) -> Option<Arc<KeySet>> {
        self.state().set.clone().filter(|set| set.generation > seen)
    }

    fn recent_failure(&self) -> Option<FetchFailure> {
        let now = self.now();
        let state = self.state();
        let pause = if state.set.is_some() { PAUSE_WITH_KEYS } else { PAUSE_WITHOUT_KEYS };
        state.failure.filter(|(at, _)| is_within(pause, *at, now)).map(|(_, failure)| failure)
    }

    async fn fetch(&self, flight: OwnedMutexGuard<()>) -> Result<Arc<KeySet>, FetchFailure> {
        self.counters.jwks_fetches();
        let outcome = fetch(&self.api, self.choices.rs256_keys_only).await;
        let outcome = match outcome {
            Ok(document) => Ok(self.install(document.keys)),
            Err(failure) => {
                self.counters.jwks_failures();
                self.state().failure = Some((self.now(), failure));
                report(failure);
                Err(failure)
            }
        };
        drop(flight);
        outcome
    }

    /// Keys that stayed the same stay the same object, so that what they verified stays verified; the others end at
    /// once.
    fn install(&self, mut keys: Keys) -> Arc<KeySet> {
        let fetched_at = self.now();
        let mut state = self.state();
        let old = state.set.take();
        for (kid, key) in old.iter().flat_map(|old| &old.keys) {
            match keys.get_mut(kid) {
                Some(kept) if kept.same_as(key) => *kept = Arc::clone(key),
                _ => key.retire(),
            }
        }
        let generation = old.map_or(1, |old| old.generation + 1);
        let set = Arc::new(KeySet { keys, fetched_at, generation });
        state.set = Some(Arc::clone(&set));
        state.failure = None;
        set
    }
}

/// Whether `since` is less than `span` ago.
fn is_within(span: i64, since: i64, now: i64) -> bool {
    (0..span).contains(&now.saturating_sub(since))
}

/// At most one `true` per window; the answer is counted as a fetch even if that fetch fails.
fn may_ask(last: &mut Option<i64>, now: i64) -> bool {
    let free = last.is_none_or(|last| !is_within(THROTTLE, last, now));
    if free {
        *last = Some(now);
    }
    free
}

fn report(failure: FetchFailure) {
    if failure == FetchFailure::SecretKeyRefused {
        tracing::error!("Clerk refuses the secret key: sessions cannot be verified once the known keys expire");
    } else {
        tracing::warn!(error = &failure as &dyn std::error::Error, "the signing keys could not be loaded");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portal_identity::TokenVerificationErrorReason as Reason;
    use portal_kernel::SecretString;
    use portal_testkit::FixedClock;

    use super::*;
    use crate::{ClerkOptions, HttpTimeouts};

    /// As if keys had come from this address before it failed: an address cannot begin to fail in a test from outside.
    fn loaded(url: &str, choices: StrictChoices) -> (Jwks, Arc<FixedClock>) {
        let mut options = ClerkOptions::new("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_test_s3cret"));
        options.api_url = url.to_owned();
        let (short, first_pause) = (Duration::from_millis(200), Duration::from_millis(1));
        options.timeouts = HttpTimeouts { connect: short, one_try: short, total: short, first_pause };
        let api = BackendApi::new(&options.validate().unwrap()).unwrap();
        let clock = Arc::new(FixedClock::default());
        let jwks = Jwks::new(api, Arc::clone(&clock) as _, choices, Arc::default());
        let key = VerificationKey::from_components(&[0xc1; 256], &[1, 0, 1], None).unwrap();
        jwks.0.install(Keys::from([("ins_1".into(), Arc::new(key))]));
        (jwks, clock)
    }

    #[tokio::test]
    async fn known_keys_outlive_the_name_and_the_certificate_of_their_source() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let no_tls = format!("https://{}", listener.local_addr().unwrap());
        let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        for url in ["https://nobody.invalid", &no_tls] {
            let (jwks, clock) = loaded(url, StrictChoices::strict());
            clock.advance(Duration::from_secs(301));
            assert!(jwks.find(Some("ins_1")).await.is_ok(), "{url}");
            let failure = jwks.0.state().failure.map(|(_, failure)| failure);
            assert_eq!(failure, Some(FetchFailure::Unreachable), "{url}");

            let (jwks, clock) = loaded(url, StrictChoices::exact());
            clock.advance(Duration::from_secs(301));
            let refusal = jwks.find(Some("ins_1")).await.err().map(|error| error.reason());
            assert!(refusal.is_some_and(Reason::is_infrastructure), "{url}: {refusal:?}");
        }
        accepting.abort();
    }
}
