//! The part of Clerk's Backend API that a portal calls, and the public key set.
//!
//! Shapes follow the Backend API of 2026-05-12: times in milliseconds, `application/json` without parameters.

mod input;
mod invitations;
mod memberships;
mod organizations;
mod sessions;
mod users;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::DevIdp;
use crate::error::ApiError;

type Answer = Result<HttpResponse, ApiError>;

pub(crate) fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/.well-known/jwks.json", web::get().to(public_jwks))
        .route("/v1/jwks", web::get().to(jwks))
        .route("/v1/users", web::get().to(users::list))
        .route("/v1/users/count", web::get().to(users::count))
        .route("/v1/users/{id}", web::get().to(users::one))
        .route("/v1/users/{id}", web::patch().to(users::update))
        .route("/v1/users/{id}", web::delete().to(users::delete))
        .route("/v1/users/{id}/organization_memberships", web::get().to(memberships::of_user))
        .route("/v1/organizations", web::get().to(organizations::list))
        .route("/v1/organizations", web::post().to(organizations::create))
        .route("/v1/organizations/{id}", web::get().to(organizations::one))
        .route("/v1/organizations/{id}", web::patch().to(organizations::update))
        .route("/v1/organizations/{id}", web::delete().to(organizations::delete))
        .route("/v1/organizations/{id}/memberships", web::get().to(memberships::of_organization))
        .route("/v1/organizations/{id}/memberships", web::post().to(memberships::create))
        .route("/v1/organizations/{id}/memberships/{user_id}", web::patch().to(memberships::update))
        .route("/v1/organizations/{id}/memberships/{user_id}", web::delete().to(memberships::delete))
        .route("/v1/organizations/{id}/invitations", web::get().to(invitations::list))
        .route("/v1/organizations/{id}/invitations", web::post().to(invitations::create))
        .route("/v1/organizations/{id}/invitations/{invitation_id}", web::get().to(invitations::one))
        .route("/v1/organizations/{id}/invitations/{invitation_id}/revoke", web::post().to(invitations::revoke))
        .route("/v1/sessions", web::get().to(sessions::list))
        .route("/v1/sessions", web::post().to(sessions::create))
        .route("/v1/sessions/{id}", web::get().to(sessions::one))
        .route("/v1/sessions/{id}/revoke", web::post().to(sessions::revoke));
}

async fn public_jwks(idp: web::Data<DevIdp>) -> Answer {
    idp.counters().jwks();
    available(&idp)?;
    Ok(HttpResponse::Ok().json(idp.jwks()))
}

/// The one path without a limit of requests.
async fn jwks(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    idp.counters().jwks();
    authorize(&request, &idp)?;
    Ok(HttpResponse::Ok().json(idp.jwks()))
}

fn available(idp: &DevIdp) -> Result<(), ApiError> {
    if idp.outage() { Err(ApiError::outage()) } else { Ok(()) }
}

/// Each handler asks by itself: paths of the Frontend API, which has other credentials, share the prefix.
fn admit(request: &HttpRequest, idp: &DevIdp) -> Result<(), ApiError> {
    authorize(request, idp)?;
    idp.spend_request().map_err(ApiError::too_many_requests)
}

fn authorize(request: &HttpRequest, idp: &DevIdp) -> Result<(), ApiError> {
    available(idp)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(ApiError::authorization_missing)?;
    if idp.instance().accepts(secret.trim()) { Ok(()) } else { Err(ApiError::secret_key_invalid()) }
}
