//! What exists, in the JSON of the Backend API of 2026-05-12 and of webhooks. Times are in milliseconds.

use serde_json::{Value, json};

use crate::directory::{Invitation, World};
use crate::key::ISSUER;
use crate::people::{Membership, Organization, Person};
use crate::sessions::Session;

pub(crate) fn user(world: &World, person: &Person) -> Value {
    let email_id = format!("idn_{}", person.user_id.trim_start_matches("user_"));
    let status = if person.email_verified { "verified" } else { "unverified" };
    let own = || world.sessions.iter().filter(|session| session.user_id == person.user_id);
    let last_sign_in = own().map(|session| session.created_at).max().unwrap_or(person.created_at);
    let last_active = own().map(|session| session.last_active_at).max().unwrap_or(person.created_at);
    json!({
        "object": "user",
        "id": person.user_id,
        "external_id": null,
        "username": person.username,
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
        "banned": person.banned,
        "locked": false,
        "lockout_expires_in_seconds": null,
        "verification_attempts_remaining": 100,
        "delete_self_enabled": true,
        "create_organization_enabled": true,
        "create_organizations_limit": null,
        "legal_accepted_at": null,
        "last_sign_in_at": last_sign_in,
        "last_active_at": last_active,
        "created_at": person.created_at,
        "updated_at": person.updated_at,
    })
}

pub(crate) fn organization(world: &World, organization: &Organization) -> Value {
    json!({
        "object": "organization",
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "image_url": "",
        "has_image": false,
        "members_count": world.members(&organization.id).count(),
        "pending_invitations_count": world.pending_invitations(&organization.id),
        "max_allowed_memberships": 0,
        "admin_delete_enabled": true,
        "public_metadata": {},
        "private_metadata": {},
        "created_by": organization.created_by,
        "created_at": organization.created_at,
        "updated_at": organization.updated_at,
    })
}

pub(crate) fn membership(world: &World, person: &Person, membership: &Membership) -> Value {
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
        "organization": organization(world, &membership.organization),
        "public_user_data": {
            "user_id": person.user_id,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "image_url": person.image_url,
            "has_image": !person.image_url.is_empty(),
            "identifier": person.email,
            "username": person.username,
            "banned": person.banned,
        },
        "created_at": membership.created_at,
        "updated_at": membership.updated_at,
    })
}

pub(crate) fn invitation(world: &World, invitation: &Invitation, now: i64) -> Value {
    let inviter = invitation.inviter_id.as_deref().and_then(|id| world.person(id)).map(|person| {
        json!({
            "user_id": person.user_id,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "image_url": person.image_url,
            "has_image": !person.image_url.is_empty(),
            "identifier": person.email,
        })
    });
    let status = invitation.status(now);
    let url = (status == "pending").then(|| format!("{ISSUER}/v1/tickets/accept?ticket={}", invitation.id));
    json!({
        "object": "organization_invitation",
        "id": invitation.id,
        "email_address": invitation.email,
        "role": invitation.role,
        "role_name": role_name(&invitation.role),
        "organization_id": invitation.organization_id,
        "inviter_id": invitation.inviter_id,
        "public_inviter_data": inviter,
        "status": status,
        "public_metadata": {},
        "private_metadata": {},
        "url": url,
        "expires_at": invitation.expires_at,
        "created_at": invitation.created_at,
        "updated_at": invitation.updated_at,
    })
}

/// An invitation as webhooks tell of it.
pub(crate) fn invitation_event(world: &World, held: &Invitation, now: i64) -> Value {
    let mut event = invitation(world, held, now);
    let organization = world.organization(&held.organization_id).map(|organization| {
        json!({
            "id": organization.id,
            "name": organization.name,
            "slug": organization.slug,
            "image_url": "",
            "has_image": false,
        })
    });
    event["data"] = json!({ "public_organization_data": organization });
    if let Some(user_id) = &held.user_id {
        event["user_id"] = json!(user_id);
    }
    event
}

pub(crate) fn session(world: &World, session: &Session, now: i64) -> Value {
    let organization = world.person(&session.user_id).and_then(|person| person.active_organization.as_deref());
    json!({
        "object": "session",
        "id": session.id,
        "user_id": session.user_id,
        "client_id": session.client_id,
        "actor": null,
        "status": session.at(now).status.as_str(),
        "last_active_organization_id": organization,
        "last_active_at": session.last_active_at,
        "latest_activity": {
            "object": "session_activity",
            "id": format!("sess_activity_{}", session.id.trim_start_matches("sess_")),
            "device_type": "Linux",
            "is_mobile": false,
            "browser_name": "Firefox",
            "browser_version": "140.0",
            "ip_address": "127.0.0.1",
            "city": "",
            "country": "",
        },
        "expire_at": session.expire_at,
        "abandon_at": session.abandon_at,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "tasks": null,
    })
}

/// A session as webhooks tell of it.
pub(crate) fn session_event(world: &World, held: &Session, now: i64) -> Value {
    let mut event = session(world, held, now);
    event["user"] = world.person(&held.user_id).map_or(Value::Null, |person| user(world, person));
    if let Some(fields) = event.as_object_mut() {
        fields.remove("tasks");
    }
    event
}

pub(crate) fn deleted(object: &str, id: &str) -> Value {
    json!({ "object": object, "id": id, "deleted": true })
}

fn role_name(role: &str) -> String {
    let bare = role.strip_prefix("org:").unwrap_or(role);
    let mut letters = bare.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
