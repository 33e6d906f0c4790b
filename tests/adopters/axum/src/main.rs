//! A service on axum with one route for people who are signed in with Clerk.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::get;
use portal_clerk::{
    AuthReason, AuthenticateRequestOptions, ClerkAuthenticator, ClerkOptions, Clock, RequestAuthenticator,
    RequestParts, Timestamp,
};

/// Where callers find this service. Fixed, because the header `Host` says what the caller wants it to say.
const ORIGIN: &str = "https://service.example";

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

type Clerk = Arc<dyn RequestAuthenticator>;

async fn me(State(clerk): State<Clerk>, (method, uri, headers): (Method, OriginalUri, HeaderMap)) -> impl IntoResponse {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let parts = RequestParts::new(method.as_str(), format!("{ORIGIN}{target}")).headers(&headers);
    let state = clerk.authenticate_request(&parts, &AuthenticateRequestOptions::API).await;
    let reason = state.reason().map_or("session-pending".into(), AuthReason::as_str);
    let answer = match state.session() {
        Some(session) => session.user_id.to_string().into_response(),
        None if state.is_outage() => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")]).into_response(),
        None => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], reason).into_response(),
    };
    (AppendHeaders(state.headers().clone()), answer)
}

fn service(clerk: Clerk) -> Router {
    Router::new().route("/me", get(me)).with_state(clerk)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = ClerkOptions::new(std::env::var("CLERK_PUBLISHABLE_KEY")?);
    options.secret_key = Some(std::env::var("CLERK_SECRET_KEY")?.into());
    options.authorized_parties = vec![ORIGIN.to_owned()];
    let clerk = ClerkAuthenticator::new(options.validate()?, Arc::new(SystemClock))?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 8080)).await?;
    Ok(axum::serve(listener, service(Arc::new(clerk))).await?)
}

#[cfg(test)]
mod tests;
