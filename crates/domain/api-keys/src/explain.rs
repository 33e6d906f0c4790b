//! Why a key would be refused, for its owner: the decision of [`Verifier::verify_key`] as a dry run, check by check.

use portal_authz::Principal;
use portal_kernel::ApiKeyId;

use crate::judge::Judgement;
use crate::verify::look_up;
use crate::{ApiKeys, Check, Code, KeyUse, ReadKeyError, Verifier};

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// `passed`
    Passed,
    /// `failed`
    Failed,
    /// `not_reached`: one before it failed, or a dry run has nothing to make it with.
    NotReached,
}

impl CheckOutcome {
    /// The text in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotReached => "not_reached",
        }
    }
}

/// What a gateway would be told about a key now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Why.
    pub code: Code,
    /// Every check, in the order in which they are made.
    pub checks: [(Check, CheckOutcome); 7],
    /// The key's revision.
    pub revision: i64,
}

impl ApiKeys {
    /// What a gateway would be told about the key by its newest secret, which nobody has to present. Counts nothing.
    pub async fn explain(
        &self,
        verifier: &Verifier,
        who: &Principal,
        id: ApiKeyId,
        wanted: &KeyUse<'_>,
    ) -> Result<Explanation, ReadKeyError> {
        let key = self.get(who, id).await?;
        let stored = verifier.reader.key(&look_up()?, key.secrets.newest.kid).await?;
        let judgement = match &stored {
            Some(stored) => {
                let now = verifier.clock.now();
                let rates = verifier.rates.standing(stored.key, &stored.policy.rate_limits, now);
                stored.judge(now, wanted).and_rate(rates.allowed)
            }
            // Its account is not active: no gateway finds it.
            None => Judgement::failed(Check::Identity, Code::InvalidApiKey),
        };
        let outcome = |check| match (judgement.failure(), check) {
            (Some(failure), check) if check == failure => CheckOutcome::Failed,
            // Nothing was presented.
            (_, Check::Syntax | Check::Identity) => CheckOutcome::NotReached,
            (Some(failure), check) if check > failure => CheckOutcome::NotReached,
            (_, _) => CheckOutcome::Passed,
        };
        let checks = Check::ALL.map(|check| (check, outcome(check)));
        Ok(Explanation { code: judgement.code(), checks, revision: key.revision })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_authz::{Denied, Role, Unchecked};
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::{Fixture, key, member, peppers, stored};
    use crate::{ApiKey, Brand, KeyPolicy, KeyRates, MockCredentialReader, Networks, RateLimit, RateLimits, StoredKey};

    /// Of passed, failed and not reached.
    const LETTERS: [char; 3] = ['p', 'f', '-'];

    async fn explain(found: Option<StoredKey>, role: Role, wanted: KeyUse<'_>) -> Result<Explanation, ReadKeyError> {
        let policy = found.as_ref().map(|found| found.policy.clone()).unwrap_or_default();
        let mut fixture = Fixture::default();
        let shown = ApiKey { policy, ..key() };
        fixture.reader.expect_find().returning(move |_| Ok(Some(Unchecked::new(shown.clone()))));
        let (keys, _) = fixture.build();
        let mut reader = MockCredentialReader::new();
        let found = found.map(Arc::new);
        reader.expect_key().withf(|_, kid| *kid == key().secrets.newest.kid).returning(move |_, _| Ok(found.clone()));
        let (peppers, clock) = (Arc::new(peppers()), Arc::new(FixedClock::default()));
        let rates = Arc::new(KeyRates::new(10));
        let verifier = Verifier {
            reader: Arc::new(reader),
            peppers,
            brand: Brand::default(),
            rates,
            last_used: Arc::default(),
            newer_digests: Arc::default(),
            clock,
        };
        keys.explain(&verifier, &member(role).principal, key().id, &wanted).await
    }

    #[tokio::test]
    async fn every_check_is_told_up_to_the_one_that_fails() {
        let now = key().created_at;
        let networks = KeyPolicy { networks: Networks::parse(["192.0.2.0/24"]).unwrap(), ..KeyPolicy::default() };
        let limits = RateLimits::new([RateLimit::new("a", 1, 1).unwrap()]).unwrap();
        let counted = KeyPolicy { rate_limits: limits, ..KeyPolicy::default() };
        let ended = StoredKey { revoked_at: Some(now), ..stored() };
        let abroad = StoredKey { policy: networks, ..stored() };
        let wrong_scope = KeyUse { scope: Some("usage:read"), ..KeyUse::default() };
        for (found, wanted, code, outcomes) in [
            (Some(stored()), KeyUse::default(), Code::Valid, "--ppppp"),
            (Some(StoredKey { policy: counted, ..stored() }), KeyUse::default(), Code::Valid, "--ppppp"),
            (Some(ended), KeyUse::default(), Code::KeyRevoked, "--f----"),
            (Some(abroad), KeyUse::default(), Code::IpNotAllowed, "--pf---"),
            (Some(stored()), wrong_scope, Code::ScopeMissing, "--ppf--"),
            (None, KeyUse::default(), Code::InvalidApiKey, "-f-----"),
        ] {
            let explanation = explain(found, Role::Viewer, wanted).await.unwrap();
            assert_eq!(explanation.code, code);
            let told: String = explanation.checks.map(|(_, outcome)| LETTERS[outcome as usize]).into_iter().collect();
            assert_eq!(told, outcomes, "{code:?}");
        }
    }

    #[tokio::test]
    async fn a_stranger_is_told_nothing() {
        let mut elsewhere = key();
        elsewhere.account = "acc_00000000000000000000000009".parse().unwrap();
        let mut fixture = Fixture::default();
        fixture.reader.expect_find().returning(move |_| Ok(Some(Unchecked::new(elsewhere.clone()))));
        let (keys, _) = fixture.build();
        let mut reader = MockCredentialReader::new();
        reader.expect_key().never();
        let (peppers, clock) = (Arc::new(peppers()), Arc::new(FixedClock::default()));
        let rates = Arc::new(KeyRates::new(10));
        let verifier = Verifier {
            reader: Arc::new(reader),
            peppers,
            brand: Brand::default(),
            rates,
            last_used: Arc::default(),
            newer_digests: Arc::default(),
            clock,
        };
        let who = member(Role::Owner).principal;
        let outcome = keys.explain(&verifier, &who, key().id, &KeyUse::default()).await;
        assert!(matches!(outcome, Err(ReadKeyError::Denied(Denied::Hidden))));
    }
}
