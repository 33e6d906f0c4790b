//! Tokens that were verified a moment ago.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use portal_identity::SessionAuth;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::claims::How;
use crate::error::TokenCarrier;
use crate::rsa_key::VerificationKey;
use crate::times::Window;

/// Longest time that a token is believed without a look at its signature.
const LIFE_MS: i64 = 5 * 60 * 1_000;

/// The SHA-256 of a whole token: the key of the cache, so that the cache holds no credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl Hash for TokenDigest {
    /// A part of a digest is as evenly spread as the whole.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(std::array::from_fn(|index| self.0[index])));
    }
}

/// A verified token with everything that can end its validity.
pub(crate) struct VerifiedSession {
    pub(crate) auth: Arc<SessionAuth>,
    pub(crate) window: Window,
    /// Believed in a cookie only.
    pub(crate) cookie_only: bool,
    /// Believed only where the class does not matter.
    pub(crate) another_class: bool,
    pub(crate) key: Arc<VerificationKey>,
    /// The moment at which the key itself is too old.
    pub(crate) key_usable_until: i64,
}

struct Entry {
    session: VerifiedSession,
    until: i64,
}

/// Bounded in number; keeps what is used.
pub(crate) struct TokenCache {
    entries: Cache<TokenDigest, Arc<Entry>>,
    /// Counts what was forgotten. Held for writing while something is, so that nothing is put in meanwhile.
    forgotten: RwLock<u64>,
}

/// The state of the cache before a verification began.
#[derive(Clone, Copy)]
pub(crate) struct Before(u64);

impl TokenCache {
    /// None if `entries` is 0.
    pub(crate) fn new(entries: usize) -> Option<Self> {
        (entries > 0).then(|| Self { entries: Cache::new(entries), forgotten: RwLock::new(0) })
    }

