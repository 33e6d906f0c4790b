//! The document that lists the keys of an instance, and one fetch of it.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use portal_kernel::Timestamp;
use serde_json::Value;

use crate::error::TokenVerificationError;
use crate::http::{Answer, BackendApi, CallError};
use crate::rsa_key::VerificationKey;

/// Room for a hundred keys and more.
const LARGEST_BODY: usize = 256 * 1_024;
const MAX_TRIES: u32 = 3;

/// Usable keys by id.
pub(crate) type Keys = HashMap<Box<str>, Arc<VerificationKey>>;

/// A document with at least one usable key.
pub(crate) struct Document {
    pub(crate) keys: Keys,
    /// The source's own clock.
    pub(crate) date: Option<Timestamp>,
}

/// Why there is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchFailure {
    #[error("the key source cannot be reached")]
    Unreachable,
    #[error("the key source answers with status {0}")]
    Status(u16),
    /// As [`FetchFailure::Status`], with a body that is no JSON.
    #[error("the key source answers with status {0}")]
    Wordless(u16),
    #[error("the key source sends something that is no JSON")]
    NotJson,
    #[error("the key source sends something else than a set of signing keys")]
    Unusable,
    #[error("the key source refuses the secret key")]
    SecretKeyRefused,
}

impl FetchFailure {
    /// The source is down, rather than refusing us: what it said before still holds.
    pub(crate) fn is_outage(self) -> bool {
        match self {
            Self::Unreachable | Self::NotJson | Self::Unusable => true,
            Self::Status(status) | Self::Wordless(status) => matches!(status, 300..400 | 408 | 429 | 500..),
            Self::SecretKeyRefused => false,
        }
    }

    fn is_worth_another_try(self) -> bool {
        match self {
            Self::Unreachable => true,
            Self::Status(status) | Self::Wordless(status) => matches!(status, 429 | 500..),
            Self::NotJson | Self::Unusable | Self::SecretKeyRefused => false,
        }
    }
}

impl From<FetchFailure> for TokenVerificationError {
    fn from(failure: FetchFailure) -> Self {
        match failure {
            FetchFailure::SecretKeyRefused => Self::secret_key_refused(),
            FetchFailure::Status(status) => keys_refused(status),
            FetchFailure::Wordless(status) => keys_refused(status).without_name(),
            FetchFailure::Unusable => Self::keys_unavailable("The JWKS endpoint did not contain any signing keys."),
            FetchFailure::Unreachable | FetchFailure::NotJson => {
                Self::keys_unavailable("Failed to load JWKS from Clerk Backend or Frontend API.").without_name()
            }
        }
    }
}

fn keys_refused(status: u16) -> TokenVerificationError {
    TokenVerificationError::keys_unavailable(format!("Error loading Clerk JWKS with code={status}."))
}

/// Tries again what may pass by itself, within the total time. `rs256_only`: [`crate::StrictChoices::rs256_keys_only`].
pub(crate) async fn fetch(api: &BackendApi, rs256_only: bool) -> Result<Document, FetchFailure> {
    let timeouts = *api.timeouts();
    let tries = async {
        let mut pause = timeouts.first_pause;
        let mut left = MAX_TRIES;
        loop {
            left -= 1;
            match fetch_once(api, rs256_only).await {
                Err(failure) if left > 0 && failure.is_worth_another_try() => tokio::time::sleep(pause).await,
                outcome => return outcome,
            }
            pause *= 2;
        }
    };
    tokio::time::timeout(timeouts.total, tries).await.unwrap_or(Err(FetchFailure::Unreachable))
}

pub(crate) async fn fetch_once(api: &BackendApi, rs256_only: bool) -> Result<Document, FetchFailure> {
    match api.get("/jwks", LARGEST_BODY).await {
        Ok(answer) => read(&answer, rs256_only),
        Err(CallError::TooLarge) => Err(FetchFailure::Unusable),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a try to load the signing keys failed");
            Err(FetchFailure::Unreachable)
        }
    }
}

pub(crate) fn read(answer: &Answer, rs256_only: bool) -> Result<Document, FetchFailure> {
    let body = serde_json::from_slice::<Value>(&answer.body);
    if !answer.is_success() {
        return Err(match body {
            Err(_) => FetchFailure::Wordless(answer.status),
            Ok(_) if answer.has_error("clerk_key_invalid") => FetchFailure::SecretKeyRefused,
            Ok(_) => FetchFailure::Status(answer.status),
        });
    }
    let keys = parse(&body.map_err(|_| FetchFailure::NotJson)?, rs256_only);
    if keys.is_empty() { Err(FetchFailure::Unusable) } else { Ok(Document { keys, date: answer.date }) }
}

/// Of entries with the same id the last counts, as in Clerk's SDK. With `rs256_only`, what is not an RSA key for RS256 signatures
/// is skipped; otherwise its id is known, and no signature fits it.
fn parse(body: &Value, rs256_only: bool) -> Keys {
    let entries = body.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let listed = entries.iter().filter_map(|entry| Some((entry.get("kid")?.as_str()?, key(entry, rs256_only))));
    listed
        .filter_map(|(kid, key)| {
            let key = key.or_else(|| (!rs256_only).then(VerificationKey::unusable))?;
            Some((kid.into(), Arc::new(key)))
        })
        .collect()
}

