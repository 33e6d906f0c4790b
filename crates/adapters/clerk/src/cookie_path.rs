//! The verdict on a request without a token in its header (`clerk.md` §3.7).

use std::sync::Arc;

use portal_identity::{AuthReason, RequestState, SessionAuth, TokenVerificationErrorReason as Reason};
use url::Url;

use crate::authenticate::ClerkAuthenticator;
use crate::claims::How;
use crate::context::{Context, DEV_BROWSER, HandshakeResult, MOST_REDIRECTS, seconds};
use crate::error::{TokenCarrier, TokenVerificationError};
use crate::handshake::{self, redirect_to};
use crate::organization;
use crate::referrer::is_from_elsewhere;
use crate::refresh::Payload;
use crate::token::DecodedToken;
use crate::verdict;
use crate::verify::Refusal;

const SYNCED: &str = "__clerk_synced";
const REDIRECT_URL: &str = "__clerk_redirect_url";
/// How wrong the clock of a developer's machine may be.
const DEVELOPMENT_SKEW_MS: i64 = 24 * 60 * 60 * 1_000;

impl ClerkAuthenticator {
    /// Row by row: the first that applies decides.
    pub(crate) async fn cookie_path(&self, context: &Context<'_>) -> RequestState {
        if let Some(result) = &context.handshake
            && let Some(state) = self.resolve_handshake(context, result).await
        {
            return state;
        }
        if let Some(state) = self.satellite(context).or_else(|| self.development(context)) {
            return state;
        }
        let signed_in_somewhere = context.client_uat != 0.0;
        match (context.session.as_deref(), signed_in_somewhere) {
            (None, false) => self.signed_out(AuthReason::SessionTokenAndUatMissing),
            (Some(_), false) => handshake_because(context, AuthReason::SessionTokenButNoClientUat),
            (None, true) => handshake_because(context, AuthReason::ClientUatButNoSessionToken),
            (Some(token), true) => self.cookie(context, token).await,
        }
    }

    async fn cookie(&self, context: &Context<'_>, token: &str) -> RequestState {
        let choices = self.settings().choices();
        let is_readable = match DecodedToken::read(token, choices) {
            Err(error) => return self.refused(context, &error, None).await,
            Ok(decoded) if decoded.is_of_another_class() => return self.signed_out(AuthReason::TokenTypeMismatch),
            Ok(decoded) => {
                let issued_at = seconds(&decoded.claims, "iat", choices);
                if issued_at.is_some_and(|issued_at| issued_at < context.client_uat) {
                    return handshake_because(context, AuthReason::SessionTokenIatBeforeClientUat);
                }
                choices.mend_organizations || organization::is_readable(&decoded.claims, choices)
            }
        };
        let auth = match self.session(token, How::new(TokenCarrier::Cookie, self.settings())).await {
            Ok(auth) => auth,
            Err(Refusal::AnotherClass { .. }) => return self.signed_out(AuthReason::TokenTypeMismatch),
            Err(Refusal::Token(error)) => return self.refused(context, &error, None).await,
        };
        if self.settings().cross_origin_sync()
            && self.settings().deployment().satellite.is_none()
            && context.is_document()
            && context.redirects.count == 0.0
            && is_from_elsewhere(context)
        {
            let message = "Cross-origin request from satellite domain requires handshake".to_owned();
            return verdict::handshake(context, AuthReason::PrimaryDomainCrossOriginSync, message, None);
        }
        if !is_readable {
            return self.signed_out(AuthReason::UnexpectedError);
        }
        self.other_organization(context, &auth).unwrap_or_else(|| verdict::signed_in(auth, Vec::new()))
    }

    /// Row C17: a handshake that activates what the URL names. Where none is possible the session stays as it is: the application
    /// compares before it shows anything.
    fn other_organization(&self, context: &Context<'_>, auth: &SessionAuth) -> Option<RequestState> {
        let target = self.settings().organizations().target(context.url.path())?;
        let is_nobody = auth.is_pending() || auth.user_id.as_str().is_empty();
        if is_nobody || !target.differs_from(auth) || context.redirects.count >= MOST_REDIRECTS {
            return None;
        }
        let state = handshake_because(context, AuthReason::ActiveOrganizationMismatch);
        Some(state).filter(|state| matches!(state, RequestState::Handshake(_)))
    }

    /// None if what the browser brought is not ours or does not count, which happens where applications share a domain.
    async fn resolve_handshake(&self, context: &Context<'_>, result: &HandshakeResult<'_>) -> Option<RequestState> {
        let payload = match result {
            HandshakeResult::Nonce(nonce) => self.handshake_payload(nonce).await,
            HandshakeResult::Token(token) => match self.verifier().handshake(token).await {
                Ok(payload) => payload,
                Err(error) if self.settings().is_production() || self.is_nameless(&error) => {
                    tracing::warn!(auth.reason = %error.reason(), "a handshake token does not verify");
                    return None;
                }
                Err(error) => return Some(self.handshake_failed(&error)),
            },
        };
        let (directives, outage) = match payload {
            Payload::Directives(directives) => (directives, false),
            Payload::Outage => (Vec::new(), true),
            Payload::Unusable => return None,
        };
        let handshake::Resolved { headers, session } = handshake::resolve(context, directives)?;
        let Some(session) = session else {
            let mut out = verdict::out(self.settings(), AuthReason::SessionTokenMissing, String::new(), headers);
            out.outage = outage;
            return Some(RequestState::SignedOut(out));
        };
        match self.brought_session(&session).await {
            Ok(auth) => Some(verdict::signed_in(auth, headers)),
            Err(error) => {
                tracing::warn!(auth.reason = %error.reason(), "the session that a handshake brought does not verify");
                None
            }
        }
    }

