//! Why a token is refused, in the words of Clerk's SDK.

use std::borrow::Cow;
use std::fmt;

use portal_identity::TokenVerificationErrorReason as Reason;
use serde_json::Value;

/// Longest piece of a token's own text that a message repeats.
const QUOTE_LENGTH: usize = 64;

const ENSURE_CLERK_JWT: &str = "Make sure that this is a valid Clerk-generated JWT.";
const CONTACT_SUPPORT: &str = "Contact support@clerk.com";
const CHECK_KEYS: &str = "Go to your Dashboard and validate your secret and public keys are correct. \
                          Contact support@clerk.com if the issue persists.";

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenCarrier {
    /// The header `Authorization`.
    Header,
    /// A cookie.
    Cookie,
}

impl fmt::Display for TokenCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Cookie => "cookie",
        })
    }
}

/// A refused token. The texts may quote claims and configured authorized parties, never the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenVerificationError {
    reason: Reason,
    message: Cow<'static, str>,
    action: Option<&'static str>,
    /// Clerk's SDK has no reason for it.
    unnamed: bool,
}

impl TokenVerificationError {
    /// Clerk's reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Too old or too young: everything else about the token is right.
    pub(crate) fn is_about_time(&self) -> bool {
        matches!(self.reason, Reason::TokenExpired | Reason::TokenNotActiveYet | Reason::TokenIatInTheFuture)
    }

    /// Message, advice and reason in one line, as Clerk's SDK writes them.
    pub fn full_message(&self, carrier: TokenCarrier) -> String {
        let Self { reason, message, action, .. } = self;
        let gap = if message.is_empty() || action.is_none() { "" } else { " " };
        format!("{message}{gap}{} (reason={reason}, token-carrier={carrier})", action.unwrap_or_default())
    }

    fn bare(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into(), action: None, unnamed: false }
    }

    fn not_from_clerk(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into(), action: Some(ENSURE_CLERK_JWT), unnamed: false }
    }

    pub(crate) fn shape() -> Self {
        Self::bare(Reason::TokenInvalid, "Invalid JWT form. A JWT consists of three parts separated by dots.")
    }

    pub(crate) fn decoding() -> Self {
        Self::bare(Reason::TokenInvalid, "Invalid JWT form. The header, payload, or signature could not be decoded.")
    }

    pub(crate) fn category() -> Self {
        Self::not_from_clerk(Reason::TokenInvalid, "Invalid session token category.")
    }

    pub(crate) fn handshake_category() -> Self {
        Self::not_from_clerk(Reason::TokenInvalid, "Invalid handshake token category.")
    }

    pub(crate) fn header_type(typ: Option<&Value>) -> Self {
        let message = format!("Invalid JWT type {}. Expected \"JWT\".", quote(typ));
        Self::not_from_clerk(Reason::TokenInvalid, message)
    }

    pub(crate) fn critical_header() -> Self {
        Self::not_from_clerk(Reason::TokenInvalid, "Invalid JWT header (crit). No critical extension is supported.")
    }

    pub(crate) fn algorithm(alg: Option<&Value>, supported: &str) -> Self {
        let message = format!("Invalid JWT algorithm {}. Supported: {supported}.", quote(alg));
        Self::not_from_clerk(Reason::TokenInvalidAlgorithm, message)
    }

    pub(crate) fn signature() -> Self {
        Self::bare(Reason::TokenInvalidSignature, "JWT signature is invalid.")
    }

    pub(crate) fn signature_check() -> Self {
        Self::not_from_clerk(Reason::TokenVerificationFailed, "Error verifying JWT signature.")
    }

    /// Any claim that is missing, wrong-typed or not ours.
    pub(crate) fn claim(message: impl Into<Cow<'static, str>>) -> Self {
        Self::not_from_clerk(Reason::TokenVerificationFailed, message)
    }

    pub(crate) fn authorized_party(azp: Option<&Value>, authorized_parties: &[String]) -> Self {
        let message = format!(
            "Invalid JWT Authorized party claim (azp) {}. Expected \"{}\".",
            quote(azp),
            authorized_parties.join(",")
        );
        Self::bare(Reason::TokenInvalidAuthorizedParties, message)
    }

    pub(crate) fn time(reason: Reason, message: String) -> Self {
        Self::bare(reason, message)
    }

    /// Never lists the keys that are known: they are instance ids.
    pub(crate) fn unknown_key(kid: Option<&str>) -> Self {
        let message = format!(
            "Unable to find a signing key in JWKS that matches the kid='{}' of the provided session token. Please make sure \
             that the __session cookie or the HTTP authorization header contain a Clerk-generated session JWT.",
            cut(&kid.unwrap_or("undefined").escape_debug().to_string())
        );
        Self { reason: Reason::JwkKidMismatch, message: message.into(), action: Some(CHECK_KEYS), unnamed: false }
    }

    /// The same, where Clerk's SDK has no reason for it.
    pub(crate) fn without_name(self) -> Self {
        Self { unnamed: true, ..self }
    }

    /// Whether Clerk's SDK calls this `unexpected-error`.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    pub(crate) fn keys_unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: Reason::RemoteJwkFailedToLoad,
            message: message.into(),
            action: Some(CONTACT_SUPPORT),
            unnamed: false,
        }
    }

    pub(crate) fn secret_key_refused() -> Self {
        Self {
            reason: Reason::SecretKeyInvalid,
            message: Cow::Borrowed("The provided Clerk Secret Key is invalid."),
            action: Some(CONTACT_SUPPORT),
            unnamed: false,
        }
    }
}

/// A claim as JSON, cut to a length that no caller can abuse.
pub(crate) fn quote(value: Option<&Value>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| cut(&value.to_string()))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTE_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_full_message_ends_with_reason_and_carrier() {
        assert_eq!(
            TokenVerificationError::category().full_message(TokenCarrier::Header),
            "Invalid session token category. Make sure that this is a valid Clerk-generated JWT. (reason=token-invalid, \
             token-carrier=header)"
        );
        assert_eq!(
            TokenVerificationError::signature().full_message(TokenCarrier::Header),
            "JWT signature is invalid. (reason=token-invalid-signature, token-carrier=header)"
        );
    }

    #[test]
    fn quotes_from_a_token_are_short_and_have_no_control_characters() {
        let long = json!("é\r\n\u{1b}[31m".repeat(1_000));
        for text in [quote(Some(&long)), TokenVerificationError::unknown_key(long.as_str()).to_string()] {
            assert!(text.len() < 450, "{text}");
            assert!(!text.chars().any(char::is_control), "{text}");
        }
        assert_eq!(quote(None), "undefined");
        assert_eq!(quote(Some(&Value::Null)), "null");
    }
}
