//! Why the token of a machine, an OAuth client or an API key is refused (`clerk.md` §4.3).

use std::borrow::Cow;
use std::fmt;

use portal_identity::{AuthReason, TokenVerificationErrorReason as Reason};

use crate::error::TokenVerificationError;

/// Clerk's code for a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineTokenErrorCode {
    /// `token-invalid`: not a token, or one that Clerk does not know.
    TokenInvalid,
    /// `secret-key-invalid`: the Backend API refuses our key, or there is none.
    SecretKeyInvalid,
    /// `token-verification-failed`: a JWT that does not verify, or one for somebody else.
    TokenVerificationFailed,
    /// `unexpected-error`: the Backend API did not give a verdict.
    UnexpectedError,
}

impl MachineTokenErrorCode {
    /// Clerk's text for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenInvalid => "token-invalid",
            Self::SecretKeyInvalid => "secret-key-invalid",
            Self::TokenVerificationFailed => "token-verification-failed",
            Self::UnexpectedError => "unexpected-error",
        }
    }
}

impl fmt::Display for MachineTokenErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused token. The texts may quote claims, never the token or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MachineTokenError {
    code: MachineTokenErrorCode,
    message: Cow<'static, str>,
    status: Option<u16>,
    outage: bool,
}

impl MachineTokenError {
    /// Clerk's code.
    pub fn code(&self) -> MachineTokenErrorCode {
        self.code
    }

    /// The status with which the Backend API answered, if it was asked and did.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Nobody judged the token, because the provider or our key is at fault: to be answered 503.
    pub fn outage(&self) -> bool {
        self.outage
    }

    /// The code as the reason of a verdict.
    pub fn reason(&self) -> AuthReason {
        match self.code {
            MachineTokenErrorCode::TokenInvalid => AuthReason::Token(Reason::TokenInvalid),
            MachineTokenErrorCode::SecretKeyInvalid => AuthReason::Token(Reason::SecretKeyInvalid),
            MachineTokenErrorCode::TokenVerificationFailed => AuthReason::Token(Reason::TokenVerificationFailed),
            MachineTokenErrorCode::UnexpectedError => AuthReason::UnexpectedError,
        }
    }

    /// Message, code and status in one line, as Clerk's SDK writes them.
    pub fn full_message(&self) -> String {
        let Self { message, code, .. } = self;
        let status = self.status.map_or_else(|| "n/a".to_owned(), |status| status.to_string());
        format!("{message} (code={code}, status={status})")
    }

    fn new(code: MachineTokenErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), status: None, outage: false }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(MachineTokenErrorCode::TokenInvalid, message)
    }

    pub(crate) fn failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(MachineTokenErrorCode::TokenVerificationFailed, message)
    }

    pub(crate) fn secret_key(message: impl Into<Cow<'static, str>>) -> Self {
        Self { outage: true, ..Self::new(MachineTokenErrorCode::SecretKeyInvalid, message) }
    }

    /// A JWT that is one, and does not verify.
    pub(crate) fn jwt(error: &TokenVerificationError) -> Self {
        Self { outage: error.reason().is_infrastructure(), ..Self::failed(error.to_string()) }
    }

    /// No verdict. A request that the provider calls wrong is no outage: asking again will not help.
    pub(crate) fn unexpected(status: Option<u16>) -> Self {
        let outage = status.is_none_or(|status| !(400..500).contains(&status) || status == 429);
        Self { status, outage, ..Self::new(MachineTokenErrorCode::UnexpectedError, "Unexpected error") }
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_message_ends_with_code_and_status() {
        for (error, expected, reason) in [
            (
                MachineTokenError::invalid("API key not found").with_status(404),
                "API key not found (code=token-invalid, status=404)",
                "token-invalid",
            ),
            (
                MachineTokenError::secret_key("Invalid secret key").with_status(401),
                "Invalid secret key (code=secret-key-invalid, status=401)",
                "secret-key-invalid",
            ),
            (
                MachineTokenError::unexpected(None),
                "Unexpected error (code=unexpected-error, status=n/a)",
                "unexpected-error",
            ),
            (
                MachineTokenError::jwt(&TokenVerificationError::signature()),
                "JWT signature is invalid. (code=token-verification-failed, status=n/a)",
                "token-verification-failed",
            ),
        ] {
            assert_eq!(error.full_message(), expected);
            assert_eq!(error.reason().as_str(), reason);
            assert_eq!(error.code().as_str(), reason);
            let status = error.status().map_or_else(|| "n/a".to_owned(), |status| status.to_string());
            assert!(expected.ends_with(&format!("status={status})")), "{error:?}");
        }
    }

    #[test]
    fn an_outage_is_what_another_try_may_cure() {
        for (status, outage) in [
            (None, true),
            (Some(200), true),
            (Some(302), true),
            (Some(400), false),
            (Some(422), false),
            (Some(429), true),
            (Some(500), true),
            (Some(503), true),
        ] {
            assert_eq!(MachineTokenError::unexpected(status).outage(), outage, "{status:?}");
        }
        assert!(MachineTokenError::secret_key("").outage());
        assert!(MachineTokenError::jwt(&TokenVerificationError::keys_unavailable("")).outage());
        assert!(MachineTokenError::jwt(&TokenVerificationError::secret_key_refused()).outage());
        assert!(!MachineTokenError::jwt(&TokenVerificationError::unknown_key(None)).outage());
        assert!(!MachineTokenError::invalid("").outage() && !MachineTokenError::failed("").outage());
    }
}
