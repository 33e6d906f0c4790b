//! A presented key becomes a decision.
//!
//! Checks run in the order syntax, identity, state, network, scope, model, rate. What only the owner can have caused (all but the first two) is
//! told only after the secret matched; before that every failure looks the same and takes the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portal_authz::action::{LookUpCredential, VerifyKeys};
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Clock, ExposeSecret, SecretString, StoreError, Timestamp};

use crate::judge::CACHEABLE_FOR;
use crate::ports::CredentialReader;
use crate::{Brand, Code, KeyEnvironment, KeyRates, KeyUse, Kid, LastUsed, NewerDigests, Peppers, Rates, StoredKey};

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

impl Decision {
    /// The text in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// The answer to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVerification {
    /// Why.
    pub code: Code,
    /// The key and its owner, once the secret matched.
    pub known: Option<(ApiKeyId, AccountId)>,
    /// The key's revision; 0 where no key was found.
    pub revision: i64,
    /// How long the answer may be kept.
    pub cacheable_for: Duration,
    /// Where the key stands with its limits, if they were looked at: nothing else spoke against the request.
    pub rates: Option<Rates>,
}

impl KeyVerification {
    /// Derived from the code.
    pub fn decision(&self) -> Decision {
        if self.code == Code::Valid { Decision::Allow } else { Decision::Deny }
    }

    /// Not a key, an unknown key, or a wrong secret.
    pub fn invalid() -> Self {
        Self { code: Code::InvalidApiKey, known: None, revision: 0, cacheable_for: CACHEABLE_FOR, rates: None }
    }
}

/// A text that somebody presented as a key, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The whole text.
    pub text: &'a SecretString,
    /// What the key is wanted for.
    pub wanted: KeyUse<'a>,
}

/// How many keys can be asked about at once.
pub const MOST_PRESENTED: usize = 256;

/// Why a key could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed. Never an answer about the key.
    #[error("the key could not be looked up")]
    Store(#[from] StoreError),
    /// More than [`MOST_PRESENTED`].
    #[error("at most {MOST_PRESENTED} keys can be asked about at once")]
    TooMany,
}

/// Judges presented keys.
pub struct Verifier {
    /// Finds records.
    pub reader: Arc<dyn CredentialReader>,
    /// Compares digests.
    pub peppers: Arc<Peppers>,
    /// First part of a key's text.
    pub brand: Brand,
    /// Counts uses.
    pub rates: Arc<KeyRates>,
    /// Told of every text that matched.
    pub newer_digests: Arc<NewerDigests>,
    /// Told of every use that was allowed.
    pub last_used: Arc<LastUsed<(AccountId, ApiKeyId)>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Verifier {
    /// Whether the presented key may be used now, for what it is wanted for. A use that nothing else speaks against is counted. Waits
    /// for no write.
    pub async fn verify_key(
        &self,
        who: &Principal,
        presented: &str,
        wanted: &KeyUse<'_>,
    ) -> Result<KeyVerification, VerifyError> {
        let _asker = Unchecked::new(Platform).authorize::<VerifyKeys>(who)?;
        let Some((environment, kid)) = self.brand.read(presented) else { return Ok(KeyVerification::invalid()) };
        let stored = self.reader.key(&look_up()?, kid).await?;
        Ok(self.answer(presented, (environment, kid), stored.as_deref(), wanted))
    }

    /// As [`Self::verify_key`] for several keys; the answers are in the order of the questions.
    pub async fn verify_keys(
        &self,
        who: &Principal,
        presented: &[Presented<'_>],
    ) -> Result<Vec<KeyVerification>, VerifyError> {
        let _asker = Unchecked::new(Platform).authorize::<VerifyKeys>(who)?;
        if presented.len() > MOST_PRESENTED {
            return Err(VerifyError::TooMany);
        }
        let read: Vec<_> = presented.iter().map(|one| self.brand.read(one.text.expose_secret())).collect();
        let kids: BTreeSet<_> = read.iter().flatten().map(|(_, kid)| *kid).collect();
        let stored: BTreeMap<_, _> = if kids.is_empty() {
            BTreeMap::new()
        } else {
            self.reader.keys(&look_up()?, kids.into_iter().collect()).await?.into_iter().collect()
        };
        let answer = |(one, read): (&Presented<'_>, Option<(KeyEnvironment, Kid)>)| match read {
            None => KeyVerification::invalid(),
            Some((environment, kid)) => {
                let stored = stored.get(&kid).map(|stored| &**stored);
                self.answer(one.text.expose_secret(), (environment, kid), stored, &one.wanted)
            }
        };
        Ok(presented.iter().zip(read).map(answer).collect())
    }

    fn answer(
        &self,
        presented: &str,
        (environment, kid): (KeyEnvironment, Kid),
        stored: Option<&StoredKey>,
        wanted: &KeyUse<'_>,
    ) -> KeyVerification {
        let now = self.clock.now();
        let answer = verify_stored(&self.peppers, presented, environment, stored, now, wanted);
        let Some(stored) = stored.filter(|_| answer.known.is_some()) else { return answer };
        self.newer_digests.note(&self.peppers, presented, kid, stored);
        if answer.code != Code::Valid {
            return answer;
        }
        let rates = self.rates.charge(stored, now);
        if rates.allowed {
            self.last_used.note((stored.account, stored.key), now);
        }
        let code = if rates.allowed { Code::Valid } else { Code::RateLimited };
        KeyVerification { code, rates: Some(rates), ..answer }
    }

    /// The stored key, if the text is the one that it was made with. Does the same work where there is none.
    pub(crate) fn identify<'a>(
        &self,
        presented: &str,
        environment: KeyEnvironment,
        stored: Option<&'a StoredKey>,
    ) -> Option<&'a StoredKey> {
        identify(&self.peppers, presented, environment, stored)
    }
}

