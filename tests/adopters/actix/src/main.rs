//! A service on actix-web with one route for people who are signed in with Clerk.

use std::sync::Arc;
use std::time::SystemTime;

use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{App, CustomizeResponder, HttpRequest, HttpResponse, HttpServer, Responder, get};
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

#[get("/me")]
async fn me(request: HttpRequest, clerk: Data<dyn RequestAuthenticator>) -> impl Responder {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let parts = RequestParts::new(request.method().as_str(), format!("{ORIGIN}{target}")).headers(request.headers());
    let state = clerk.authenticate_request(&parts, &AuthenticateRequestOptions::API).await;
    let reason = state.reason().map_or("session-pending".into(), AuthReason::as_str);
    let answer = match state.session() {
        Some(session) => HttpResponse::Ok().body(session.user_id.to_string()),
        None if state.is_outage() => HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "2")).finish(),
        None => HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).body(reason),
    };
    let headers = state.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.fold(answer.customize(), CustomizeResponder::append_header)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = ClerkOptions::new(std::env::var("CLERK_PUBLISHABLE_KEY")?);
    options.secret_key = Some(std::env::var("CLERK_SECRET_KEY")?.into());
    options.authorized_parties = vec![ORIGIN.to_owned()];
    let clerk: Arc<dyn RequestAuthenticator> =
        Arc::new(ClerkAuthenticator::new(options.validate()?, Arc::new(SystemClock))?);
    let service = move || App::new().app_data(Data::from(Arc::clone(&clerk))).service(me);
    Ok(HttpServer::new(service).bind(("127.0.0.1", 8080))?.run().await?)
}

#[cfg(test)]
mod tests;
