//! The portal's answers, as JSON and as what they mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub(crate) use portal_api_keys::{AccountStanding, FeedRecord};
use portal_api_keys::{
    Digest, KeyEnvironment, KeyPolicy, KeyScope, KeyScopes, Kid, ModelAllowList, Networks, PepperVersion, RateLimit,
    RateLimits, StoredKey,
};
use portal_kernel::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// What a page, or the changes, say of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are the large one")]
pub(crate) enum Answer {
    /// All there is to know.
    Record(FeedRecord),
    /// Something that a later version of the portal says: this one must not decide about the key.
    NotUnderstood {
        /// The public part.
        kid: Kid,
        /// The key's revision.
        revision: i64,
    },
}

/// An answer of the portal that is none.
#[derive(Debug, thiserror::Error)]
#[error("the portal's answer is not understood")]
pub(crate) struct BadAnswer;

/// A restriction that is not known must not be overlooked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    kid: String,
    digest: String,
    pepper_version: i16,
    environment: String,
    key_id: String,
    account_id: String,
    account_active: bool,
    scopes: Vec<String>,
    models: Vec<String>,
    networks: Vec<String>,
    rate_limits: Vec<WireLimit>,
    secret_expires_at: Option<String>,
    secret_revoked_at: Option<String>,
    expires_at: Option<String>,
    disabled_at: Option<String>,
    revoked_at: Option<String>,
    revision: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLimit {
    id: String,
    limit: u64,
    window_seconds: u64,
}

#[derive(Deserialize)]
pub(crate) struct WirePage {
    pub(crate) data: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
    pub(crate) position: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct WireChanges {
    pub(crate) keys: Vec<Value>,
    pub(crate) accounts: Vec<WireAccount>,
    pub(crate) position: String,
    pub(crate) database_time: String,
    pub(crate) waited_ms: u64,
}

#[derive(Deserialize)]
pub(crate) struct WireAccount {
    account_id: String,
    active: bool,
}

#[derive(Deserialize)]
pub(crate) struct WireVerdict {
    pub(crate) decision: String,
    pub(crate) code: String,
    pub(crate) key_id: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) revision: i64,
}

impl WireAccount {
    pub(crate) fn read(&self) -> Result<AccountStanding, BadAnswer> {
        let account = self.account_id.parse().map_err(|_| BadAnswer)?;
        Ok(AccountStanding { account, is_active: self.active })
    }
}

/// An error only if not even the kid can be read: then nobody knows which key it is about.
pub(crate) fn answer(value: &Value) -> Result<Answer, BadAnswer> {
    if let Some(record) = Wire::deserialize(value).ok().and_then(|wire| record(&wire)) {
        return Ok(Answer::Record(record));
    }
    let kid = value.get("kid").and_then(Value::as_str).and_then(|kid| Kid::parse(kid).ok()).ok_or(BadAnswer)?;
    // Without a revision it counts for as long as nothing else is said of the key.
    Ok(Answer::NotUnderstood { kid, revision: value.get("revision").and_then(Value::as_i64).unwrap_or(i64::MAX) })
}

