//! The part of Clerk's Backend API that the portal calls, and the public key set.
//!
//! Shapes follow the Backend API of 2026-05-12: times in milliseconds, `application/json` without parameters.
//! Only read access exists.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::DevIdp;
use crate::error::ApiError;
use crate::people::{Membership, Organization, Person};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 500;

type Answer = Result<HttpResponse, ApiError>;

pub(crate) fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/.well-known/jwks.json", web::get().to(public_jwks))
        .route("/v1/jwks", web::get().to(jwks))
        .route("/v1/users/{id}", web::get().to(user))
        .route("/v1/users/{id}/organization_memberships", web::get().to(memberships))
        .route("/v1/organizations/{id}", web::get().to(organization));
}

async fn public_jwks(idp: web::Data<DevIdp>) -> Answer {
    idp.counters().jwks();
    available(&idp)?;
    Ok(HttpResponse::Ok().json(idp.jwks()))
}

async fn jwks(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    idp.counters().jwks();
    admit(&request, &idp)?;
    Ok(HttpResponse::Ok().json(idp.jwks()))
}

async fn user(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    idp.counters().user();
    admit(&request, &idp)?;
    Ok(HttpResponse::Ok().json(user_json(&find(&idp, &id)?)))
}

async fn memberships(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    idp.counters().memberships();
    admit(&request, &idp)?;
    let (limit, offset) = paging(request.query_string())?;
    let person = find(&idp, &id)?;
    let page: Vec<Value> = person
        .memberships
        .iter()
        .skip(offset)
        .take(limit)
        .map(|membership| membership_json(&idp, &person, membership))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "data": page, "total_count": person.memberships.len() })))
}

async fn organization(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let organization = idp
        .directory()
        .organization(&id)
        .ok_or_else(|| ApiError::not_found(format!("No organization was found with id or slug {id}.")))?;
    Ok(HttpResponse::Ok().json(organization_json(&idp, &organization)))
}

fn available(idp: &DevIdp) -> Result<(), ApiError> {
    if idp.outage() { Err(ApiError::outage()) } else { Ok(()) }
}

/// Each handler asks by itself: paths of the Frontend API, which has other credentials, share the prefix.
fn admit(request: &HttpRequest, idp: &DevIdp) -> Result<(), ApiError> {
    available(idp)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(ApiError::authorization_missing)?;
    if idp.instance().accepts(secret.trim()) { Ok(()) } else { Err(ApiError::secret_key_invalid()) }
}

fn find(idp: &DevIdp, id: &str) -> Result<Person, ApiError> {
    idp.directory().by_user_id(id).ok_or_else(|| ApiError::not_found(format!("No user was found with id {id}.")))
}

/// Texts, so that a wrong number is answered with its name.
#[derive(Deserialize)]
struct Paging {
    limit: Option<String>,
    offset: Option<String>,
}

fn paging(query: &str) -> Result<(usize, usize), ApiError> {
    let malformed = |_| ApiError::bad_parameter("limit", "The query cannot be read.");
    let Paging { limit, offset } = web::Query::<Paging>::from_query(query).map_err(malformed)?.into_inner();
    let limit = match limit.map(|text| text.parse()) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(ApiError::bad_parameter("limit", "limit must be a number from 1 to 500.")),
    };
    let offset = match offset.map(|text| text.parse()) {
        None => 0,
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Err(ApiError::bad_parameter("offset", "offset must be a number from 0.")),
    };
    Ok((limit, offset))
}

fn user_json(person: &Person) -> Value {
    let email_id = format!("idn_{}", person.user_id.trim_start_matches("user_"));
    let status = if person.email_verified { "verified" } else { "unverified" };
    json!({
        "object": "user",
        "id": person.user_id,
        "external_id": null,
        "username": null,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "locale": null,
        "image_url": person.image_url,
        "has_image": !person.image_url.is_empty(),
        "primary_email_address_id": email_id,
        "primary_phone_number_id": null,
        "primary_web3_wallet_id": null,
        "email_addresses": [{
            "object": "email_address",
            "id": email_id,
            "email_address": person.email,
            "reserved": false,
            "verification": {
                "object": "verification_otp",
                "status": status,
                "strategy": "email_code",
                "attempts": 1,
                "expire_at": person.created_at,
            },
            "linked_to": [],
            "matches_sso_connection": false,
            "created_at": person.created_at,
            "updated_at": person.updated_at,
        }],
        "phone_numbers": [],
        "web3_wallets": [],
        "passkeys": [],
        "external_accounts": [],
        "saml_accounts": [],
        "enterprise_accounts": [],
        "public_metadata": {},
        "private_metadata": {},
        "unsafe_metadata": {},
        "password_enabled": true,
        "two_factor_enabled": false,
        "totp_enabled": false,
        "backup_code_enabled": false,
        "mfa_enabled_at": null,
        "mfa_disabled_at": null,
        "banned": false,
        "locked": false,
        "lockout_expires_in_seconds": null,
        "verification_attempts_remaining": 100,
        "delete_self_enabled": true,
        "create_organization_enabled": true,
        "create_organizations_limit": null,
        "legal_accepted_at": null,
        "last_sign_in_at": person.created_at,
        "last_active_at": person.created_at,
        "created_at": person.created_at,
        "updated_at": person.updated_at,
    })
}

fn organization_json(idp: &DevIdp, organization: &Organization) -> Value {
    json!({
        "object": "organization",
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "image_url": "",
        "has_image": false,
        "members_count": idp.directory().members_count(&organization.id),
        "pending_invitations_count": 0,
        "max_allowed_memberships": 0,
        "admin_delete_enabled": true,
        "public_metadata": {},
        "private_metadata": {},
        "created_by": organization.created_by,
        "created_at": organization.created_at,
        "updated_at": organization.updated_at,
    })
}

fn membership_json(idp: &DevIdp, person: &Person, membership: &Membership) -> Value {
    let permissions: &[&str] = match membership.role.as_str() {
        "org:admin" => &[
            "org:sys_profile:manage",
            "org:sys_profile:delete",
            "org:sys_memberships:read",
            "org:sys_memberships:manage",
        ],
        _ => &["org:sys_memberships:read"],
    };
    json!({
        "object": "organization_membership",
        "id": membership.id,
        "role": membership.role,
        "role_name": role_name(&membership.role),
        "permissions": permissions,
        "public_metadata": {},
        "private_metadata": {},
        "organization": organization_json(idp, &membership.organization),
        "public_user_data": {
            "user_id": person.user_id,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "image_url": person.image_url,
            "has_image": !person.image_url.is_empty(),
            "identifier": person.email,
            "username": null,
            "banned": false,
        },
        "created_at": membership.created_at,
        "updated_at": membership.updated_at,
    })
}

fn role_name(role: &str) -> String {
    let bare = role.strip_prefix("org:").unwrap_or(role);
    let mut letters = bare.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_follows_the_limits_of_the_backend_api() {
        assert_eq!(paging(""), Ok((10, 0)));
        assert_eq!(paging("limit=500&offset=7&paginated=true"), Ok((500, 7)));
        for query in ["limit=0", "limit=501", "limit=", "limit=-1", "limit=x", "offset=-1", "offset=x"] {
            assert!(paging(query).is_err(), "{query}");
        }
    }
}
