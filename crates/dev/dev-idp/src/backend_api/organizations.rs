//! `/v1/organizations`.

use actix_web::{HttpRequest, HttpResponse, web};

use super::input::{Body, Query, sort};
use super::{Answer, admit};
use crate::DevIdp;
use crate::changes::NewOrganization;
use crate::error::ApiError;
use crate::people::Organization;
use crate::shapes;

pub(super) async fn list(request: HttpRequest, idp: web::Data<DevIdp>) -> Answer {
    admit(&request, &idp)?;
    let query = Query::of(&request);
    let (order, descending) = query.order(&["created_at", "name", "members_count"])?;
    let counted = query.flag("include_members_count")? == Some(true);
    let wanted = query.one("query").unwrap_or_default().to_lowercase();
    let world = idp.world();
    let members = |organization: &Organization| world.members(&organization.id).count();
    let says = |organization: &Organization| {
        [&organization.id, &organization.name, &organization.slug]
            .into_iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    };
    let joined = |organization: &Organization| {
        query.one("user_id").is_none()
            || world.members(&organization.id).any(|(person, _)| query.allows("user_id", &person.user_id))
    };
    let mut found: Vec<&Organization> = world
        .organizations
        .iter()
        .filter(|organization| query.allows("organization_id", &organization.id))
        .filter(|organization| says(organization) && joined(organization))
        .collect();
    sort(&mut found, descending, |a, b| match order {
        "name" => a.name.cmp(&b.name),
        "members_count" => members(a).cmp(&members(b)),
        _ => a.created_at.cmp(&b.created_at),
    });
    let page = query.page(&found, |organization| {
        let mut shape = shapes::organization(&world, organization);
        if !counted && let Some(fields) = shape.as_object_mut() {
            fields.remove("members_count");
        }
        shape
    })?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn one(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let world = idp.world();
    let organization = world.organization(&id).ok_or_else(|| ApiError::organization_not_found(&id))?;
    Ok(HttpResponse::Ok().json(shapes::organization(&world, organization)))
}

pub(super) async fn create(request: HttpRequest, idp: web::Data<DevIdp>, bytes: web::Bytes) -> Answer {
    admit(&request, &idp)?;
    let body = Body::read(&request, &bytes, &["name", "slug", "created_by"])?;
    let new = NewOrganization {
        name: body.required("name")?,
        slug: body.filled("slug")?,
        created_by: body.text("created_by")?,
    };
    let answer = idp.write(|changes| {
        let organization = changes.create_organization(new)?;
        Ok(shapes::organization(changes.world(), &organization))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn update(
    request: HttpRequest,
    idp: web::Data<DevIdp>,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    admit(&request, &idp)?;
    let body = Body::read(&request, &bytes, &["name", "slug"])?;
    let (name, slug) = (body.filled("name")?, body.filled("slug")?);
    let answer = idp.write(|changes| {
        let organization = changes.update_organization(&id, name, slug)?;
        Ok(shapes::organization(changes.world(), &organization))
    })?;
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn delete(request: HttpRequest, idp: web::Data<DevIdp>, id: web::Path<String>) -> Answer {
    admit(&request, &idp)?;
    let deleted = idp.write(|changes| changes.delete_organization(&id))?;
    Ok(HttpResponse::Ok().json(deleted))
}
