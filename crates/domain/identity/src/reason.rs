//! Why a request is not signed in. The texts are Clerk's own and part of the public contract (`clerk.md` §2.4, §3.4).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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
        MissingApiClient = "missing-api-client",
        MissingSessionToken = "missing-session-token",
        ExpiredSessionTokenDecodeFailed = "expired-session-token-decode-failed",
        ExpiredSessionTokenMissingSidClaim = "expired-session-token-missing-sid-claim",
        FetchError = "fetch-error",
        InvalidSessionToken = "invalid-session-token",
        UnexpectedBapiError = "unexpected-bapi-error",
        UnexpectedSdkError = "unexpected-sdk-error",
    }
}

/// What became of an expired token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// No attempt, or one that failed here.
    Failed(RefreshFailure),
    /// The provider refused, with this error code.
    Refused(Arc<str>),
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why.as_str()),
            Self::Refused(code) => f.write_str(code),
        }
    }
}

/// Why a request state is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuthReason {
    /// The URL names another organization than the active one.
    ActiveOrganizationMismatch,
    /// `__client_uat` says that somebody is signed in, and there is no session token.
    ClientUatButNoSessionToken,
    /// A development instance that does not know this browser.
    DevBrowserMissing,
    /// A development instance hands over its browser token in the query string.
    DevBrowserSync,
    /// A route for machines, and no token in `Authorization`.
    NoTokenInHeader,
    /// Signed in, and the click came from another origin.
    PrimaryDomainCrossOriginSync,
    /// A development instance answers a satellite's question.
    PrimaryRespondsToSyncing,
    /// A satellite that does not know yet who is signed in at the primary domain.
    SatelliteNeedsSyncing,
    /// Neither a session token nor a `__client_uat` other than 0.
    SessionTokenAndUatMissing,
    /// A session token, while `__client_uat` says that nobody is signed in.
    SessionTokenButNoClientUat,
    /// The token verified except for its age, and could not be refreshed.
    SessionTokenExpiredRefresh(Refresh),
    /// The token was minted before the last sign-in or sign-out of this browser.
    SessionTokenIatBeforeClientUat,
    /// `iat` is in the future.
    SessionTokenIatInTheFuture,
    /// A handshake that ended without a session.
    SessionTokenMissing,
    /// `nbf` is in the future.
    SessionTokenNbf,
    /// A token of another class than the route accepts.
    TokenTypeMismatch,
    /// Something that is not a property of the token went wrong.
    UnexpectedError,
    /// Any other refusal of the token.
    Token(TokenVerificationErrorReason),
}

impl AuthReason {
    /// Clerk's text for it.
    pub fn as_str(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ActiveOrganizationMismatch => "active-organization-mismatch",
            Self::ClientUatButNoSessionToken => "client-uat-but-no-session-token",
            Self::DevBrowserMissing => "dev-browser-missing",
            Self::DevBrowserSync => "dev-browser-sync",
            Self::NoTokenInHeader => "No token in header",
            Self::PrimaryDomainCrossOriginSync => "primary-domain-cross-origin-sync",
            Self::PrimaryRespondsToSyncing => "primary-responds-to-syncing",
            Self::SatelliteNeedsSyncing => "satellite-needs-syncing",
            Self::SessionTokenAndUatMissing => "session-token-and-uat-missing",
            Self::SessionTokenButNoClientUat => "session-token-but-no-client-uat",
            Self::SessionTokenExpiredRefresh(refresh) => {
                return Cow::Owned(format!("session-token-expired-refresh-{refresh}"));
            }
            Self::SessionTokenIatBeforeClientUat => "session-token-iat-before-client-uat",
            Self::SessionTokenIatInTheFuture => "session-token-iat-in-the-future",
            Self::SessionTokenMissing => "session-token-missing",
            Self::SessionTokenNbf => "session-token-nbf",
            Self::TokenTypeMismatch => "token-type-mismatch",
            Self::UnexpectedError => "unexpected-error",
            Self::Token(reason) => reason.as_str(),
        })
    }

    /// See [`TokenVerificationErrorReason::is_infrastructure`].
    pub fn is_infrastructure(&self) -> bool {
        match self {
            Self::Token(reason) => reason.is_infrastructure(),
            Self::SessionTokenExpiredRefresh(Refresh::Failed(RefreshFailure::FetchError)) | Self::UnexpectedError => {
                true
            }
            _ => false,
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
        let reason = AuthReason::SessionTokenExpiredRefresh(Refresh::Failed(RefreshFailure::NonEligibleNonGet));
        assert_eq!(reason.to_string(), "session-token-expired-refresh-non-eligible-non-get");
    }

    #[test]
    fn an_unknown_key_is_the_callers_problem_and_an_unreachable_key_source_is_not() {
        assert!(!AuthReason::Token(TokenVerificationErrorReason::JwkKidMismatch).is_infrastructure());
        assert!(AuthReason::Token(TokenVerificationErrorReason::RemoteJwkFailedToLoad).is_infrastructure());
    }
}
