//! Clerk's webhooks as facts: which events are kept, and how their data is read.

use portal_identity::webhook::{WebhookHeaders, WebhookMessage, WebhookNews, WebhookRefused};
use portal_identity::{ProviderEvent, ProviderMembershipId, ProviderOrganizationId, ProviderSessionId, ProviderUserId};
use portal_kernel::Timestamp;
use serde_json::Value;

use crate::records;
use crate::webhook::WebhookVerifier;
use crate::webhook_event::WebhookEvent;

/// Longest name of an event that is kept in records; Clerk's have up to 35 characters.
const LONGEST_KIND: usize = 64;

const SECRET_MISSING: WebhookRefused = WebhookRefused("webhook-secret-missing");

/// The webhooks of one instance.
#[derive(Debug, Clone)]
pub struct ClerkWebhooks {
    verifier: Option<WebhookVerifier>,
}

impl ClerkWebhooks {
    /// With the secrets of the endpoint.
    pub fn new(verifier: WebhookVerifier) -> Self {
        Self { verifier: Some(verifier) }
    }

    /// Reads what was verified before, and refuses every delivery.
    pub fn without_secret() -> Self {
        Self { verifier: None }
    }
}

impl portal_identity::WebhookVerifier for ClerkWebhooks {
    fn verify(&self, headers: &WebhookHeaders<'_>, body: &[u8], now: Timestamp) -> Result<String, WebhookRefused> {
        let headers = headers.iter().map(|(name, value)| (*name, *value));
        let verifier = self.verifier.as_ref().ok_or(SECRET_MISSING)?;
        let delivery = verifier.verify(headers, body, now).map_err(|error| WebhookRefused(error.reason()))?;
        Ok(delivery.id().to_owned())
    }

    fn screen(&self, headers: &WebhookHeaders<'_>, now: Timestamp) -> Result<(), WebhookRefused> {
        let headers = headers.iter().map(|(name, value)| (*name, *value));
        let verifier = self.verifier.as_ref().ok_or(SECRET_MISSING)?;
        verifier.screen(headers, now).map_err(|error| WebhookRefused(error.reason()))
    }

    fn read(&self, body: &[u8]) -> WebhookMessage {
        let event = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<WebhookEvent>(text).ok());
        let Some(event) = event else {
            return WebhookMessage { kind: String::new(), news: WebhookNews::Unreadable("the body is no event") };
        };
        let kind = event.kind.chars().filter(|c| !c.is_control()).take(LONGEST_KIND).collect();
        let news = match (news(&event.kind, &event.data), event.kind.as_str()) {
            (Ok(Some(event)), _) => WebhookNews::Event(Box::new(event)),
            (Ok(None), _) => WebhookNews::Nothing,
            // Clerk's description lets the person be missing; the id of the membership is enough.
            (Err(reason), "organizationMembership.deleted") => id(&event.data, ProviderMembershipId::parse)
                .map_or(WebhookNews::Unreadable(reason), WebhookNews::MembershipDeleted),
            (Err(reason), _) => WebhookNews::Unreadable(reason),
        };
        WebhookMessage { kind, news }
    }
}

/// The families that are not kept here belong to other parts of the portal, or to none; unknown events may come at any time.
fn news(kind: &str, data: &Value) -> Result<Option<ProviderEvent>, &'static str> {
    let event = match kind {
        "user.created" | "user.updated" => {
            let id = id(data, ProviderUserId::parse).ok_or("a user without id")?;
            ProviderEvent::User(records::user(data, &id)?)
        }
        "organization.created" | "organization.updated" => ProviderEvent::Organization(records::organization(data)?),
        "organizationMembership.created" | "organizationMembership.updated" => {
            ProviderEvent::Membership(records::membership(data, &member(data)?)?)
        }
        "organizationMembership.deleted" => ProviderEvent::MembershipDeleted {
            id: id(data, ProviderMembershipId::parse).ok_or("a membership without id")?,
            organization: data
                .get("organization")
                .and_then(|organization| id(organization, ProviderOrganizationId::parse))
                .ok_or("a membership without organization")?,
            user: member(data)?,
        },
        "user.deleted" => return deleted(data, ProviderUserId::parse, ProviderEvent::UserDeleted),
        "organization.deleted" => {
            return deleted(data, ProviderOrganizationId::parse, ProviderEvent::OrganizationDeleted);
        }
        "session.ended" | "session.removed" | "session.revoked" => {
            ProviderEvent::SessionEnded(id(data, ProviderSessionId::parse).ok_or("a session without id")?)
        }
        _ => return Ok(None),
    };
    Ok(Some(event))
}

