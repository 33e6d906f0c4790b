//! Invitations to an organization.

use actix_web::{HttpRequest, HttpResponse, web};

use super::input::{Body, Query, sort};
use super::{Answer, admit};
use crate::DevIdp;
use crate::changes::NewInvitation;
use crate::directory::Invitation;
use crate::error::ApiError;
use crate::shapes;

const STATUSES: [&str; 4] = ["pending", "accepted", "revoked", "expired"];
const DAYS: u32 = 30;

type Place = web::Path<(String, String)>;

pub(super) async fn list(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let query = Query::of(&request);
    let status = query.word("status", &STATUSES)?;
    let (order, descending) = query.order(&["created_at", "email_address"])?;
    let now = idp.now().unix_millis();
    let world = idp.world();
    let organization = world.organization(&id).ok_or_else(|| ApiError::organization_not_found(&id))?;
    let mut found: Vec<&Invitation> = world
        .invitations
        .iter()
        .filter(|held| held.organization_id == organization.id && query.allows("email_address", &held.email))
        .filter(|held| status.is_none_or(|status| held.status(now) == status))
        .collect();
    sort(&mut found, descending, |a, b| match order {
        "email_address" => a.email.cmp(&b.email),
        _ => a.created_at.cmp(&b.created_at),
    });
    let page = query.page(&found, |held| shapes::invitation(&world, held, now))?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn one(request: HttpRequest, idp: web::Data<DevIdp>, place: Place) -> Answer {
    admit(&request, &idp)?;
    let now = idp.now().unix_millis();
    let world = idp.world();
    let organization = world.organization(&place.0).ok_or_else(|| ApiError::organization_not_found(&place.0))?;
    let known = world.invitation(&place.1).filter(|held| held.organization_id == organization.id);
    let invitation = known.ok_or_else(|| ApiError::invitation_not_found(&place.1))?;
    Ok(HttpResponse::Ok().json(shapes::invitation(&world, invitation, now)))
}

pub(super) async fn create(
    request: HttpRequest,
    idp: web::Data<DevIdp>,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    admit(&request, &idp)?;
    let known = ["email_address", "role", "inviter_user_id", "redirect_url", "expires_in_days", "notify"];
    let body = Body::read(&request, &bytes, &known)?;
    let email = body.required("email_address")?;
    if !email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.')) {
        return Err(ApiError::bad_parameter("email_address", "email_address must be a valid email address."));
    }
    // Nobody is sent anywhere from here: a test accepts by a method.
    body.filled("redirect_url")?;
    let new = NewInvitation {
        email,
        role: body.required("role")?,
        inviter_id: body.filled("inviter_user_id")?,
        days: body.number("expires_in_days", 1, 365)?.unwrap_or(DAYS),
    };
    let answer = idp.write(|changes| {
        let invitation = changes.create_invitation(&id, new)?;
        Ok(shapes::invitation(changes.world(), &invitation, changes.now()))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn revoke(request: HttpRequest, idp: web::Data<DevIdp>, place: Place, bytes: web::Bytes) -> Answer {
    admit(&request, &idp)?;
    let requested_by = Body::read(&request, &bytes, &["requesting_user_id"])?.filled("requesting_user_id")?;
    let answer = idp.write(|changes| {
        let invitation = changes.revoke_invitation(&place.0, &place.1, requested_by.as_deref())?;
        Ok(shapes::invitation(changes.world(), &invitation, changes.now()))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}
