//! Routes that accept machine tokens.

use std::sync::Arc;
use std::time::Duration;

use portal_clerk::{
    AcceptsToken, Auth, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, MachineAuth,
    RequestAuthenticator, RequestParts, RequestState, SignedOut,
};
use portal_testkit::FixedClock;

pub(crate) struct Machines {
    clerk: ClerkAuthenticator,
    clock: Arc<FixedClock>,
}

impl Machines {
    pub(crate) fn new(options: ClerkOptions) -> Self {
        let clock = Arc::new(FixedClock::default());
        let clerk = ClerkAuthenticator::new(options.validate().unwrap(), Arc::clone(&clock) as _).unwrap();
        Self { clerk, clock }
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// The verdict of a route that accepts whatever is presented.
    pub(crate) async fn ask(&self, token: &str) -> Result<Arc<MachineAuth>, SignedOut> {
        let request = RequestParts::new("POST", "https://portal.example/v1/jobs");
        let request = request.header("authorization", format!("Bearer {token}"));
        let options =
            AuthenticateRequestOptions { accepts_token: AcceptsToken::Any, ..AuthenticateRequestOptions::API };
        match self.clerk.authenticate_request(&request, &options).await {
            RequestState::SignedIn { auth: Auth::Machine(auth), .. } => Ok(auth),
            RequestState::SignedOut(out) => Err(out),
            state => panic!("{state:?}"),
        }
    }

    /// Reason and message of a refusal.
    pub(crate) async fn refusal(&self, token: &str) -> (String, String) {
        let out = self.ask(token).await.unwrap_err();
        (out.reason.to_string(), out.message)
    }
}
