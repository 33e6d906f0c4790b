//! Memberships, of a person and of an organization.

use actix_web::{HttpRequest, HttpResponse, web};

use super::input::{Body, Query, sort};
use super::{Answer, admit};
use crate::DevIdp;
use crate::error::ApiError;
use crate::people::{Membership, Person};
use crate::shapes;

type Place = web::Path<(String, String)>;

pub(super) async fn of_user(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    idp.counters().memberships();
    admit(&request, &idp)?;
    let query = Query::of(&request);
    query.paging()?;
    let world = idp.world();
    let person = world.person(&id).ok_or_else(|| ApiError::user_not_found(&id))?;
    let page = query.page(&person.memberships, |held| shapes::membership(&world, person, held))?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn of_organization(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let query = Query::of(&request);
    let (order, descending) = query.order(&["created_at", "email_address", "first_name", "last_name", "username"])?;
    let world = idp.world();
    let organization = world.organization(&id).ok_or_else(|| ApiError::organization_not_found(&id))?;
    let mut found: Vec<(&Person, &Membership)> = world
        .members(&organization.id)
        .filter(|(person, _)| query.allows("user_id", &person.user_id) && query.allows("email_address", &person.email))
        .filter(|(_, held)| query.allows("role", &held.role))
        .collect();
    sort(&mut found, descending, |(a, a_held), (b, b_held)| match order {
        "email_address" => a.email.cmp(&b.email),
        "first_name" => a.first_name.cmp(&b.first_name),
        "last_name" => a.last_name.cmp(&b.last_name),
        "username" => a.username.cmp(&b.username),
        _ => a_held.created_at.cmp(&b_held.created_at),
    });
    let page = query.page(&found, |(person, held)| shapes::membership(&world, person, held))?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn create(
    request: HttpRequest,
    idp: web::Data<DevIdp>,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    admit(&request, &idp)?;
    let body = Body::read(&request, &bytes, &["user_id", "role"])?;
    let (user_id, role) = (body.required("user_id")?, body.required("role")?);
    let answer = idp.write(|changes| {
        let (person, held) = changes.create_membership(&id, &user_id, &role)?;
        Ok(shapes::membership(changes.world(), &person, &held))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn update(request: HttpRequest, idp: web::Data<DevIdp>, place: Place, bytes: web::Bytes) -> Answer {
    admit(&request, &idp)?;
    let role = Body::read(&request, &bytes, &["role"])?.required("role")?;
    let answer = idp.write(|changes| {
        let (person, held) = changes.update_membership(&place.0, &place.1, &role)?;
        Ok(shapes::membership(changes.world(), &person, &held))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn delete(request: HttpRequest, idp: web::Data<DevIdp>, place: Place) -> Answer {
    admit(&request, &idp)?;
    let answer = idp.write(|changes| {
        let (person, held) = changes.delete_membership(&place.0, &place.1)?;
        Ok(shapes::membership(changes.world(), &person, &held))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}