fn id<T, E>(data: &Value, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    data.get("id").and_then(Value::as_str).and_then(|id| parse(id).ok())
}

fn member(data: &Value) -> Result<ProviderUserId, &'static str> {
    let id = data.pointer("/public_user_data/user_id").and_then(Value::as_str);
    id.and_then(|id| ProviderUserId::parse(id).ok()).ok_or("a membership of nobody")
}

/// Clerk's description lets the id be missing: then nothing is told.
fn deleted<T, E>(
    data: &Value,
    parse: impl Fn(&str) -> Result<T, E>,
    event: impl Fn(T) -> ProviderEvent,
) -> Result<Option<ProviderEvent>, &'static str> {
    match data.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => id(data, parse).map(event).map(Some).ok_or("an id that cannot be one"),
    }
}

#[cfg(test)]
mod tests {
    use portal_identity::WebhookVerifier as _;
    use serde_json::json;

    use super::*;
    use crate::webhook::WebhookSecret;

    fn webhooks() -> ClerkWebhooks {
        ClerkWebhooks::new(WebhookVerifier::new(WebhookSecret::parse("whsec_c2VjcmV0").unwrap()))
    }

    fn read(kind: &str, data: &Value) -> WebhookNews {
        let body = json!({ "object": "event", "type": kind, "data": data });
        let message = webhooks().read(body.to_string().as_bytes());
        assert_eq!(message.kind, kind);
        message.news
    }

    fn organization() -> Value {
        json!({ "id": "org_1", "name": "Acme", "created_by": "user_1", "updated_at": 1_700_000_000_000_i64 })
    }

    fn membership() -> Value {
        json!({
            "id": "orgmem_1", "role": "org:admin", "organization": organization(),
            "public_user_data": { "user_id": "user_1" }, "updated_at": 1_700_000_000_000_i64,
        })
    }

    #[test]
    fn only_what_was_signed_has_an_id() {
        let (now, body) = (Timestamp::from_unix_seconds(1_700_000_000).unwrap(), b"{}");
        let signature = WebhookSecret::parse("whsec_c2VjcmV0").unwrap().sign("msg_1", now, body);
        let headers = |id| {
            [("svix-id", id), ("svix-timestamp", "1700000000"), ("svix-signature", signature.as_str())]
                .map(|(name, value): (&str, &str)| (name, value.as_bytes()))
        };
        assert_eq!(webhooks().verify(&headers("msg_1"), body, now), Ok("msg_1".to_owned()));
        for (id, body) in [("msg_2", &body[..]), ("msg_1", b"{} ")] {
            let refused = Err(WebhookRefused("webhook-signature-invalid"));
            assert_eq!(webhooks().verify(&headers(id), body, now), refused, "{id}");
        }
        let unset = ClerkWebhooks::without_secret().verify(&headers("msg_1"), body, now);
        assert_eq!(unset, Err(WebhookRefused("webhook-secret-missing")));
    }

