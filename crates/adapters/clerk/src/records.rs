//! Clerk's records of people, organizations and memberships, as the Backend API and webhooks show them. An error says what is missing,
//! and nothing that was sent.

use portal_identity::{
    ProviderMembership, ProviderMembershipId, ProviderOrganization, ProviderOrganizationId, ProviderUser,
    ProviderUserId,
};
use portal_kernel::Timestamp;
use serde_json::Value;

use crate::times::from_millis;

/// What is missing or of another type counts as unknown, except for the id and the version of the record.
pub(crate) fn user(body: &Value, asked: &ProviderUserId) -> Result<ProviderUser, &'static str> {
    if body.get("id").and_then(Value::as_str) != Some(asked.as_str()) {
        return Err("a user without the id that was asked for");
    }
    let email = primary_email(body);
    let address = email.and_then(|email| text(email, "email_address"));
    Ok(ProviderUser {
        id: asked.clone(),
        email_verified: address.is_some() && email.is_some_and(is_verified),
        email: address,
        first_name: text(body, "first_name"),
        last_name: text(body, "last_name"),
        image_url: text(body, "image_url"),
        banned: body.get("banned").and_then(Value::as_bool) == Some(true),
        updated_at: updated_at(body).ok_or("a user without the time of the last change")?,
    })
}

fn primary_email(user: &Value) -> Option<&Value> {
    let primary = text(user, "primary_email_address_id")?;
    user.get("email_addresses")?
        .as_array()?
        .iter()
        .find(|email| email.get("id").and_then(Value::as_str) == Some(&primary))
}

/// A missing verification is none.
fn is_verified(email: &Value) -> bool {
    email.pointer("/verification/status").and_then(Value::as_str) == Some("verified")
}

/// A membership that cannot be read must not look like one that ended.
pub(crate) fn membership(entry: &Value, user: &ProviderUserId) -> Result<ProviderMembership, &'static str> {
    let id = text(entry, "id").and_then(|id| ProviderMembershipId::parse(&id).ok());
    let organization = entry.get("organization").ok_or("a membership without organization")?;
    Ok(ProviderMembership {
        id: id.ok_or("a membership without id")?,
        organization: self::organization(organization)?,
        user: user.clone(),
        role: text(entry, "role").ok_or("a membership without role")?,
        updated_at: updated_at(entry).ok_or("a membership without the time of the last change")?,
    })
}

pub(crate) fn organization(record: &Value) -> Result<ProviderOrganization, &'static str> {
    let id = text(record, "id").and_then(|id| ProviderOrganizationId::parse(&id).ok());
    Ok(ProviderOrganization {
        id: id.ok_or("an organization without id")?,
        name: text(record, "name").unwrap_or_default(),
        created_by: text(record, "created_by").and_then(|id| ProviderUserId::parse(&id).ok()),
        updated_at: updated_at(record).ok_or("an organization without the time of the last change")?,
    })
}

fn updated_at(record: &Value) -> Option<Timestamp> {
    record.get("updated_at").and_then(Value::as_i64).and_then(from_millis)
}

pub(crate) fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