fn key(entry: &Value, rs256_only: bool) -> Option<VerificationKey> {
    let text = |name: &str| entry.get(name).map(Value::as_str);
    let only = match text("alg") {
        None => None,
        Some(Some("RS256")) => Some(Algorithm::RS256),
        Some(Some("RS384")) if !rs256_only => Some(Algorithm::RS384),
        Some(Some("RS512")) if !rs256_only => Some(Algorithm::RS512),
        Some(_) => return None,
    };
    if text("kty")? != Some("RSA") || text("use").is_some_and(|found| found != Some("sig")) {
        return None;
    }
    match VerificationKey::from_jwk(text("n")??, text("e")??, only) {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a signing key of the instance is ignored");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    fn modulus(byte: u8, length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![byte; length])
    }

    fn entry(change: &Value) -> Value {
        let mut entry = json!({
            "use": "sig", "kty": "RSA", "kid": "ins_1", "alg": "RS256", "n": modulus(0xc1, 256), "e": "AQAB", "extra": [1],
        });
        let members = entry.as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
            if value.is_null() {
                members.remove(name);
            }
        }
        entry
    }

    fn ids(entries: &[Value]) -> Vec<String> {
        let mut ids: Vec<_> = parse(&json!({ "keys": entries }), true).into_keys().map(String::from).collect();
        ids.sort();
        ids
    }

    #[test]
    fn only_rsa_keys_for_rs256_signatures_are_used() {
        for good in [json!({}), json!({ "use": null }), json!({ "alg": null }), json!({ "n": modulus(0xc1, 512) })] {
            assert_eq!(ids(&[entry(&good)]), ["ins_1"], "{good}");
        }
        for bad in [
            json!({ "use": "enc" }),
            json!({ "use": 1 }),
            json!({ "alg": "RS384" }),
            json!({ "alg": "RS512" }),
            json!({ "alg": "HS256" }),
            json!({ "kty": "EC" }),
            json!({ "kty": null }),
            json!({ "kid": null }),
            json!({ "kid": 1 }),
            json!({ "n": modulus(0xc1, 128) }),
            json!({ "n": "!" }),
            json!({ "n": null }),
            json!({ "e": "AQ" }),
            json!({ "e": null }),
        ] {
            assert_eq!(ids(&[entry(&bad), entry(&json!({ "kid": "ins_2" }))]), ["ins_2"], "{bad}");
        }
    }

    #[test]
    fn in_exact_other_keys_have_their_id_and_fit_nothing_else() {
        let exact = |change: &Value| parse(&json!({ "keys": [entry(change)] }), false);
        for bad in [json!({ "use": "enc" }), json!({ "alg": "HS256" }), json!({ "kty": "EC" }), json!({ "n": null })] {
            assert!(exact(&bad)["ins_1"].decoding(Algorithm::RS256).is_none(), "{bad}");
        }
        let fits = |alg: &str| {
            let key = exact(&json!({ "alg": alg })).remove("ins_1").unwrap();
            [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512].map(|asked| key.decoding(asked).is_some())
        };
        assert_eq!(fits("RS256"), [true, false, false]);
        assert_eq!(fits("RS384"), [false, true, false]);
        assert_eq!(fits("RS512"), [false, false, true]);
        assert!(exact(&json!({ "kid": null })).is_empty());
    }

    #[test]
    fn of_keys_with_the_same_id_the_last_counts() {
        let other = json!({ "n": modulus(0xc3, 256) });
        let keys = parse(&json!({ "keys": [entry(&json!({})), entry(&other)] }), true);
        let last = VerificationKey::from_jwk(&modulus(0xc3, 256), "AQAB", Some(Algorithm::RS256)).unwrap();
        assert!(keys["ins_1"].same_as(&last));
    }

    #[test]
    fn what_is_no_set_of_keys_has_none() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"keys":null}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[]}"#,
            r#"{"keys":[null,1,[]]}"#,
        ] {
            let answer = Answer { status: 200, date: None, retry_after: None, declares_json: true, body: body.into() };
            assert!(read(&answer, true).is_err() && read(&answer, false).is_err(), "{body}");
        }
    }

    #[test]
    fn an_outage_is_not_a_refusal() {
        for (failure, outage) in [
            (FetchFailure::Unreachable, true),
            (FetchFailure::Unusable, true),
            (FetchFailure::Status(429), true),
            (FetchFailure::Status(500), true),
            (FetchFailure::Status(503), true),
            (FetchFailure::Wordless(503), true),
            (FetchFailure::Wordless(403), false),
            (FetchFailure::Status(302), true),
            (FetchFailure::Status(401), false),
            (FetchFailure::Status(403), false),
            (FetchFailure::Status(404), false),
            (FetchFailure::SecretKeyRefused, false),
        ] {
            assert_eq!(failure.is_outage(), outage, "{failure}");
        }
    }
}
