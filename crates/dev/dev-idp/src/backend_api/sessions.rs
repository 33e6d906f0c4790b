//! `/v1/sessions`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::input::{Body, Query};
use super::{Answer, admit};
use crate::DevIdp;
use crate::error::ApiError;
use crate::sessions::{Session, SessionStatus};
use crate::shapes;

const STATUSES: [&str; 7] = ["abandoned", "active", "ended", "expired", "removed", "replaced", "revoked"];

/// A bare array, unless `paginated=true` asks for `data` and `total_count`. The newest come first.
pub(super) async fn list(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    admit(&request, &idp)?;
    let query = Query::of(&request);
    let (limit, offset) = query.paging()?;
    let status = query.word("status", &STATUSES)?;
    if query.one("user_id").is_none() && query.one("client_id").is_none() {
        return Err(ApiError::missing_query("user_id, client_id"));
    }
    let now = idp.now().unix_millis();
    let world = idp.world();
    let found: Vec<&Session> = world
        .sessions
        .iter()
        .rev()
        .filter(|session| query.allows("user_id", &session.user_id) && query.allows("client_id", &session.client_id))
        .filter(|session| status.is_none_or(|status| session.at(now).status.as_str() == status))
        .collect();
    if query.flag("paginated")? == Some(true) {
        let page = query.page(&found, |session| shapes::session(&world, session, now))?;
        return Ok(HttpResponse::Ok().json(page));
    }
    let page = found.into_iter().skip(offset).take(limit);
    let page: Vec<Value> = page.map(|session| shapes::session(&world, session, now)).collect();
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn one(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let now = idp.now().unix_millis();
    let world = idp.world();
    let session = world.session(&id).ok_or_else(|| ApiError::session_not_found(&id))?;
    Ok(HttpResponse::Ok().json(shapes::session(&world, session, now)))
}

pub(super) async fn create(request: HttpRequest, idp: web::Data<DevIdp>, bytes: web::Bytes) -> Answer {
    admit(&request, &idp)?;
    let user_id = Body::read(&request, &bytes, &["user_id"])?.required("user_id")?;
    let answer = idp.write(|changes| {
        let session = changes.create_session(&user_id)?;
        Ok(shapes::session(changes.world(), &session, changes.now()))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Tokens that exist stay valid until they expire.
pub(super) async fn revoke(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let answer = idp.write(|changes| {
        let session = changes.end_session(&id, SessionStatus::Revoked)?;
        Ok(shapes::session(changes.world(), &session, changes.now()))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}
