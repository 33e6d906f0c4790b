//! From a request to a verdict.

use std::sync::Arc;

use async_trait::async_trait;
use portal_identity::{
    AuthReason, AuthStatus, RefreshFailure, RequestAuthenticator, RequestParts, RequestState, SessionAuth, SignedOut,
    TokenVerificationErrorReason as Reason,
};
use portal_kernel::Clock;

use crate::bearer::token_in_header;
use crate::cache::{TokenCache, TokenDigest};
use crate::error::{TokenCarrier, TokenVerificationError};
use crate::http::BackendApi;
use crate::jwks::Jwks;
use crate::keys::KeySource;
use crate::stats::{ClerkStats, Counters};
use crate::token::MAX_LENGTH;
use crate::verify::{Refusal, Verifier};
use crate::{ClerkSettings, ClientError};

/// Judges requests for one Clerk instance, by the token in `Authorization`.
///
/// Make one per instance and share it: keys and verified tokens are cached inside. Made inside a Tokio
/// runtime, it calls the Backend API on that runtime, which must outlive it.
pub struct ClerkAuthenticator {
    verifier: Verifier,
    cache: Option<TokenCache>,
    api: Option<BackendApi>,
}

impl ClerkAuthenticator {
    /// Loads nothing yet: keys are fetched with the first token.
    pub fn new(settings: ClerkSettings, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let counters = Arc::new(Counters::default());
        let api = settings.secret_key().is_some().then(|| BackendApi::new(&settings)).transpose()?;
        let keys = match (settings.jwt_key(), &api) {
            (Some(key), _) => KeySource::Pem(Arc::clone(key)),
            (None, Some(api)) => {
                KeySource::Jwks(Jwks::new(api.clone(), Arc::clone(&clock), *settings.choices(), Arc::clone(&counters)))
            }
            (None, None) => return Err(ClientError::NoSecretKey),
        };
        let cache = TokenCache::new(settings.token_cache_entries());
        Ok(Self { verifier: Verifier { settings: Arc::new(settings), keys, clock, counters }, cache, api })
    }

    /// Verifies a session token that came by other means than a request: a queue, a web socket.
    ///
    /// Tokens of another class, such as those made from a JWT template, are `token-invalid`. Ask
    /// [`SessionAuth::is_pending`] before treating anybody as signed in.
    pub async fn verify_token(&self, token: &str) -> Result<Arc<SessionAuth>, TokenVerificationError> {
        self.session(token).await.map_err(|refusal| match refusal {
            Refusal::AnotherClass => TokenVerificationError::category(),
            Refusal::Token(error) => error,
        })
    }

    /// What was done so far.
    pub fn stats(&self) -> ClerkStats {
        self.verifier.counters.read()
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(crate) fn api(&self) -> Option<&BackendApi> {
        self.api.as_ref()
    }

    async fn session(&self, token: &str) -> Result<Arc<SessionAuth>, Refusal> {
        let Some(cache) = self.cache.as_ref().filter(|_| token.len() <= MAX_LENGTH) else {
            return Ok(Box::pin(self.verifier.verify(token)).await?.auth);
        };
        let digest = TokenDigest::of(token);
        if let Some(auth) = cache.get(&digest, self.now_ms()) {
            self.verifier.counters.cache_hits();
            return Ok(auth);
        }
        self.verifier.counters.cache_misses();
        // On the heap, so that an answer from memory does not carry room for all that a verification may have to do.
        let session = Box::pin(self.verifier.verify(token)).await?;
        let auth = Arc::clone(&session.auth);
        cache.insert(digest, session, self.now_ms());
        Ok(auth)
    }

    fn now_ms(&self) -> i64 {
        self.verifier.clock.now().unix_millis()
    }

    fn refused(&self, error: &TokenVerificationError, method: &str) -> RequestState {
        let reason = match error.reason() {
            Reason::TokenExpired => AuthReason::SessionTokenExpiredRefresh(if method == "GET" {
                RefreshFailure::NonEligibleNoRefreshCookie
            } else {
                RefreshFailure::NonEligibleNonGet
            }),
            Reason::TokenNotActiveYet => AuthReason::SessionTokenNbf,
            Reason::TokenIatInTheFuture => AuthReason::SessionTokenIatInTheFuture,
            other => AuthReason::Token(other),
        };
        if matches!(reason, AuthReason::SessionTokenNbf | AuthReason::SessionTokenIatInTheFuture) {
            tracing::warn!(auth.reason = %reason, "a verified token is from the future: compare this machine's clock with Clerk's");
        }
        self.signed_out(reason, error.full_message(TokenCarrier::Header))
    }

    fn signed_out(&self, reason: AuthReason, message: String) -> RequestState {
        let mut headers = vec![
            ("x-clerk-auth-status".to_owned(), AuthStatus::SignedOut.as_str().to_owned()),
            ("x-clerk-auth-reason".to_owned(), reason.to_string()),
        ];
        let sendable = !message.is_empty() && message.bytes().all(|c| matches!(c, b' '..=b'~'));
        if sendable && !self.verifier.settings.choices().omit_message_header {
            headers.push(("x-clerk-auth-message".to_owned(), message.clone()));
        }
        RequestState::SignedOut(SignedOut { reason, message, headers })
    }
}

#[async_trait]
impl RequestAuthenticator for ClerkAuthenticator {
    async fn authenticate<'r>(&self, request: &RequestParts<'r>) -> RequestState {
        let Some(token) = token_in_header(request, self.verifier.settings.choices().rfc_bearer) else {
            return self.signed_out(AuthReason::SessionTokenAndUatMissing, String::new());
        };
        match self.session(&token).await {
            Ok(auth) => RequestState::SignedIn { auth, headers: Vec::new() },
            Err(Refusal::AnotherClass) => self.signed_out(AuthReason::TokenTypeMismatch, String::new()),
            Err(Refusal::Token(error)) => self.refused(&error, request.method()),
        }
    }
}

impl std::fmt::Debug for ClerkAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkAuthenticator").field("settings", &self.verifier.settings).finish_non_exhaustive()
    }
}