fn record(wire: &Wire) -> Option<FeedRecord> {
    let limit = |limit: &WireLimit| RateLimit::new(&limit.id, limit.limit, limit.window_seconds).ok();
    let rate_limits: Option<Vec<_>> = wire.rate_limits.iter().map(limit).collect();
    // A scope that a later version gave means nothing to this one.
    let scopes = wire.scopes.iter().filter_map(|scope| KeyScope::parse(scope).ok());
    let stored = StoredKey {
        key: wire.key_id.parse().ok()?,
        account: wire.account_id.parse().ok()?,
        environment: KeyEnvironment::parse(&wire.environment)?,
        digest: Digest::from_stored(&STANDARD.decode(&wire.digest).ok()?)?,
        pepper_version: PepperVersion::parse(wire.pepper_version).ok()?,
        policy: KeyPolicy {
            scopes: KeyScopes::new(scopes).ok()?,
            models: ModelAllowList::parse(wire.models.iter().map(String::as_str)).ok()?,
            networks: Networks::parse(&wire.networks).ok()?,
            rate_limits: RateLimits::new(rate_limits?).ok()?,
        },
        secret_expires_at: moment(wire.secret_expires_at.as_deref()).ok()?,
        secret_revoked_at: moment(wire.secret_revoked_at.as_deref()).ok()?,
        expires_at: moment(wire.expires_at.as_deref()).ok()?,
        disabled_at: moment(wire.disabled_at.as_deref()).ok()?,
        revoked_at: moment(wire.revoked_at.as_deref()).ok()?,
        revision: wire.revision,
    };
    Some(FeedRecord { kid: Kid::parse(&wire.kid).ok()?, stored, account_is_active: wire.account_active })
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, BadAnswer> {
    text.map(str::parse).transpose().map_err(|_| BadAnswer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told() -> Value {
        json!({
            "kid": "4fT9aQz81LmK", "digest": STANDARD.encode([9; 32]), "pepper_version": 2, "environment": "test",
            "key_id": "key_00000000000000000000000001", "account_id": "acc_00000000000000000000000002",
            "account_active": false, "scopes": ["inference", "of:tomorrow"], "models": ["llama-*"],
            "networks": ["192.0.2.0/24"], "rate_limits": [{ "id": "a", "limit": 5, "window_seconds": 60 }],
            "disabled_at": "2026-01-01T00:00:00.000001Z", "revision": 7,
        })
    }

    #[test]
    fn a_record_is_read_whole() {
        let Answer::Record(record) = answer(&told()).unwrap() else { panic!("a record") };
        assert_eq!((record.kid.as_str(), record.account_is_active), ("4fT9aQz81LmK", false));
        let StoredKey { key, account, environment, digest, pepper_version, policy, .. } = record.stored.clone();
        assert_eq!(key.to_string(), "key_00000000000000000000000001");
        assert_eq!(account.to_string(), "acc_00000000000000000000000002");
        assert_eq!((environment, digest.as_bytes()), (KeyEnvironment::Test, &[9; 32]));
        assert_eq!((pepper_version.number(), record.stored.revision), (2, 7));
        let limits = RateLimits::new([RateLimit::new("a", 5, 60).unwrap()]).unwrap();
        let expected = KeyPolicy {
            scopes: KeyScopes::default(),
            models: ModelAllowList::parse(["llama-*"]).unwrap(),
            networks: Networks::parse(["192.0.2.0/24"]).unwrap(),
            rate_limits: limits,
        };
        assert_eq!(policy, expected);
        let StoredKey { secret_expires_at, secret_revoked_at, expires_at, disabled_at, revoked_at, .. } = record.stored;
        assert_eq!([secret_expires_at, secret_revoked_at, expires_at, revoked_at], [None; 4]);
        assert_eq!(disabled_at, "2026-01-01T00:00:00.000001Z".parse().ok());
    }

    #[test]
    fn what_a_later_version_says_is_not_decided_about() {
        let kid = Kid::parse("4fT9aQz81LmK").unwrap();
        for (member, value) in [
            ("countries", json!(["ch"])),
            ("environment", json!("staging")),
            ("scopes", json!(["of:tomorrow"])),
            ("models", json!(["re:^a"])),
            ("networks", json!(["everywhere"])),
            ("rate_limits", json!([{ "id": "a", "limit": 5, "window_seconds": 60, "unit": "tokens" }])),
            ("digest", json!("c2hvcnQ=")),
            ("revoked_at", json!("yesterday")),
            ("account_active", json!("yes")),
        ] {
            let mut later = told();
            later[member] = value;
            assert_eq!(answer(&later).unwrap(), Answer::NotUnderstood { kid, revision: 7 }, "{member}");
        }
        let mut without = told();
        without.as_object_mut().unwrap().remove("revision");
        assert_eq!(answer(&without).unwrap(), Answer::NotUnderstood { kid, revision: i64::MAX });
        without["kid"] = json!("another form");
        assert!(answer(&without).is_err());
    }
}
