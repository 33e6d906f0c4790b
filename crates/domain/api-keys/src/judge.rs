//! Whether a key may be used, for whoever knows its secret: the checks behind identity, in the order state, network, scope, model.

use std::net::IpAddr;
use std::time::Duration;

use portal_kernel::{AccountId, ApiKeyId, Timestamp};

use crate::{Digest, KeyEnvironment, KeyPolicy, KeyScope, KeyState, PepperVersion};

/// How long a gateway may keep an answer: short enough that a revoked key is dead everywhere within a second.
pub(crate) const CACHEABLE_FOR: Duration = Duration::from_millis(500);

/// A key's secret as stored, with what decides about its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The logical key.
    pub key: ApiKeyId,
    /// Its owner.
    pub account: AccountId,
    /// Live or test.
    pub environment: KeyEnvironment,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
    /// What the key is restricted to.
    pub policy: KeyPolicy,
    /// When the secret ends by itself.
    pub secret_expires_at: Option<Timestamp>,
    /// When the secret was ended.
    pub secret_revoked_at: Option<Timestamp>,
    /// When the key's time is over.
    pub expires_at: Option<Timestamp>,
    /// Since when the key is stopped.
    pub disabled_at: Option<Timestamp>,
    /// When the key was ended.
    pub revoked_at: Option<Timestamp>,
    /// The key's revision.
    pub revision: i64,
}

impl StoredKey {
    /// Whether the key may be used so, for whoever knows the secret.
    pub fn judge(&self, now: Timestamp, wanted: &KeyUse<'_>) -> Judgement {
        if let Some(code) = self.end(now) {
            return Judgement::failed(Check::State, code);
        }
        let KeyPolicy { scopes, models, networks, rate_limits: _ } = &self.policy;
        let scope = wanted.scope.map_or(Ok(KeyScope::Inference), KeyScope::parse);
        let model_is_allowed = match wanted.model {
            Some(model) => models.allows(model),
            // Inference is always with some model.
            None => models.is_empty() || scope != Ok(KeyScope::Inference),
        };
        if !networks.is_empty() && !wanted.ip.is_some_and(|ip| networks.allows(ip)) {
            Judgement::failed(Check::Network, Code::IpNotAllowed)
        } else if !scope.is_ok_and(|scope| scopes.contains(scope)) {
            Judgement::failed(Check::Scope, Code::ScopeMissing)
        } else if !model_is_allowed {
            Judgement::failed(Check::Model, Code::ModelNotAllowed)
        } else {
            Judgement::PASSED
        }
    }

    /// Why neither the key nor this secret of it counts at all; none if both do.
    fn end(&self, now: Timestamp) -> Option<Code> {
        match KeyState::derive(now, self.revoked_at, self.expires_at, self.disabled_at) {
            KeyState::Revoked => return Some(Code::KeyRevoked),
            KeyState::Expired => return Some(Code::KeyExpired),
            KeyState::Disabled | KeyState::Active => {}
        }
        // Of the two ends of a secret, the first one counts.
        match (self.secret_expires_at.filter(|end| *end <= now), self.secret_revoked_at) {
            (None, Some(_)) => Some(Code::KeyRevoked),
            (Some(end), Some(revoked)) if revoked < end => Some(Code::KeyRevoked),
            (Some(_), _) => Some(Code::KeyExpired),
            (None, None) => self.disabled_at.map(|_| Code::KeyDisabled),
        }
    }

    /// How long an answer of that moment holds, unless the key is changed: not beyond an end, and not at all where requests are counted.
    pub(crate) fn cacheable_for(&self, now: Timestamp) -> Duration {
        if !self.policy.rate_limits.is_empty() {
            return Duration::ZERO;
        }
        let ends = [self.expires_at, self.secret_expires_at].into_iter().flatten().filter(|end| *end > now);
        ends.map(|end| end.since(now)).fold(CACHEABLE_FOR, Duration::min)
    }
}

/// One check of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// `syntax`: the text can be a key's.
    Syntax,
    /// `identity`: it is the text of a key of an active account.
    Identity,
    /// `state`: the key and this secret of it have not ended and are not stopped.
    State,
    /// `network`: it may be used from there.
    Network,
    /// `scope`: it is good for that.
    Scope,
    /// `model`: it is good for that model.
    Model,
    /// `rate`: it was not used too often.
    Rate,
}

impl Check {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 7] =
        [Self::Syntax, Self::Identity, Self::State, Self::Network, Self::Scope, Self::Model, Self::Rate];

    /// The text in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Identity => "identity",
            Self::State => "state",
            Self::Network => "network",
            Self::Scope => "scope",
            Self::Model => "model",
            Self::Rate => "rate",
        }
    }
}

/// What the checks of a key came to: that all passed, or which was the first that did not, and the code of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement(Option<(Check, Code)>);

impl Judgement {
    /// Nothing speaks against it.
    pub(crate) const PASSED: Self = Self(None);

    /// That check failed, and those behind it were not made.
    pub(crate) const fn failed(check: Check, code: Code) -> Self {
        Self(Some((check, code)))
    }

    /// With the last check, which is made only if all others passed.
    pub(crate) fn and_rate(self, allowed: bool) -> Self {
        match self {
            Self::PASSED if !allowed => Self::failed(Check::Rate, Code::RateLimited),
            judgement => judgement,
        }
    }

    /// What a gateway is told.
    pub fn code(self) -> Code {
        self.0.map_or(Code::Valid, |(_, code)| code)
    }

    /// The check that failed.
    pub fn failure(self) -> Option<Check> {
        self.0.map(|(check, _)| check)
    }
}

