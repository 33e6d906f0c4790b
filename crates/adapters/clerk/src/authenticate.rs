//! From a request to a verdict.

use std::sync::Arc;

use async_trait::async_trait;
use portal_identity::{
    AcceptsToken, Auth, AuthReason, AuthenticateRequestOptions, ProviderSessionId, ProviderUserId, Refresh,
    RefreshFailure, RequestAuthenticator, RequestParts, RequestState, SessionAuth, TokenType,
    TokenVerificationErrorReason as Reason,
};
use portal_kernel::Clock;

use crate::bearer::token_in_header;
use crate::cache::{TokenCache, TokenDigest};
use crate::claims::How;
use crate::context::Context;
use crate::error::{TokenCarrier, TokenVerificationError};
use crate::http::BackendApi;
use crate::jwks::Jwks;
use crate::keys::KeySource;
use crate::machine::{MachineVerifier, class_of_refused, classify};
use crate::refresh::Refreshes;
use crate::stats::{ClerkStats, Counters};
use crate::token::MAX_LENGTH;
use crate::verdict;
use crate::verify::{Refusal, Verifier};
use crate::{ClerkSettings, ClientError};

/// Judges requests for one Clerk instance.
///
/// Make one per instance and share it: keys and verified tokens are cached inside. Made inside a Tokio
/// runtime, it calls the Backend API on that runtime, which must outlive it.
pub struct ClerkAuthenticator {
    verifier: Arc<Verifier>,
    machines: MachineVerifier,
    cache: Option<TokenCache>,
    api: Option<BackendApi>,
    refreshes: Refreshes,
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
        let verifier = Arc::new(Verifier { settings: Arc::new(settings), keys, clock, counters });
        let machines = MachineVerifier::new(Arc::clone(&verifier), api.clone())?;
        Ok(Self { verifier, machines, cache, api, refreshes: Refreshes::default() })
    }

    /// Verifies a session token that came by other means than a request: a queue, a web socket.
    ///
    /// Tokens of another class, such as those made from a JWT template, are `token-invalid`; without
    /// [`StrictChoices::check_class_everywhere`](crate::StrictChoices::check_class_everywhere) only those of machines are. Ask
    /// [`SessionAuth::is_pending`] before treating anybody as signed in.
    pub async fn verify_token(&self, token: &str) -> Result<Arc<SessionAuth>, TokenVerificationError> {
        let how = How::unclassified(TokenCarrier::Header, self.settings());
        self.session(token, how).await.map_err(Refusal::into_error)
    }

    /// Drops what is remembered of a session: its tokens are verified again. Whoever ends a session must also refuse its tokens,
    /// which verify until they expire.
    pub fn forget_session(&self, session_id: &ProviderSessionId) {
        self.forget(|auth| auth.session_id.as_ref() == Some(session_id));
    }

    /// As [`ClerkAuthenticator::forget_session`], for all sessions of a person.
    pub fn forget_user(&self, user_id: &ProviderUserId) {
        self.forget(|auth| auth.user_id == *user_id);
    }

    /// As [`ClerkAuthenticator::forget_session`], for everybody.
    pub fn forget_all(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, meant: impl Fn(&SessionAuth) -> bool) {
        if let Some(cache) = &self.cache {
            cache.forget(meant);
        }
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

    pub(crate) fn refreshes(&self) -> &Refreshes {
        &self.refreshes
    }

    pub(crate) fn settings(&self) -> &ClerkSettings {
        &self.verifier.settings
    }

    /// The session of a token, from memory if it was verified a moment ago.
    pub(crate) async fn session(&self, token: &str, how: How) -> Result<Arc<SessionAuth>, Refusal> {
        let Some(cache) = self.cache.as_ref().filter(|_| token.len() <= MAX_LENGTH) else {
            return Ok(Box::pin(self.verifier.verify(token, how)).await?.auth);
        };
        let digest = TokenDigest::of(token);
        if let Some(auth) = cache.get(&digest, how, self.now_ms()) {
            self.verifier.counters.cache_hits();
            return Ok(auth);
        }
        self.verifier.counters.cache_misses();
        let before = cache.before();
        // On the heap, so that an answer from memory does not carry room for all that a verification may have to do.
        let session = Box::pin(self.verifier.verify(token, how)).await?;
        let auth = Arc::clone(&session.auth);
        cache.insert(digest, session, before, self.now_ms());
        Ok(auth)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.verifier.clock.now().unix_millis()
    }

    /// A token in the header settles the matter, even if it does not count (`clerk.md` §3.6).
    async fn header_path(
        &self,
        request: &RequestParts<'_>,
        token: &str,
        options: &AuthenticateRequestOptions,
    ) -> RequestState {
        let only_sessions = options.accepts_token == AcceptsToken::One(TokenType::SessionToken);
        let how = if only_sessions { How::new } else { How::unclassified };
        match self.session(token, how(TokenCarrier::Header, self.settings())).await {
            Ok(auth) => verdict::signed_in(auth, Vec::new()),
            Err(Refusal::AnotherClass { is_machine: true })
                if !only_sessions && !self.settings().choices().check_class_first =>
            {
                self.out(&TokenVerificationError::category(), TokenCarrier::Header)
            }
            Err(Refusal::AnotherClass { .. }) => {
                verdict::signed_out(self.settings(), AuthReason::TokenTypeMismatch, String::new())
            }
            Err(Refusal::Token(error)) if error.is_about_time() => {
                match Context::read(request, self.settings(), options, self.now_ms()) {
                    Some(context) => Box::pin(self.refused(&context, &error, Some(token))).await,
                    None => verdict::unreadable_url(self.settings()),
                }
            }
            Err(Refusal::Token(error)) => self.out(&error, TokenCarrier::Header),
        }
    }

    /// What becomes of a request whose token does not verify; `header_token` is set if it came in the header.
    pub(crate) async fn refused(
        &self,
        context: &Context<'_>,
        error: &TokenVerificationError,
        header_token: Option<&str>,
    ) -> RequestState {
        let carrier = if header_token.is_some() { TokenCarrier::Header } else { TokenCarrier::Cookie };
        let reason = match error.reason() {
            Reason::TokenExpired => match self.renew(context, header_token).await {
                Ok(renewed) => return renewed,
                Err(failure) => AuthReason::SessionTokenExpiredRefresh(failure),
            },
            Reason::TokenNotActiveYet => AuthReason::SessionTokenNbf,
            Reason::TokenIatInTheFuture => AuthReason::SessionTokenIatInTheFuture,
            _ => return self.out(error, carrier),
        };
        if matches!(reason, AuthReason::SessionTokenNbf | AuthReason::SessionTokenIatInTheFuture) {
            tracing::warn!(auth.reason = %reason, "a verified token is from the future: compare this machine's clock with Clerk's");
        }
        verdict::handshake(context, reason, error.full_message(carrier), header_token)
    }

    /// Exchanges an expired token for a fresh one, where the request allows it.
    async fn renew(&self, context: &Context<'_>, header_token: Option<&str>) -> Result<RequestState, Refresh> {
        if !context.is_get() {
            return Err(Refresh::Failed(RefreshFailure::NonEligibleNonGet));
        }
        let header_counts = !(header_token.is_some() && self.settings().choices().no_refresh_for_headers);
        let Some(refresh_token) = context.refresh.as_deref().filter(|_| header_counts) else {
            return Err(Refresh::Failed(RefreshFailure::NonEligibleNoRefreshCookie));
        };
        let expired = context.session.as_deref().or(header_token);
        let expired = expired.ok_or(Refresh::Failed(RefreshFailure::MissingSessionToken))?;
        // With a token in the header nobody has looked at the one in the cookie.
        let is_signed = header_token.is_none_or(|verified| verified == expired);
        let cookies = self.refresh(context, expired, is_signed, refresh_token).await?;
        let session = cookies.session.as_deref().unwrap_or_default();
        let auth = self.session(session, How::unclassified(TokenCarrier::Cookie, self.settings())).await;
        let auth = auth.map_err(|_| Refresh::Failed(RefreshFailure::InvalidSessionToken))?;
        let headers = cookies.directives.iter().map(|directive| ("set-cookie".to_owned(), directive.clone()));
        Ok(verdict::signed_in(auth, headers.collect()))
    }

    /// What Clerk's SDK has no reason for.
    pub(crate) fn is_nameless(&self, error: &TokenVerificationError) -> bool {
        let named = error.reason().is_infrastructure() && self.settings().choices().name_key_outages;
        error.is_unnamed() && !named
    }

    fn out(&self, error: &TokenVerificationError, carrier: TokenCarrier) -> RequestState {
        if self.is_nameless(error) {
            let mut out = verdict::out(self.settings(), AuthReason::UnexpectedError, String::new(), Vec::new());
            out.outage = error.reason().is_infrastructure();
            return RequestState::SignedOut(out);
        }
        verdict::signed_out(self.settings(), AuthReason::Token(error.reason()), error.full_message(carrier))
    }
}

