//! `audit_events` and `platform_audit_events`.

use diesel::prelude::*;
use portal_audit::AuditRecord;
use portal_kernel::{AccountId, Id};
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Insertable)]
#[diesel(table_name = crate::schema::platform_audit_events)]
pub(crate) struct PlatformAuditRow {
    id: Uuid,
    at: OffsetDateTime,
    actor_kind: &'static str,
    actor_id: String,
    actor_behind: Option<String>,
    action: &'static str,
    subject: String,
    request_id: Option<Uuid>,
    address_prefix: Option<String>,
    reason: Option<String>,
}

impl From<AuditRecord> for PlatformAuditRow {
    fn from(record: AuditRecord) -> Self {
        Self {
            id: record.id.uuid(),
            at: record.at.to_offset(),
            actor_kind: record.actor.kind,
            actor_id: record.actor.id,
            actor_behind: record.actor.behind,
            action: record.action.as_str(),
            subject: record.subject.to_string(),
            request_id: record.provenance.request_id.map(Id::uuid),
            address_prefix: record.provenance.address_prefix,
            reason: record.provenance.reason,
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = crate::schema::audit_events)]
pub(crate) struct AuditRow {
    account_id: Uuid,
    id: Uuid,
    at: OffsetDateTime,
    actor_kind: &'static str,
    actor_id: String,
    actor_behind: Option<String>,
    action: &'static str,
    subject: String,
    request_id: Option<Uuid>,
    address_prefix: Option<String>,
    reason: Option<String>,
}

impl AuditRow {
    pub(crate) fn new(account: AccountId, record: AuditRecord) -> Self {
        let row = PlatformAuditRow::from(record);
        Self {
            account_id: account.uuid(),
            id: row.id,
            at: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_behind: row.actor_behind,
            action: row.action,
            subject: row.subject,
            request_id: row.request_id,
            address_prefix: row.address_prefix,
            reason: row.reason,
        }
    }
}