fn identify<'a>(
    peppers: &Peppers,
    presented: &str,
    environment: KeyEnvironment,
    stored: Option<&'a StoredKey>,
) -> Option<&'a StoredKey> {
    let Some(stored) = stored else {
        peppers.match_nothing(presented);
        return None;
    };
    let secret_matches = peppers.matches(presented, stored.pepper_version, &stored.digest);
    (secret_matches && stored.environment == environment).then_some(stored)
}

/// Whether a text that [`Brand::read`] took for a key's may be used at that moment, given the record of its kid if there is one of an active
/// account. For whoever holds the records; takes the same time for any text. Limits of the key are not looked at.
pub fn verify_stored(
    peppers: &Peppers,
    presented: &str,
    environment: KeyEnvironment,
    stored: Option<&StoredKey>,
    now: Timestamp,
    wanted: &KeyUse<'_>,
) -> KeyVerification {
    let Some(stored) = identify(peppers, presented, environment, stored) else { return KeyVerification::invalid() };
    KeyVerification {
        code: stored.judge(now, wanted).code(),
        known: Some((stored.key, stored.account)),
        revision: stored.revision,
        cacheable_for: stored.cacheable_for(now),
        rates: None,
    }
}

pub(crate) fn look_up() -> Result<Authorized<LookUpCredential, Platform>, Denied> {
    Unchecked::new(Platform).authorize(&Principal::System(Job::VerifyKey))
}

#[cfg(test)]
mod tests {
    use portal_authz::{Role, Scope, Scopes, ServicePrincipal};
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::{account, key, member, minted, peppers, stored};
    use crate::{KeyPolicy, MockCredentialReader, RateLimit, RateLimits};

    const ANY: KeyUse<'static> = KeyUse { ip: None, scope: None, model: None };

    fn verifier(reader: MockCredentialReader) -> Verifier {
        Verifier {
            reader: Arc::new(reader),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            rates: Arc::new(KeyRates::new(10)),
            newer_digests: Arc::default(),
            last_used: Arc::default(),
            clock: Arc::new(FixedClock::default()),
        }
    }

    fn finding(found: Option<StoredKey>) -> Verifier {
        let mut reader = MockCredentialReader::new();
        let found = found.map(Arc::new);
        reader.expect_key().returning(move |_, _| Ok(found.clone()));
        verifier(reader)
    }

