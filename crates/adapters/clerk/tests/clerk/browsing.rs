//! Requests as browsers send them, for tests of the cookie path.

use portal_clerk::{
    AuthenticateRequestOptions, ClerkOptions, RequestAuthenticator, RequestParts, RequestState, SecretString,
};

use crate::minting::KEY;
use crate::setup::Setup;

pub(crate) const LIVE_KEY: &str = "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k";
/// What follows the names of the cookies of the production and of the development instance.
pub(crate) const LIVE_SUFFIX: &str = "naoXFJnI";
pub(crate) const TEST_SUFFIX: &str = "l2OS3d9k";
pub(crate) const PAGE: &str = "https://portal.example/page";

/// A production instance that verifies with its public key and calls nobody.
pub(crate) fn production() -> ClerkOptions {
    let mut options = ClerkOptions::new(LIVE_KEY);
    options.jwt_key = Some(KEY.pem());
    options
}

/// The same, with a Backend API for everything but keys.
pub(crate) fn production_with_api(url: &str) -> ClerkOptions {
    let mut options = production();
    options.secret_key = Some(SecretString::from("sk_live_s3cret"));
    options.api_url = url.into();
    options
}

/// One request, to be changed and sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Asked {
    /// As a browser opens a page.
    pub(crate) fn page(url: &str) -> Self {
        Self { method: "GET".into(), url: url.into(), headers: Vec::new() }.header("sec-fetch-dest", "document")
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Nothing for an empty line.
    #[must_use]
    pub(crate) fn cookies(self, line: &str) -> Self {
        if line.is_empty() { self } else { self.header("cookie", line) }
    }

    /// The same request from a script.
    #[must_use]
    pub(crate) fn by_script(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if name == "sec-fetch-dest" {
                "empty".clone_into(value);
            }
        }
        self
    }

    #[must_use]
    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) async fn send(&self, setup: &Setup) -> RequestState {
        self.send_to(setup, &AuthenticateRequestOptions::DOCUMENT).await
    }

    pub(crate) async fn send_to(&self, setup: &Setup, options: &AuthenticateRequestOptions) -> RequestState {
        let parts = RequestParts::new(self.method.as_str(), self.url.as_str());
        let parts = self.headers.iter().fold(parts, |parts, (name, value)| parts.header(name, value.as_str()));
        setup.clerk.authenticate_request(&parts, options).await
    }
}

/// Status and reason; `-` where somebody is signed in.
pub(crate) fn verdict(state: &RequestState) -> (&'static str, String) {
    let reason = state.reason().map_or_else(|| "-".to_owned(), |reason| reason.as_str().into_owned());
    (state.status().as_str(), reason)
}

/// All cookies that a verdict sets.
pub(crate) fn set_cookies(state: &RequestState) -> Vec<&str> {
    let headers = state.headers().iter();
    headers.filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect()
}