    #[test]
    fn each_kind_that_is_kept_becomes_its_fact() {
        let user = json!({ "id": "user_1", "updated_at": 1_700_000_000_000_i64 });
        let gone = |id: &str| json!({ "object": "x", "id": id, "deleted": true });
        for (kind, data, expected) in [
            ("user.created", user.clone(), "User(ProviderUser { id: user_1"),
            ("user.updated", user, "User(ProviderUser { id: user_1"),
            ("user.deleted", gone("user_1"), "UserDeleted(user_1)"),
            ("organization.created", organization(), "Organization(ProviderOrganization { id: org_1"),
            ("organization.updated", organization(), "Organization(ProviderOrganization { id: org_1"),
            ("organization.deleted", gone("org_1"), "OrganizationDeleted(org_1)"),
            ("organizationMembership.created", membership(), "Membership(ProviderMembership { id: orgmem_1"),
            ("organizationMembership.updated", membership(), "Membership(ProviderMembership { id: orgmem_1"),
            (
                "organizationMembership.deleted",
                membership(),
                "MembershipDeleted { id: orgmem_1, organization: org_1, user: user_1 }",
            ),
            ("session.ended", gone("sess_1"), "SessionEnded(sess_1)"),
            ("session.removed", gone("sess_1"), "SessionEnded(sess_1)"),
            ("session.revoked", gone("sess_1"), "SessionEnded(sess_1)"),
        ] {
            let WebhookNews::Event(event) = read(kind, &data) else { panic!("{kind} is kept") };
            assert!(format!("{event:?}").starts_with(expected), "{kind}: {event:?}");
        }
    }

    #[test]
    fn the_other_kinds_of_clerks_list_and_unknown_ones_tell_nothing() {
        let others = [
            "session.created",
            "session.pending",
            "organizationInvitation.created",
            "organizationInvitation.accepted",
            "organizationInvitation.revoked",
            "organizationDomain.created",
            "organizationDomain.updated",
            "organizationDomain.deleted",
            "role.created",
            "role.updated",
            "role.deleted",
            "permission.created",
            "permission.updated",
            "permission.deleted",
            "email.created",
            "sms.created",
            "waitlistEntry.created",
            "waitlistEntry.updated",
            "subscription.created",
            "subscription.updated",
            "subscription.active",
            "subscription.pastDue",
            "subscriptionItem.abandoned",
            "subscriptionItem.active",
            "subscriptionItem.canceled",
            "subscriptionItem.ended",
            "subscriptionItem.freeTrialEnding",
            "subscriptionItem.incomplete",
            "subscriptionItem.pastDue",
            "subscriptionItem.upcoming",
            "subscriptionItem.updated",
            "paymentAttempt.created",
            "paymentAttempt.updated",
        ];
        assert_eq!(others.len() + 12, 45, "with those that are kept, all of Clerk's");
        for kind in others.into_iter().chain(["galaxy.exploded"]) {
            for data in [json!({}), Value::Null, json!([1])] {
                assert_eq!(read(kind, &data), WebhookNews::Nothing, "{kind}");
            }
        }
        assert_eq!(read("user.deleted", &json!({ "deleted": true })), WebhookNews::Nothing, "without an id");
    }

    #[test]
    fn what_is_kept_and_cannot_be_read_says_why() {
        let mut without_version = organization();
        without_version.as_object_mut().unwrap().remove("updated_at");
        let mut of_nobody = membership();
        of_nobody["public_user_data"] = Value::Null;
        for (kind, data, why) in [
            ("user.created", json!({}), "a user without id"),
            ("user.created", json!({ "id": "user_../x" }), "a user without id"),
            ("user.updated", json!({ "id": "user_1" }), "a user without the time of the last change"),
            ("organization.updated", without_version, "an organization without the time of the last change"),
            ("organizationMembership.created", of_nobody, "a membership of nobody"),
            ("organizationMembership.deleted", json!({}), "a membership without id"),
            ("organization.deleted", json!({ "id": 7 }), "an id that cannot be one"),
            ("session.ended", Value::Null, "a session without id"),
        ] {
            assert_eq!(read(kind, &data), WebhookNews::Unreadable(why), "{kind} {data}");
        }
        let id = ProviderMembershipId::parse("orgmem_1").unwrap();
        let gone = WebhookNews::MembershipDeleted(id);
        for left in [json!({ "id": "orgmem_1" }), json!({ "id": "orgmem_1", "organization": organization() })] {
            assert_eq!(read("organizationMembership.deleted", &left), gone, "the id is enough");
        }
        let message = webhooks().read(b"\xff");
        assert_eq!(message.news, WebhookNews::Unreadable("the body is no event"));
    }
}
