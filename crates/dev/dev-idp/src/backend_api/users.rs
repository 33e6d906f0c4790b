//! `/v1/users`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::input::{Body, Query, sort};
use super::{Answer, admit};
use crate::DevIdp;
use crate::changes::UserUpdate;
use crate::directory::World;
use crate::error::ApiError;
use crate::people::Person;
use crate::shapes;

const ORDERS: [&str; 8] = [
    "created_at",
    "updated_at",
    "email_address",
    "first_name",
    "last_name",
    "username",
    "last_active_at",
    "last_sign_in_at",
];

/// A bare array.
pub(super) async fn list(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    admit(&request, &idp)?;
    let query = Query::of(&request);
    let (limit, offset) = query.paging()?;
    let (order, descending) = query.order(&ORDERS)?;
    let world = idp.world();
    let mut found = matching(&world, &query)?;
    let shown = |person: &Person| shapes::user(&world, person);
    sort(&mut found, descending, |a, b| match order {
        "created_at" => a.created_at.cmp(&b.created_at),
        "updated_at" => a.updated_at.cmp(&b.updated_at),
        "email_address" => a.email.cmp(&b.email),
        "first_name" => a.first_name.cmp(&b.first_name),
        "last_name" => a.last_name.cmp(&b.last_name),
        "username" => a.username.cmp(&b.username),
        moment => shown(a)[moment].as_i64().cmp(&shown(b)[moment].as_i64()),
    });
    if let Some(id) = query.one("starting_after") {
        if order != "created_at" {
            let text = "starting_after can be used with the order created_at only.";
            return Err(ApiError::bad_parameter("starting_after", text));
        }
        let place = found.iter().position(|person| person.user_id == id).ok_or_else(|| ApiError::user_not_found(id))?;
        found.drain(..=place);
    }
    let page: Vec<Value> = found.into_iter().skip(offset).take(limit).map(shown).collect();
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn count(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    admit(&request, &idp)?;
    let count = matching(&idp.world(), &Query::of(&request))?.len();
    Ok(HttpResponse::Ok().json(json!({ "object": "total_count", "total_count": count })))
}

pub(super) async fn one(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    idp.counters().user();
    admit(&request, &idp)?;
    let world = idp.world();
    let person = world.person(&id).ok_or_else(|| ApiError::user_not_found(&id))?;
    Ok(HttpResponse::Ok().json(shapes::user(&world, person)))
}

pub(super) async fn update(
    request: HttpRequest,
    idp: web::Data<DevIdp>,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    admit(&request, &idp)?;
    let body = Body::read(&request, &bytes, &["first_name", "last_name", "username"])?;
    let update = UserUpdate {
        first_name: body.clearable("first_name")?,
        last_name: body.clearable("last_name")?,
        username: body.clearable("username")?,
    };
    let answer = idp.write(|changes| {
        let person = changes.update_user(&id, update)?;
        Ok(shapes::user(changes.world(), &person))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn delete(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    idp.write(|changes| changes.remove_person(&id))?;
    Ok(HttpResponse::Ok().json(shapes::deleted("user", &id)))
}

/// In the order in which they came to be.
fn matching<'a>(world: &'a World, query: &Query) -> Result<Vec<&'a Person>, ApiError> {
    let banned = query.flag("banned")?;
    let wanted = query.one("query").unwrap_or_default().to_lowercase();
    let belongs = |person: &Person| {
        let ids = person.memberships.iter().map(|held| held.organization.id.as_str());
        query.one("organization_id").is_none() || ids.into_iter().any(|id| query.allows("organization_id", id))
    };
    let says = |person: &Person| {
        let username = person.username.as_deref().unwrap_or_default();
        let texts = [&person.user_id, &person.email, &person.first_name, &person.last_name];
        texts.into_iter().map(String::as_str).chain([username]).any(|text| text.to_lowercase().contains(&wanted))
    };
    Ok(world
        .people
        .iter()
        .filter(|person| query.allows("user_id", &person.user_id) && query.allows("email_address", &person.email))
        .filter(|person| query.allows("username", person.username.as_deref().unwrap_or_default()))
        .filter(|person| belongs(person) && says(person) && banned.is_none_or(|banned| banned == person.banned))
        .collect())
}
