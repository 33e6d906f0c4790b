//! Authenticators with a clock that is set by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portal_clerk::{
    AuthReason, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, HttpTimeouts, RequestAuthenticator,
    RequestParts, RequestState, SecretString, SessionAuth, TokenVerificationErrorReason as Reason,
};
use portal_testkit::FixedClock;
use serde_json::Value;

use crate::minting::{KEY, PUBLISHABLE_KEY};

pub(crate) const SECRET_KEY: &str = "sk_test_s3cret";

pub(crate) struct Setup {
    pub(crate) clerk: Arc<ClerkAuthenticator>,
    pub(crate) clock: Arc<FixedClock>,
}

impl Setup {
    pub(crate) fn new(options: ClerkOptions) -> Self {
        let clock = Arc::new(FixedClock::default());
        let clerk = ClerkAuthenticator::new(options.validate().unwrap(), Arc::clone(&clock) as _).unwrap();
        Self { clerk: Arc::new(clerk), clock }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn get(&self, authorization: &str) -> RequestState {
        self.request("GET", authorization).await
    }

    pub(crate) async fn request(&self, method: &str, authorization: &str) -> RequestState {
        let request = RequestParts::new(method, "https://portal.example/v1/me").header("authorization", authorization);
        self.clerk.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT).await
    }

    pub(crate) async fn reason(&self, token: &str) -> Option<AuthReason> {
        self.get(&format!("Bearer {token}")).await.reason().cloned()
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<SessionAuth>, Reason> {
        self.clerk.verify_token(token).await.map_err(|error| error.reason())
    }

    pub(crate) async fn refusal(&self, token: &str) -> Option<Reason> {
        self.verify(token).await.err()
    }
}

/// Verifies with the key set of a server; without the cache of tokens, so that every call asks for the key.
pub(crate) fn with_keys_of(url: &str) -> ClerkOptions {
    let mut options = ClerkOptions::new(PUBLISHABLE_KEY);
    options.secret_key = Some(SecretString::from(SECRET_KEY));
    options.api_url = url.into();
    options.token_cache_entries = 0;
    options.timeouts.first_pause = Duration::from_millis(1);
    options
}

/// As short as a test of time-outs needs.
pub(crate) fn impatient(url: &str) -> ClerkOptions {
    let mut options = with_keys_of(url);
    options.timeouts = HttpTimeouts {
        connect: Duration::from_millis(200),
        one_try: Duration::from_millis(200),
        total: Duration::from_millis(300),
        first_pause: Duration::from_millis(1),
    };
    options
}

/// Verifies with the public key of the instance and nothing else.
pub(crate) fn with_public_key() -> ClerkOptions {
    let mut options = ClerkOptions::new(PUBLISHABLE_KEY);
    options.jwt_key = Some(KEY.pem());
    options
}

/// Lets other tasks run until something is so.
pub(crate) async fn until(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came");
        tokio::task::yield_now().await;
    }
}

/// The session token of the instance, with some claims changed.
pub(crate) fn session(change: &Value) -> String {
    KEY.session(change)
}
