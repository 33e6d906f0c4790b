//! `audit_events`, `audit_heads`, `audit_signed_heads`, and those of the platform.

use diesel::prelude::*;
use diesel::sql_types::{self, BigInt, Binary, Bool, Nullable, Timestamptz};
use portal_audit::{AuditEntry, FoundHead, Hash, Head, Link, Signature, SignedHead, Trail};
use portal_kernel::{AccountId, AuditEventId, Id, RequestId, StoreError, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::corrupt;

/// The row of one of the two tables; the account stands beside it.
macro_rules! link_row {
    ($name:ident, $table:ident) => {
        #[derive(Queryable, Selectable, Insertable)]
        #[diesel(table_name = crate::schema::$table, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
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
        #[diesel(table_name = crate::schema::$table, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
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

/// A head beside one of its signed heads, if there are any. The platform has no account.
#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct FoundHeadRow {
    #[diesel(sql_type = Nullable<sql_types::Uuid>)]
    account_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
    #[diesel(sql_type = Bool)]
    is_signed: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    signed_seq: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    signed_hash: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    signed_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<Binary>)]
    signature: Option<Vec<u8>>,
}

impl FoundHeadRow {
    fn trail(&self) -> Trail {
        self.account_id.map(AccountId::from_uuid).into()
    }

    fn known(self) -> Option<(Head, Option<SignedHead>)> {
        let trail = self.trail();
        let head = head("audit_heads", (self.seq, self.hash)).ok()?;
        let (Some(seq), Some(hash), Some(at), Some(signature)) =
            (self.signed_seq, self.signed_hash, self.signed_at, self.signature)
        else {
            return Some((head, None));
        };
        Some((head, Some(SignedHeadRow { seq, hash, at, signature }.signed_head(trail).ok()?)))
    }
}

/// Rows of one head are beside each other.
pub(crate) fn found_heads(rows: Vec<FoundHeadRow>) -> Vec<FoundHead> {
    let mut heads: Vec<FoundHead> = Vec::new();
    for row in rows {
        let (trail, is_noted, known) = (row.trail(), row.is_signed, row.known());
        match heads.last_mut().filter(|last| last.trail == trail) {
            None => {
                let known = known.map(|(head, signed)| (head, signed.into_iter().collect()));
                heads.push(FoundHead { trail, is_noted, known });
            }
            Some(last) => {
                let before = last.known.take();
                last.known = before.zip(known).map(|((head, mut signed), (_, next))| {
                    signed.extend(next);
                    (head, signed)
                });
            }
        }
    }
    heads
}
