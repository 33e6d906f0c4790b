//! A record as it is stored: flat, and text wherever a later version may know more values.

use portal_kernel::{AuditEventId, RequestId, Timestamp};

use crate::{AuditRecord, Trail};

/// What a chain covers and an export shows. Read back it is whatever the store holds, also what no version ever wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditEventId,
    /// When.
    pub at: Timestamp,
    /// Whose trail.
    pub trail: Trail,
    /// `user`, `impersonator`, `agent`, `service` or `system`.
    pub actor_kind: String,
    /// The id of the user or token, or the job's name.
    pub actor_id: String,
    /// Who really acted, where somebody acted as the user.
    pub actor_behind: Option<String>,
    /// Through which session or token.
    pub credential: Option<String>,
    /// What, as [`crate::AuditAction`] writes it.
    pub action: String,
    /// On what.
    pub subject: String,
    /// As [`crate::Effect`] writes it.
    pub effect: String,
    /// The opened record whose end this one tells.
    pub closes: Option<AuditEventId>,
    /// Through which request.
    pub request_id: Option<RequestId>,
    /// From where.
    pub address_prefix: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl From<AuditRecord> for AuditEntry {
    fn from(record: AuditRecord) -> Self {
        Self {
            id: record.id,
            at: record.at,
            trail: record.account.into(),
            actor_kind: record.actor.kind.to_owned(),
            actor_id: record.actor.id,
            actor_behind: record.actor.behind,
            credential: record.provenance.credential,
            action: record.action.as_str().to_owned(),
            subject: record.subject.to_string(),
            effect: record.effect.as_str().to_owned(),
            closes: record.effect.closes(),
            request_id: record.provenance.request_id,
            address_prefix: record.provenance.address_prefix,
            reason: record.provenance.reason,
        }
    }
}
