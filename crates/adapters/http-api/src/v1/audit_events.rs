//! What was done in an account, as its members read it.

use actix_web::{HttpResponse, web};
use portal_audit::{AuditAction, AuditEvent, AuditFilter, AuditTrail};
use portal_authz::action::ReadAuditTrail;
use portal_http_kit::{Endpoint, Problem, ProblemBody, Routes, Session};
use portal_kernel::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::page::PageQuery;

/// Who did it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView {
    /// `user`, `impersonator`, `agent`, `service` or `system`.
    kind: String,
    /// Id of the user or token; the part of the program for `system`.
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    /// Who really acted, where somebody acted as the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
}

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
struct EventView {
    #[schema(example = "aud_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    #[schema(example = "api_key.created")]
    action: String,
    actor: ActorView,
    /// Id of what it was done to.
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    subject: String,
    /// `done`; of what is done elsewhere `pending`, `succeeded`, `failed`, or `unknown` if nobody told for an hour.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "req_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    request_id: Option<String>,
    /// Network of the caller's address: /24 for IPv4, /48 for IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "192.0.2.0/24")]
    address_prefix: Option<String>,
    /// What an operator gave as the reason, or what made the program do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<AuditEvent> for EventView {
    fn from(AuditEvent { entry, outcome }: AuditEvent) -> Self {
        Self {
            id: entry.id.to_string(),
            at: entry.at.to_string(),
            action: entry.action,
            actor: ActorView { kind: entry.actor_kind, id: entry.actor_id, behind: entry.actor_behind },
            subject: entry.subject,
            outcome: outcome.as_str(),
            request_id: entry.request_id.map(|id| id.to_string()),
            address_prefix: entry.address_prefix,
            reason: entry.reason,
        }
    }
}

/// Page and filters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// Rows at most, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only this action.
    #[param(example = "api_key.created")]
    action: Option<String>,
    /// Only what this user or token did.
    #[param(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    actor: Option<String>,
    /// Only of this time or later; RFC 3339.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only before this time; RFC 3339.
    #[param(format = DateTime)]
    until: Option<String>,
}

impl EventQuery {
    fn filter(&self) -> Result<AuditFilter, ApiError> {
        let action = self.action.as_deref().map(|text| AuditAction::parse(text).ok_or("there is no such action"));
        Ok(AuditFilter {
            action: action.transpose().map_err(invalid)?,
            actor: self.actor.as_deref().map(actor).transpose()?,
            since: moment(self.since.as_deref())?,
            until: moment(self.until.as_deref())?,
        })
    }
}

/// Ids of ours, and names of jobs: nothing else ever acted.
fn actor(text: &str) -> Result<String, ApiError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.chars().all(is_name) { Ok(text.to_owned()) } else { Err(invalid("there is no such actor")) }
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    text.map(str::parse).transpose().map_err(invalid)
}

fn invalid(detail: impl std::fmt::Display) -> ApiError {
    Problem::bad_request("invalid_query", "The query string is not valid").detail(detail).into()
}

/// A page of events.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventList)]
struct EventList {
    /// Newest first.
    data: Vec<EventView>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List what was done in an account
///
/// Owners and admins see everything, other members what they did themselves.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/audit-events", operation_id = "listAuditEvents", tag = "audit",
    params(("account_id" = String, Path), EventQuery),
    responses(
        (status = 200, description = "A page of events", body = EventList),
        (status = 404, description = "No such account", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(
    who: Session<ReadAuditTrail>,
    trail: web::Data<AuditTrail>,
    account: web::Path<AccountId>,
    web::Query(query): web::Query<EventQuery>,
) -> Result<HttpResponse, ApiError> {
    let filter = query.filter()?;
    let request = PageQuery { limit: query.limit, cursor: query.cursor }.parse()?;
    let page = trail.list(who.principal(), *account, filter, request).await?;
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(HttpResponse::Ok().json(EventList { data: page.items.into_iter().map(EventView::from).collect(), next_cursor }))
}

pub(crate) fn routes() -> Routes {
    Routes::default().with(Endpoint::new::<__path_list, _, _, _>(list))
}
