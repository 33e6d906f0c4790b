//! The two libraries behind one question: what does this token get in `Authorization`?

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clerk_rs::validators::authorizer::{ClerkJwt, validate_jwt};
use clerk_rs::validators::jwks::{JwksKey, JwksProvider, JwksProviderError};
use portal_clerk::{
    AuthReason, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, Clock, RequestAuthenticator,
    RequestParts, SessionAuth, StrictChoices, Timestamp,
};

use crate::minting::{KEY, KID, PUBLISHABLE_KEY};

/// Where people sign in, and the only origin that may mint tokens.
pub(crate) const ORIGIN: &str = "https://portal.example";

/// The moment at which the tokens were made, so that no pause of the machine changes a verdict.
struct Standing(Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub(crate) struct Ours(ClerkAuthenticator);

impl Ours {
    /// With room for this many verified tokens.
    pub(crate) fn strict(now: Timestamp, entries: usize) -> Self {
        Self::new(now, entries, StrictChoices::strict())
    }

    pub(crate) fn exact(now: Timestamp) -> Self {
        Self::new(now, 0, StrictChoices::exact())
    }

    fn new(now: Timestamp, entries: usize, choices: StrictChoices) -> Self {
        let mut options = ClerkOptions::new(PUBLISHABLE_KEY);
        options.jwt_key = Some(KEY.pem());
        options.authorized_parties = vec![ORIGIN.to_owned()];
        options.token_cache_entries = entries;
        options.choices = choices;
        let settings = options.validate().expect("the settings are good");
        Self(ClerkAuthenticator::new(settings, Arc::new(Standing(now))).expect("no client is needed"))
    }

    /// Whether it verifies, as a library without requests is asked.
    pub(crate) async fn accepts(&self, token: &str) -> bool {
        self.0.verify_token(token).await.is_ok()
    }

    pub(crate) async fn verdict(&self, token: &str) -> String {
        let request =
            RequestParts::new("GET", format!("{ORIGIN}/me")).header("authorization", format!("Bearer {token}"));
        let state = self.0.authenticate_request(&request, &AuthenticateRequestOptions::API).await;
        match (state.session(), state.reason()) {
            (Some(session), _) => read_by_us(session),
            (None, Some(reason)) => format!("out: {}", AuthReason::as_str(reason)),
            (None, None) => "pending".to_owned(),
        }
    }
}

fn read_by_us(session: &SessionAuth) -> String {
    let role = session.organization.as_ref().and_then(|organization| organization.role.as_deref());
    let actor = session.actor.as_ref().map(|actor| format!("{:?}", actor.kind).to_lowercase());
    described(role, actor.as_deref())
}

fn described(role: Option<&str>, actor: Option<&str>) -> String {
    let mut text = "in".to_owned();
    for part in [role.map(|role| format!(", role {role}")), actor.map(|actor| format!(", {actor}"))] {
        text += &part.unwrap_or_default();
    }
    text
}

/// `clerk-rs` with its key at hand, as its cache would give it.
pub(crate) struct Theirs(Arc<OneKey>);

struct OneKey(JwksKey);

#[async_trait]
impl JwksProvider for OneKey {
    type Error = JwksProviderError;

    async fn get_key(&self, kid: &str) -> Result<JwksKey, JwksProviderError> {
        if kid == self.0.kid { Ok(self.0.clone()) } else { Err(JwksProviderError::UnknownKey) }
    }
}

impl Theirs {
    pub(crate) fn new() -> Self {
        let (n, e) = KEY.components();
        Self(Arc::new(OneKey(JwksKey {
            use_key: "sig".to_owned(),
            kty: "RSA".to_owned(),
            kid: KID.to_owned(),
            alg: "RS256".to_owned(),
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        })))
    }

    pub(crate) async fn accepts(&self, token: &str) -> bool {
        validate_jwt(token, Arc::clone(&self.0)).await.is_ok()
    }

    pub(crate) async fn verdict(&self, token: &str) -> String {
        validate_jwt(token, Arc::clone(&self.0)).await.map_or_else(|_| "out".to_owned(), |jwt| read_by_them(&jwt))
    }
}

fn read_by_them(jwt: &ClerkJwt) -> String {
    let role = jwt.org.as_ref().map(|organization| organization.role.as_str());
    described(role, jwt.act.as_ref().map(|_| "with an actor"))
}