    fn gateway(scopes: &[Scope]) -> Principal {
        Principal::Service(ServicePrincipal {
            token: Some("svc_00000000000000000000000001".parse().unwrap()),
            name: "gateway".to_owned(),
            scopes: scopes.iter().copied().collect::<Scopes>(),
        })
    }

    async fn ask(verifier: &Verifier, text: &str, wanted: KeyUse<'_>) -> KeyVerification {
        verifier.verify_key(&gateway(&[Scope::KeysVerify]), text, &wanted).await.unwrap()
    }

    #[tokio::test]
    async fn a_live_key_is_allowed_and_names_its_owner() {
        let answer = ask(&finding(Some(stored())), minted().text.expose_secret(), ANY).await;
        assert_eq!(answer.decision(), Decision::Allow);
        assert_eq!(answer.known, Some((key().id, account())));
        assert_eq!(answer.revision, 7);
        assert!(answer.cacheable_for <= Duration::from_millis(500));
    }

    #[tokio::test]
    async fn states_are_told_only_to_who_knows_the_secret() {
        let now = FixedClock::default().now();
        let revoked = StoredKey { revoked_at: Some(now), ..stored() };
        let text = minted().text.expose_secret().to_owned();
        let answer = ask(&finding(Some(revoked.clone())), &text, ANY).await;
        assert_eq!((answer.code, answer.decision()), (Code::KeyRevoked, Decision::Deny));
        let (_, foreign) = peppers().digest(&"another text".into());
        let wrong_secret = StoredKey { digest: foreign, ..revoked };
        let wrong_environment = StoredKey { environment: KeyEnvironment::Test, ..stored() };
        for found in [None, Some(wrong_secret), Some(wrong_environment)] {
            assert_eq!(ask(&finding(found), &text, ANY).await, KeyVerification::invalid());
        }
    }

    #[tokio::test]
    async fn noise_is_refused_without_a_look_up() {
        let mut reader = MockCredentialReader::new();
        reader.expect_key().never();
        let verifier = verifier(reader);
        for text in ["", "cort_live_", "' OR 1=1 --", "Bearer x"] {
            assert_eq!(ask(&verifier, text, ANY).await.code, Code::InvalidApiKey);
        }
    }