    /// On a development instance a clock that is wrong by hours does not keep anybody out.
    async fn brought_session(&self, token: &str) -> Result<Arc<SessionAuth>, TokenVerificationError> {
        let how = How::unclassified(TokenCarrier::Cookie, self.settings());
        let error = match self.session(token, how).await {
            Ok(auth) => return Ok(auth),
            Err(refusal) => refusal.into_error(),
        };
        if self.settings().is_production() || !error.is_about_time() {
            return Err(error);
        }
        tracing::warn!(auth.reason = %error.reason(), "the clock of this machine is wrong: set it to the correct time");
        let how = How { skew_ms: DEVELOPMENT_SKEW_MS, ..how };
        self.verifier().verify(token, how).await.map(|session| session.auth).map_err(Refusal::into_error)
    }

    /// Usually the keys were switched while a browser still had a handshake of the old instance.
    fn handshake_failed(&self, error: &TokenVerificationError) -> RequestState {
        let message = if error.reason() == Reason::TokenInvalidSignature {
            "Handshake token verification failed due to an invalid signature. If you have switched Clerk keys locally, clear your \
             cookies and try again."
                .to_owned()
        } else {
            format!("Handshake token verification failed: {error}")
        };
        tracing::error!("{message}");
        verdict::signed_out(self.settings(), AuthReason::Token(error.reason()), message)
    }

    /// Rows C1 to C3.
    fn satellite(&self, context: &Context<'_>) -> Option<RequestState> {
        let satellite = self.settings().deployment().satellite.as_ref().filter(|_| context.is_document())?;
        let synced = context.query(SYNCED);
        if synced.as_deref() == Some("true") {
            return None;
        }
        let must_sync = synced.as_deref() == Some("false");
        let has_cookies = context.session.is_some() || context.client_uat != 0.0;
        if has_cookies && !must_sync {
            return None;
        }
        if !satellite.auto_sync && !must_sync {
            return Some(self.signed_out(AuthReason::SessionTokenAndUatMissing));
        }
        let reason = AuthReason::SatelliteNeedsSyncing;
        match satellite.sign_in_url.clone().filter(|_| !self.settings().is_production()) {
            None => Some(handshake_because(context, reason)),
            Some(mut url) => {
                set_parameters(&mut url, None, (REDIRECT_URL, context.url.as_str()));
                Some(verdict::handshake_with(context, reason, String::new(), Some(redirect_to(&url))))
            }
        }
    }

    /// Rows C4 to C6.
    fn development(&self, context: &Context<'_>) -> Option<RequestState> {
        if self.settings().is_production() {
            return None;
        }
        if let Some(url) = self.satellite_to_answer(context) {
            let reason = AuthReason::PrimaryRespondsToSyncing;
            return Some(verdict::handshake_with(context, reason, String::new(), Some(redirect_to(&url))));
        }
        if context.url.query_pairs().any(|(name, _)| name == DEV_BROWSER) {
            return Some(handshake_because(context, AuthReason::DevBrowserSync));
        }
        context.dev_browser.is_none().then(|| handshake_because(context, AuthReason::DevBrowserMissing))
    }

    /// Back to the satellite that asked who is signed in here.
    fn satellite_to_answer(&self, context: &Context<'_>) -> Option<Url> {
        if self.settings().deployment().satellite.is_some() {
            return None;
        }
        let mut url = Url::parse(&context.query(REDIRECT_URL)?).ok()?;
        let origin = url.origin().ascii_serialization();
        if self.settings().choices().known_satellites_only && !self.settings().satellite_origins().contains(&origin) {
            tracing::warn!("a browser asks to be sent to an origin that is no configured satellite");
            return None;
        }
        if let Some(dev_browser) = &context.dev_browser {
            set_parameters(&mut url, None, (DEV_BROWSER, dev_browser));
        }
        set_parameters(&mut url, Some(SYNCED), (SYNCED, "true"));
        Some(url)
    }

    fn signed_out(&self, reason: AuthReason) -> RequestState {
        verdict::signed_out(self.settings(), reason, String::new())
    }
}

fn handshake_because(context: &Context<'_>, reason: AuthReason) -> RequestState {
    verdict::handshake(context, reason, String::new(), None)
}

/// Adds a parameter, in the place of the first one by the name of `replaced` if there is one. The whole query is written anew, as a
/// browser would.
fn set_parameters(url: &mut Url, replaced: Option<&str>, (name, value): (&str, &str)) {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut pairs = Vec::new();
    let mut is_set = false;
    for (known, old) in url.query_pairs() {
        if replaced != Some(known.as_ref()) {
            pairs.push(own(&known, &old));
        } else if !is_set {
            is_set = true;
            pairs.push(own(name, value));
        }
    }
    if !is_set {
        pairs.push(own(name, value));
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
}