#[async_trait]
impl RequestAuthenticator for ClerkAuthenticator {
    async fn authenticate_request<'r>(
        &self,
        request: &RequestParts<'r>,
        options: &AuthenticateRequestOptions,
    ) -> RequestState {
        let token = token_in_header(request, self.settings().choices().rfc_bearer);
        let accepts = options.accepts_token;
        if accepts == AcceptsToken::One(TokenType::SessionToken) {
            return self.session_path(request, token.as_deref(), options).await;
        }
        let Some(token) = token else {
            return match accepts {
                AcceptsToken::One(only) => self.no_machine(AuthReason::NoTokenInHeader, Some(only)),
                _ if accepts.includes(TokenType::SessionToken) => self.session_path(request, None, options).await,
                _ => self.no_machine(AuthReason::TokenTypeMismatch, None),
            };
        };
        let token_type = classify(&token).unwrap_or(TokenType::SessionToken);
        match (accepts, token_type) {
            (AcceptsToken::One(only), other) if only != other => {
                self.no_machine(AuthReason::TokenTypeMismatch, Some(only))
            }
            (accepts, other) if !accepts.includes(other) => self.no_machine(AuthReason::TokenTypeMismatch, None),
            (_, TokenType::SessionToken) => self.session_path(request, Some(&token), options).await,
            (_, machine) => Box::pin(self.machine(&token, machine)).await,
        }
    }
}