    /// To be asked for before a verification that [`TokenCache::insert`] ends.
    pub(crate) fn before(&self) -> Before {
        Before(*self.forgotten.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The session, if all that was true at verification still is. An entry that ended is dropped: the full
    /// verification then finds out why.
    pub(crate) fn get(&self, token: &TokenDigest, how: How, now_ms: i64) -> Option<Arc<SessionAuth>> {
        let entry = self.entries.get(token)?;
        let VerifiedSession { cookie_only, another_class, .. } = entry.session;
        if (cookie_only && how.carrier != TokenCarrier::Cookie) || (another_class && !how.any_class) {
            return None;
        }
        if entry.session.window.contains(now_ms) && now_ms < entry.until && !entry.session.key.is_retired() {
            return Some(Arc::clone(&entry.session.auth));
        }
        self.entries.remove_if(token, |found| Arc::ptr_eq(found, &entry));
        None
    }

    /// Not if anything was forgotten since `before`: it might have been this.
    pub(crate) fn insert(&self, token: TokenDigest, session: VerifiedSession, before: Before, now_ms: i64) {
        let until = now_ms.saturating_add(LIFE_MS).min(session.key_usable_until);
        let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        if *forgotten == before.0 {
            self.entries.insert(token, Arc::new(Entry { session, until }));
        }
    }

    /// Drops the sessions that are meant; when this returns, none of them is in the cache or on its way there.
    pub(crate) fn forget(&self, meant: impl Fn(&SessionAuth) -> bool) {
        let mut forgotten = self.forgotten.write().unwrap_or_else(PoisonError::into_inner);
        *forgotten += 1;
        self.entries.retain(|_, entry| !meant(&entry.session.auth));
    }
}

#[cfg(test)]
mod tests {
    use portal_identity::ProviderUserId;
    use portal_kernel::Timestamp;

    use super::*;

    const HEADER: How = How { carrier: TokenCarrier::Header, skew_ms: 5_000, any_class: false };
    const COOKIE: How = How { carrier: TokenCarrier::Cookie, ..HEADER };

    fn key() -> Arc<VerificationKey> {
        Arc::new(VerificationKey::from_components(&[0xc1; 256], &[1, 0, 1], None).unwrap())
    }

    fn session(key: &Arc<VerificationKey>) -> VerifiedSession {
        let auth = SessionAuth {
            user_id: ProviderUserId::parse("user_1").unwrap(),
            session_id: None,
            session_status: None,
            actor: None,
            organization: None,
            factor_verification_age: None,
            features: Vec::new(),
            plans: Vec::new(),
            issued_at: None,
            expires_at: Timestamp::from_unix_seconds(60).unwrap(),
            lenient_questions: false,
        };
        VerifiedSession {
            auth: Arc::new(auth),
            window: Window { from: 1_000, until: 9_000_000 },
            cookie_only: false,
            another_class: false,
            key: Arc::clone(key),
            key_usable_until: i64::MAX,
        }
    }

    #[test]
    fn an_entry_ends_with_its_window_its_life_and_its_key() {
        let (cache, token) = (TokenCache::new(10).unwrap(), TokenDigest::of("a.b.c"));
        for (now, kept) in
            [(999, false), (1_000, true), (2_000 + LIFE_MS - 1, true), (2_000 + LIFE_MS, false), (9_000_000, false)]
        {
            cache.insert(token, session(&key()), cache.before(), 2_000);
            assert_eq!(cache.get(&token, HEADER, now).is_some(), kept, "{now}");
            // Once over, always over.
            assert_eq!(cache.get(&token, HEADER, 2_000).is_some(), kept, "{now}");
        }

        let key = key();
        cache.insert(token, session(&key), cache.before(), 2_000);
        assert!(cache.get(&token, HEADER, 2_000).is_some());
        key.retire();
        assert!(cache.get(&token, HEADER, 2_000).is_none());

        let old = VerifiedSession { key_usable_until: 3_000, ..session(&self::key()) };
        cache.insert(token, old, cache.before(), 2_000);
        assert!(cache.get(&token, HEADER, 2_999).is_some());
        assert!(cache.get(&token, HEADER, 3_000).is_none());
    }

    #[test]
    fn what_only_a_cookie_may_say_does_not_count_in_a_header() {
        let (cache, token) = (TokenCache::new(10).unwrap(), TokenDigest::of("a.b.c"));
        cache.insert(token, VerifiedSession { cookie_only: true, ..session(&key()) }, cache.before(), 2_000);
        assert!(cache.get(&token, HEADER, 2_000).is_none());
        assert!(cache.get(&token, COOKIE, 2_000).is_some());
    }

    #[test]
    fn what_is_of_another_class_counts_only_where_the_class_does_not_matter() {
        let (cache, token) = (TokenCache::new(10).unwrap(), TokenDigest::of("a.b.c"));
        cache.insert(token, VerifiedSession { another_class: true, ..session(&key()) }, cache.before(), 2_000);
        for carrier in [HEADER, COOKIE] {
            assert!(cache.get(&token, carrier, 2_000).is_none());
            assert!(cache.get(&token, How { any_class: true, ..carrier }, 2_000).is_some());
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        assert!(TokenCache::new(0).is_none());
        let (cache, key) = (TokenCache::new(100).unwrap(), key());
        let tokens: Vec<_> = (0..10_000).map(|number| TokenDigest::of(&number.to_string())).collect();
        for token in &tokens {
            cache.insert(*token, session(&key), cache.before(), 2_000);
        }
        assert!(tokens.iter().filter(|token| cache.get(token, HEADER, 2_000).is_some()).count() <= 100);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_does_not_come_back_with_a_verification_under_way() {
        let cache = TokenCache::new(10).unwrap();
        let (one, two) = (TokenDigest::of("one"), TokenDigest::of("two"));
        let of = |user: &str| {
            let mut session = session(&key());
            Arc::make_mut(&mut session.auth).user_id = ProviderUserId::parse(user).unwrap();
            session
        };
        let is_there = |token| cache.get(token, HEADER, 2_000).is_some();
        cache.insert(one, of("user_1"), cache.before(), 2_000);
        cache.insert(two, of("user_2"), cache.before(), 2_000);
        let under_way = cache.before();
        cache.forget(|auth| auth.user_id.as_str() == "user_1");
        assert!(!is_there(&one) && is_there(&two));
        cache.insert(one, of("user_1"), under_way, 2_000);
        assert!(!is_there(&one));
        cache.insert(one, of("user_1"), cache.before(), 2_000);
        assert!(is_there(&one));
    }

    /// Threads that verify and put in, while others forget: after the last one forgot, nothing older than it is left.
    #[test]
    fn a_fill_never_outlives_a_revocation_that_began_before_it_ended() {
        let (cache, key) = (TokenCache::new(1_000).unwrap(), key());
        for round in 0..200 {
            let tokens: Vec<_> = (0..4).map(|number| TokenDigest::of(&format!("{round}.{number}"))).collect();
            let begun: Vec<_> = tokens.iter().map(|token| (*token, cache.before())).collect();
            std::thread::scope(|scope| {
                for (token, before) in begun {
                    let (cache, key) = (&cache, &key);
                    scope.spawn(move || cache.insert(token, session(key), before, 2_000));
                }
                cache.forget(|_| true);
            });
            for token in &tokens {
                assert!(cache.get(token, HEADER, 2_000).is_none());
            }
        }
    }

    #[test]
    fn every_character_of_a_token_counts() {
        let cache = TokenCache::new(10).unwrap();
        cache.insert(TokenDigest::of("a.b.c"), session(&key()), cache.before(), 2_000);
        for other in ["a.b.", "a.b.c ", "a.b.C", "a.b.c.", "", "a.b.d"] {
            assert!(cache.get(&TokenDigest::of(other), HEADER, 2_000).is_none(), "{other:?}");
        }
    }
}
