//! What a gateway does with a request.

use std::borrow::Cow;

use portal_api_keys::{Code, KeyVerification};
use portal_kernel::{AccountId, ApiKeyId};

/// A key and its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The key.
    pub key: ApiKeyId,
    /// Its owner.
    pub account: AccountId,
    /// The key's revision.
    pub revision: i64,
}

/// Why a key may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The text of `code` in the portal's answers.
    pub code: Cow<'static, str>,
    /// Whose key it is, once the secret matched.
    pub holder: Option<Holder>,
}

/// Whether a key may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow(Holder),
    /// No.
    Deny(Refusal),
    /// Nothing speaks against it here, but the portal has to be asked: the key has rate limits, a pepper is missing, or this version of the
    /// library does not know what the key is restricted to. [`crate::Gateway::decide`] asks.
    Ask,
    /// Nobody knows: the portal was not heard of for too long, or did not answer. Never an answer about the key.
    Unavailable,
}

impl Verdict {
    /// Whether the request goes on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The HTTP status for the customer; 200 if the request goes on.
    pub fn status(&self) -> u16 {
        match self {
            Self::Allow(_) => 200,
            Self::Deny(refusal) => match &*refusal.code {
                "invalid_api_key" | "key_revoked" | "key_expired" => 401,
                "insufficient_credit" | "spend_limit_reached" => 402,
                "rate_limited" | "quota_exhausted" => 429,
                _ => 403,
            },
            Self::Ask | Self::Unavailable => 503,
        }
    }

    /// The code for the customer; `valid` if the request goes on.
    pub fn code(&self) -> &str {
        match self {
            Self::Allow(_) => Code::Valid.as_str(),
            Self::Deny(refusal) => &refusal.code,
            Self::Ask | Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn of(verification: &KeyVerification) -> Self {
        let KeyVerification { code, known, revision, .. } = *verification;
        let holder = known.map(|(key, account)| Holder { key, account, revision });
        match (code, holder) {
            (Code::Valid, Some(holder)) => Self::Allow(holder),
            (code, holder) => Self::Deny(Refusal { code: code.as_str().into(), holder }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_status() {
        let deny = |code: &'static str| Verdict::Deny(Refusal { code: code.into(), holder: None });
        for (code, status) in [
            ("invalid_api_key", 401),
            ("key_revoked", 401),
            ("key_expired", 401),
            ("key_disabled", 403),
            ("ip_not_allowed", 403),
            ("scope_missing", 403),
            ("model_not_allowed", 403),
            ("rate_limited", 429),
            ("insufficient_credit", 402),
            ("of_a_later_version", 403),
        ] {
            assert_eq!((deny(code).status(), deny(code).code()), (status, code));
        }
        for nobody_knows in [Verdict::Ask, Verdict::Unavailable] {
            assert_eq!((nobody_knows.status(), nobody_knows.code()), (503, "unavailable"));
            assert!(!nobody_knows.is_allowed());
        }
    }
}