impl ClerkAuthenticator {
    async fn session_path(
        &self,
        request: &RequestParts<'_>,
        token: Option<&str>,
        options: &AuthenticateRequestOptions,
    ) -> RequestState {
        match token {
            Some(token) => self.header_path(request, token, options).await,
            None => match Context::read(request, self.settings(), options, self.now_ms()) {
                Some(context) => Box::pin(self.cookie_path(&context)).await,
                None => verdict::unreadable_url(self.settings()),
            },
        }
    }

    async fn machine(&self, token: &str, token_type: TokenType) -> RequestState {
        match self.machines.verify(token, token_type).await {
            Ok(auth) => RequestState::SignedIn { auth: Auth::Machine(auth), headers: Vec::new() },
            Err(error) => {
                let mut out = verdict::out(self.settings(), error.reason(), error.full_message(), Vec::new());
                out.token_type = Some(class_of_refused(token, token_type, self.settings().choices()));
                out.outage = error.outage();
                RequestState::SignedOut(out)
            }
        }
    }

    /// Signed out of a route that accepts machines; `token_type` is the one that it asks for, none if there are several.
    fn no_machine(&self, reason: AuthReason, token_type: Option<TokenType>) -> RequestState {
        let mut out = verdict::out(self.settings(), reason, String::new(), Vec::new());
        out.token_type = token_type;
        RequestState::SignedOut(out)
    }
}

impl std::fmt::Debug for ClerkAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkAuthenticator").field("settings", &self.verifier.settings).finish_non_exhaustive()
    }
}