/// What a key is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUse<'a> {
    /// Where the request came from. A key that is bound to networks comes from nowhere without it.
    pub ip: Option<IpAddr>,
    /// `inference` unless given.
    pub scope: Option<&'a str>,
    /// With which model. A key that is bound to models is for no inference without it.
    pub model: Option<&'a str>,
}

/// Why a key may or may not be used. The texts are a contract with gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// `valid`
    Valid,
    /// `invalid_api_key`: not a key, an unknown key, or a wrong secret.
    InvalidApiKey,
    /// `key_revoked`: the key, or this secret of it.
    KeyRevoked,
    /// `key_expired`: the key, or this secret of it.
    KeyExpired,
    /// `key_disabled`
    KeyDisabled,
    /// `ip_not_allowed`: the key is for other networks.
    IpNotAllowed,
    /// `scope_missing`: the key is not for that.
    ScopeMissing,
    /// `model_not_allowed`: the key is for other models.
    ModelNotAllowed,
    /// `rate_limited`: the key was used too often.
    RateLimited,
}

impl Code {
    /// The text in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::InvalidApiKey => "invalid_api_key",
            Self::KeyRevoked => "key_revoked",
            Self::KeyExpired => "key_expired",
            Self::KeyDisabled => "key_disabled",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::ScopeMissing => "scope_missing",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::RateLimited => "rate_limited",
        }
    }
}

#[cfg(test)]
mod tests {
    use portal_kernel::Clock;
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::stored;
    use crate::{KeyScopes, ModelAllowList, Networks, RateLimits};

    const ANY: KeyUse<'static> = KeyUse { ip: None, scope: None, model: None };

    #[test]
    fn a_key_counts_until_it_ends_or_is_stopped() {
        let moment = FixedClock::default().now();
        let later = Some(moment.plus(Duration::from_micros(1)));
        let past = Some(moment.minus(Duration::from_micros(1)));
        let now = Some(moment);
        // Revoked, over, stopped; then the secret's own time and end.
        for (key, secret, expected) in [
            ([None, later, None], [later, None], Code::Valid),
            ([None, None, now], [None, None], Code::KeyDisabled),
            ([None, now, now], [None, None], Code::KeyExpired),
            ([now, now, now], [now, now], Code::KeyRevoked),
            ([None, None, None], [now, None], Code::KeyExpired),
            ([None, None, None], [None, past], Code::KeyRevoked),
            // It ran out, and was ended by the next rotation.
            ([None, None, None], [past, now], Code::KeyExpired),
            // It was ended before it would have run out.
            ([None, None, None], [now, past], Code::KeyRevoked),
            ([None, None, None], [later, past], Code::KeyRevoked),
            // An old secret says nothing of a stopped key.
            ([None, None, now], [now, None], Code::KeyExpired),
        ] {
            let [revoked_at, expires_at, disabled_at] = key;
            let [secret_expires_at, secret_revoked_at] = secret;
            let stored =
                StoredKey { secret_expires_at, secret_revoked_at, expires_at, disabled_at, revoked_at, ..stored() };
            assert_eq!(stored.judge(moment, &ANY).code(), expected, "{key:?} {secret:?}");
        }
    }

    #[test]
    fn a_key_is_good_within_its_restrictions() {
        let now = FixedClock::default().now();
        let policy = KeyPolicy {
            scopes: KeyScopes::parse(["usage:read"]).unwrap(),
            models: ModelAllowList::parse(["llama-*"]).unwrap(),
            networks: Networks::parse(["192.0.2.0/24"]).unwrap(),
            rate_limits: RateLimits::default(),
        };
        let bound = StoredKey { policy, ..stored() };
        let (ip, foreign) = ("::ffff:192.0.2.9".parse().ok(), "198.51.100.7".parse().ok());
        let (scope, model) = (Some("usage:read"), Some("llama-3"));
        for (wanted, expected) in [
            (KeyUse { ip, scope, model }, Code::Valid),
            (KeyUse { ip, scope, model: None }, Code::Valid),
            (KeyUse { ip: foreign, scope: None, model: None }, Code::IpNotAllowed),
            (KeyUse { ip: None, scope, model }, Code::IpNotAllowed),
            (KeyUse { ip, scope: None, model: Some("other") }, Code::ScopeMissing),
            (KeyUse { ip, scope: Some("keys:write"), model }, Code::ScopeMissing),
            (KeyUse { ip, scope, model: Some("other") }, Code::ModelNotAllowed),
        ] {
            let judgement = bound.judge(now, &wanted);
            assert_eq!(judgement.code(), expected, "{wanted:?}");
            assert_eq!(judgement.failure().is_none(), expected == Code::Valid);
            let stopped = StoredKey { disabled_at: Some(now), ..bound.clone() };
            let judgement = stopped.judge(now, &wanted);
            assert_eq!(judgement, Judgement::failed(Check::State, Code::KeyDisabled), "the state comes first");
        }
    }

    #[test]
    fn a_key_that_is_bound_to_models_is_for_no_inference_without_one() {
        let now = FixedClock::default().now();
        let models = ModelAllowList::parse(["llama-*"]).unwrap();
        let bound = StoredKey { policy: KeyPolicy { models, ..stored().policy }, ..stored() };
        assert_eq!(bound.judge(now, &ANY), Judgement::failed(Check::Model, Code::ModelNotAllowed));
        assert_eq!(bound.judge(now, &KeyUse { model: Some("llama-3"), ..ANY }), Judgement::PASSED);
        assert_eq!(stored().judge(now, &ANY), Judgement::PASSED);
    }
}