    #[tokio::test]
    async fn a_key_without_restrictions_is_for_inference() {
        let verifier = finding(Some(stored()));
        let text = minted().text.expose_secret().to_owned();
        let wanting = |scope| KeyUse { scope: Some(scope), model: Some("any"), ip: None };
        assert_eq!(ask(&verifier, &text, wanting("inference")).await.code, Code::Valid);
        for scope in ["usage:read", "keys:write", ""] {
            assert_eq!(ask(&verifier, &text, wanting(scope)).await.code, Code::ScopeMissing);
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_neither_beyond_an_end_nor_where_requests_are_counted() {
        let now = FixedClock::default().now();
        let end = Duration::from_millis(3);
        let text = minted().text.expose_secret().to_owned();
        let limits = RateLimits::new([RateLimit::new("a", 1, 1).unwrap()]).unwrap();
        let counted = KeyPolicy { rate_limits: limits, ..KeyPolicy::default() };
        for (stored, expected) in [
            (StoredKey { expires_at: Some(now.plus(end)), ..stored() }, end),
            (StoredKey { secret_expires_at: Some(now.plus(end)), ..stored() }, end),
            (StoredKey { expires_at: Some(now.plus(Duration::from_mins(1))), ..stored() }, CACHEABLE_FOR),
            (StoredKey { expires_at: Some(now), ..stored() }, CACHEABLE_FOR),
            (StoredKey { policy: counted, ..stored() }, Duration::ZERO),
        ] {
            assert_eq!(ask(&finding(Some(stored)), &text, ANY).await.cacheable_for, expected);
        }
    }

    fn counted(limit: u64) -> StoredKey {
        let rate_limits = RateLimits::new([RateLimit::new("a", limit, 60).unwrap()]).unwrap();
        StoredKey { policy: KeyPolicy { rate_limits, ..KeyPolicy::default() }, ..stored() }
    }

    #[tokio::test]
    async fn exactly_as_many_uses_as_the_limit_pass_however_they_are_asked_about() {
        let mut reader = MockCredentialReader::new();
        let (kid, known) = (minted().kid, Arc::new(counted(10)));
        let of_one = known.clone();
        reader.expect_key().returning(move |_, _| Ok(Some(of_one.clone())));
        reader.expect_keys().returning(move |_, _| Ok(vec![(kid, known.clone())]));
        let verifier = verifier(reader);
        let good = minted().text;
        let mut codes = Vec::new();
        for _ in 0..3 {
            let batch = vec![Presented { text: &good, wanted: ANY }; 3];
            let answers = verifier.verify_keys(&gateway(&[Scope::KeysVerify]), &batch).await.unwrap();
            codes.extend(answers.into_iter().map(|answer| answer.code));
            codes.push(ask(&verifier, good.expose_secret(), ANY).await.code);
        }
        let expected = [vec![Code::Valid; 10], vec![Code::RateLimited; 2]].concat();
        assert_eq!(codes, expected);
        let refused = ask(&verifier, good.expose_secret(), ANY).await;
        assert_eq!((refused.decision(), refused.cacheable_for), (Decision::Deny, Duration::ZERO));
        assert_eq!(refused.rates.unwrap().retry_after(FixedClock::default().now()), Some(Duration::from_secs(6)));
    }

    #[tokio::test]
    async fn only_a_use_that_nothing_else_speaks_against_is_counted() {
        let now = FixedClock::default().now();
        let good = minted().text.expose_secret().to_owned();
        let (_, foreign) = peppers().digest(&"another text".into());
        let counter = Arc::new(KeyRates::new(10));
        let networks = crate::Networks::parse(["192.0.2.0/24"]).unwrap();
        let models = crate::ModelAllowList::parse(["llama-*"]).unwrap();
        let known = counted(1);
        let bound = KeyPolicy { models, networks, ..known.policy.clone() };
        let ip = "192.0.2.9".parse().ok();
        for (found, wanted, code) in [
            (StoredKey { digest: foreign, ..known.clone() }, ANY, Code::InvalidApiKey),
            (StoredKey { environment: KeyEnvironment::Test, ..known.clone() }, ANY, Code::InvalidApiKey),
            (StoredKey { disabled_at: Some(now), ..known.clone() }, ANY, Code::KeyDisabled),
            (StoredKey { policy: bound.clone(), ..known.clone() }, ANY, Code::IpNotAllowed),
            (known.clone(), KeyUse { scope: Some("usage:read"), ..ANY }, Code::ScopeMissing),
            (StoredKey { policy: bound, ..known.clone() }, KeyUse { ip, ..ANY }, Code::ModelNotAllowed),
            (known.clone(), ANY, Code::Valid),
            (known, ANY, Code::RateLimited),
        ] {
            let verifier = Verifier { rates: counter.clone(), ..finding(Some(found)) };
            let answer = ask(&verifier, &good, wanted).await;
            assert_eq!(answer.code, code);
            assert_eq!(answer.rates.is_some(), matches!(code, Code::Valid | Code::RateLimited));
        }
    }

    #[tokio::test]
    async fn every_secret_of_a_key_spends_the_same_limit() {
        let counter = Arc::new(KeyRates::new(10));
        let good = minted().text;
        for (text, code) in
            [(good, Code::Valid), (crate::credential::mint("cort_live_", &ShiftedEntropy).text, Code::RateLimited)]
        {
            let (pepper_version, digest) = peppers().digest(&text);
            let found = StoredKey { digest, pepper_version, ..counted(1) };
            let verifier = Verifier { rates: counter.clone(), ..finding(Some(found)) };
            assert_eq!(ask(&verifier, text.expose_secret(), ANY).await.code, code);
        }
    }

    #[tokio::test]
    async fn only_a_use_that_was_allowed_is_noted_at_its_time() {
        let mut log = crate::MockActivityLog::new();
        let expected = [((account(), key().id), FixedClock::default().now())];
        log.expect_used().withf(move |_, uses| *uses == expected).once().returning(|_, _| Ok(()));
        let activity = crate::Activity { last_used: Arc::default(), log: Arc::new(log) };
        let good = minted().text.expose_secret().to_owned();
        let rates = Arc::new(KeyRates::new(10));
        let asking = |found, clock| Verifier {
            rates: rates.clone(),
            newer_digests: Arc::default(),
            last_used: activity.last_used.clone(),
            clock: Arc::new(clock),
            ..finding(found)
        };
        let later = || {
            let clock = FixedClock::default();
            clock.advance(Duration::from_secs(1));
            clock
        };
        let stopped = StoredKey { disabled_at: Some(FixedClock::default().now()), ..stored() };
        assert_eq!(ask(&asking(Some(stopped), later()), &good, ANY).await.code, Code::KeyDisabled);
        assert_eq!(ask(&asking(None, later()), &good, ANY).await.code, Code::InvalidApiKey);
        activity.write().await.unwrap();
        assert_eq!(ask(&asking(Some(counted(1)), FixedClock::default()), &good, ANY).await.code, Code::Valid);
        assert_eq!(ask(&asking(Some(counted(1)), later()), &good, ANY).await.code, Code::RateLimited);
        activity.write().await.unwrap();
    }

    /// Makes another secret than [`minted`].
    struct ShiftedEntropy;

    impl portal_kernel::Entropy for ShiftedEntropy {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[tokio::test]
    async fn only_a_service_with_the_scope_may_ask() {
        let verifier = finding(Some(stored()));
        for who in [gateway(&[Scope::MetricsRead]), member(Role::Owner).principal] {
            let outcome = verifier.verify_key(&who, minted().text.expose_secret(), &ANY).await;
            assert!(matches!(outcome, Err(VerifyError::Denied(Denied::Forbidden))));
        }
    }

    #[tokio::test]
    async fn several_answers_are_in_the_order_of_the_questions_and_cost_one_look_up() {
        let mut reader = MockCredentialReader::new();
        let (kid, known) = (minted().kid, Arc::new(stored()));
        reader
            .expect_keys()
            .withf(move |_, kids| kids == &[kid])
            .once()
            .returning(move |_, _| Ok(vec![(kid, known.clone())]));
        let verifier = verifier(reader);
        let (good, noise) = (minted().text, SecretString::from("noise"));
        let wrong_scope = KeyUse { scope: Some("usage:read"), ..ANY };
        let questions = [(&noise, ANY), (&good, ANY), (&good, wrong_scope), (&noise, ANY), (&good, ANY)];
        let questions = questions.map(|(text, wanted)| Presented { text, wanted });
        let answers = verifier.verify_keys(&gateway(&[Scope::KeysVerify]), &questions).await.unwrap();
        let codes: Vec<_> = answers.iter().map(|answer| answer.code.as_str()).collect();
        assert_eq!(codes, ["invalid_api_key", "valid", "scope_missing", "invalid_api_key", "valid"]);
    }

    #[tokio::test]
    async fn noise_alone_costs_no_look_up_and_too_many_questions_get_no_answer() {
        let mut reader = MockCredentialReader::new();
        reader.expect_keys().never();
        let (verifier, who) = (verifier(reader), gateway(&[Scope::KeysVerify]));
        let noise = SecretString::from("noise");
        let most = vec![Presented { text: &noise, wanted: ANY }; MOST_PRESENTED];
        assert_eq!(verifier.verify_keys(&who, &most).await.unwrap().len(), MOST_PRESENTED);
        let more = vec![Presented { text: &noise, wanted: ANY }; MOST_PRESENTED + 1];
        assert!(matches!(verifier.verify_keys(&who, &more).await, Err(VerifyError::TooMany)));
        let outcome = verifier.verify_keys(&member(Role::Owner).principal, &most).await;
        assert!(matches!(outcome, Err(VerifyError::Denied(Denied::Forbidden))));
    }

    #[tokio::test]
    async fn an_outage_is_never_an_answer_about_the_key() {
        let mut reader = MockCredentialReader::new();
        reader.expect_key().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
        let outcome =
            verifier(reader).verify_key(&gateway(&[Scope::KeysVerify]), minted().text.expose_secret(), &ANY).await;
        assert!(matches!(outcome, Err(VerifyError::Store(StoreError::Unavailable(_)))));
    }
}
