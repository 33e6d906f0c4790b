//! Why a request is not signed in. The texts are Clerk's own and part of the public contract (`clerk.md` §2.4, §3.4).

use std::borrow::Cow;
use std::fmt;

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* #[doc = concat!("`", $text, "`")] $variant,)+ }

        impl $name {
            /// Clerk's text for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Why a token was refused.
    TokenVerificationErrorReason {
        TokenExpired = "token-expired",
        TokenInvalid = "token-invalid",
        TokenInvalidAlgorithm = "token-invalid-algorithm",
        TokenInvalidAuthorizedParties = "token-invalid-authorized-parties",
        TokenInvalidSignature = "token-invalid-signature",
        TokenNotActiveYet = "token-not-active-yet",
        TokenIatInTheFuture = "token-iat-in-the-future",
        TokenVerificationFailed = "token-verification-failed",
        SecretKeyInvalid = "secret-key-invalid",
        LocalJwkMissing = "jwk-local-missing",
        RemoteJwkFailedToLoad = "jwk-remote-failed-to-load",
        JwkFailedToResolve = "jwk-failed-to-resolve",
        JwkKidMismatch = "jwk-kid-mismatch",
    }
}

impl TokenVerificationErrorReason {
    /// The token could not be judged because something of ours or the provider's is down or misconfigured. The state stays what
    /// Clerk says; a guard answers 503 instead of 401.
    pub const fn is_infrastructure(self) -> bool {
        matches!(
            self,
            Self::SecretKeyInvalid | Self::LocalJwkMissing | Self::RemoteJwkFailedToLoad | Self::JwkFailedToResolve
        )
    }
}

reasons! {
    /// Why an expired token was not exchanged for a fresh one; the last part of `session-token-expired-refresh-…`.
    RefreshFailure {
        NonEligibleNonGet = "non-eligible-non-get",
        NonEligibleNoRefreshCookie = "non-eligible-no-refresh-cookie",
    }
}

/// Why a request state is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthReason {
    /// Neither a session token nor a `__client_uat` other than 0.
    SessionTokenAndUatMissing,
    /// The token verified except for its age, and could not be refreshed.
    SessionTokenExpiredRefresh(RefreshFailure),
    /// `nbf` is in the future.
    SessionTokenNbf,
    /// `iat` is in the future.
    SessionTokenIatInTheFuture,
    /// A token of another class than the route accepts.
    TokenTypeMismatch,
    /// Something that is not a property of the token went wrong.
    UnexpectedError,
    /// Any other refusal of the token.
    Token(TokenVerificationErrorReason),
}

impl AuthReason {
    /// Clerk's text for it.
    pub fn as_str(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::SessionTokenAndUatMissing => "session-token-and-uat-missing",
            Self::SessionTokenExpiredRefresh(why) => {
                return Cow::Owned(format!("session-token-expired-refresh-{why}"));
            }
            Self::SessionTokenNbf => "session-token-nbf",
            Self::SessionTokenIatInTheFuture => "session-token-iat-in-the-future",
            Self::TokenTypeMismatch => "token-type-mismatch",
            Self::UnexpectedError => "unexpected-error",
            Self::Token(reason) => reason.as_str(),
        })
    }

    /// See [`TokenVerificationErrorReason::is_infrastructure`].
    pub const fn is_infrastructure(self) -> bool {
        match self {
            Self::Token(reason) => reason.is_infrastructure(),
            Self::UnexpectedError => true,
            Self::SessionTokenAndUatMissing
            | Self::SessionTokenExpiredRefresh(_)
            | Self::SessionTokenNbf
            | Self::SessionTokenIatInTheFuture
            | Self::TokenTypeMismatch => false,
        }
    }
}

impl fmt::Display for AuthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_names_the_refresh_outcome() {
        let reason = AuthReason::SessionTokenExpiredRefresh(RefreshFailure::NonEligibleNonGet);
        assert_eq!(reason.to_string(), "session-token-expired-refresh-non-eligible-non-get");
    }

    #[test]
    fn an_unknown_key_is_the_callers_problem_and_an_unreachable_key_source_is_not() {
        assert!(!AuthReason::Token(TokenVerificationErrorReason::JwkKidMismatch).is_infrastructure());
        assert!(AuthReason::Token(TokenVerificationErrorReason::RemoteJwkFailedToLoad).is_infrastructure());
    }
}
