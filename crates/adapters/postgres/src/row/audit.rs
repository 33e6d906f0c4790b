//! `audit_events`, `audit_heads`, `audit_signed_heads`, and those of the platform.

use diesel::prelude::*;
use portal_audit::{AuditEntry, Hash, Head, Link, Signature, SignedHead, Trail};
use portal_kernel::{AuditEventId, Id, RequestId, StoreError, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::corrupt;

/// The row of one of the two tables; the account stands beside it.
macro_rules! link_row {
    ($name:ident, $table:ident) => {
        #[derive(Queryable, Selectable, Insertable)]
        #[diesel(table_name = crate::schema::$table, check_for_backend(diesel::pg::Pg))]
        pub(crate) struct $name {
            id: Uuid,
            at: OffsetDateTime,
            actor_kind: String,
            actor_id: String,
            actor_behind: Option<String>,
            action: String,
            subject: String,
            request_id: Option<Uuid>,
            address_prefix: Option<String>,
            reason: Option<String>,
            seq: i64,
            hash: Vec<u8>,
            credential_id: Option<String>,
            effect: String,
            closes: Option<Uuid>,
        }

        impl From<Link> for $name {
            fn from(Link { seq, hash, entry }: Link) -> Self {
                Self {
                    id: entry.id.uuid(),
                    at: entry.at.to_offset(),
                    actor_kind: entry.actor_kind,
                    actor_id: entry.actor_id,
                    actor_behind: entry.actor_behind,
                    action: entry.action,
                    subject: entry.subject,
                    request_id: entry.request_id.map(Id::uuid),
                    address_prefix: entry.address_prefix,
                    reason: entry.reason,
                    seq,
                    hash: hash.as_bytes().to_vec(),
                    credential_id: entry.credential,
                    effect: entry.effect,
                    closes: entry.closes.map(Id::uuid),
                }
            }
        }

        impl $name {
            pub(crate) fn link(self, trail: Trail) -> Result<Link, StoreError> {
                let entry = AuditEntry {
                    id: AuditEventId::from_uuid(self.id),
                    at: Timestamp::new(self.at),
                    trail,
                    actor_kind: self.actor_kind,
                    actor_id: self.actor_id,
                    actor_behind: self.actor_behind,
                    credential: self.credential_id,
                    action: self.action,
                    subject: self.subject,
                    effect: self.effect,
                    closes: self.closes.map(AuditEventId::from_uuid),
                    request_id: self.request_id.map(RequestId::from_uuid),
                    address_prefix: self.address_prefix,
                    reason: self.reason,
                };
                Ok(Link { seq: self.seq, hash: hash(stringify!($table), &self.hash)?, entry })
            }
        }
    };
}

link_row!(LinkRow, audit_events);
link_row!(PlatformLinkRow, platform_audit_events);

fn hash(table: &'static str, stored: &[u8]) -> Result<Hash, StoreError> {
    Hash::from_bytes(stored).ok_or_else(|| corrupt(table, "hash"))
}

pub(crate) fn head(table: &'static str, (seq, stored): (i64, Vec<u8>)) -> Result<Head, StoreError> {
    Ok(Head { seq, hash: hash(table, &stored)? })
}

/// The row of one of the two tables; the account stands beside it.
macro_rules! signed_head_row {
    ($name:ident, $table:ident) => {
        #[derive(Queryable, Selectable, Insertable)]
        #[diesel(table_name = crate::schema::$table, check_for_backend(diesel::pg::Pg))]
        pub(crate) struct $name {
            seq: i64,
            hash: Vec<u8>,
            at: OffsetDateTime,
            signature: Vec<u8>,
        }

        impl From<SignedHead> for $name {
            fn from(SignedHead { head, at, signature, .. }: SignedHead) -> Self {
                Self {
                    seq: head.seq,
                    hash: head.hash.as_bytes().to_vec(),
                    at: at.to_offset(),
                    signature: signature.as_bytes().to_vec(),
                }
            }
        }

        impl $name {
            pub(crate) fn signed_head(self, trail: Trail) -> Result<SignedHead, StoreError> {
                const TABLE: &str = stringify!($table);
                let signature = Signature::from_bytes(&self.signature).ok_or_else(|| corrupt(TABLE, "signature"))?;
                let head = head(TABLE, (self.seq, self.hash))?;
                Ok(SignedHead { trail, head, at: Timestamp::new(self.at), signature })
            }
        }
    };
}

signed_head_row!(SignedHeadRow, audit_signed_heads);
signed_head_row!(PlatformSignedHeadRow, platform_audit_signed_heads);
