//! Signed heads of the audit trails.

use async_trait::async_trait;
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_audit::{Head, SignedHead, SignedHeads, Signing, Trail};
use portal_kernel::{AccountId, Id, StoreError};
use uuid::Uuid;

use crate::row::audit::{PlatformSignedHeadRow, SignedHeadRow, head};
use crate::schema::{audit_heads, audit_signed_heads, platform_audit_heads, platform_audit_signed_heads};
use crate::tx::PgTx;

#[async_trait]
impl SignedHeads for PgTx {
    async fn unsigned(&mut self, _: &Signing, limit: usize) -> Result<Vec<(Trail, Head)>, StoreError> {
        let signed =
            platform_audit_signed_heads::table.filter(platform_audit_signed_heads::seq.ge(platform_audit_heads::seq));
        let found: QueryResult<Vec<(i64, Vec<u8>)>> = platform_audit_heads::table
            .filter(not(exists(signed)))
            .select((platform_audit_heads::seq, platform_audit_heads::hash))
            .load(&mut self.conn)
            .await;
        let of_platform =
            self.noted(found)?.into_iter().map(|row| Ok((Trail::Platform, head("platform_audit_heads", row)?)));
        let mut unsigned = of_platform.collect::<Result<Vec<_>, StoreError>>()?;
        let rest = i64::try_from(limit.saturating_sub(unsigned.len())).unwrap_or(i64::MAX);
        let signed = audit_signed_heads::table
            .filter(audit_signed_heads::account_id.eq(audit_heads::account_id))
            .filter(audit_signed_heads::seq.ge(audit_heads::seq));
        let found: QueryResult<Vec<(Uuid, i64, Vec<u8>)>> = audit_heads::table
            .filter(not(exists(signed)))
            .limit(rest)
            .select((audit_heads::account_id, audit_heads::seq, audit_heads::hash))
            .load(&mut self.conn)
            .await;
        for (account, seq, hash) in self.noted(found)? {
            let trail = Trail::Account(AccountId::from_uuid(account));
            unsigned.push((trail, head("audit_heads", (seq, hash))?));
        }
        Ok(unsigned)
    }

    async fn add(&mut self, _: &Signing, signed: SignedHead) -> Result<bool, StoreError> {
        let added = match signed.trail {
            Trail::Account(account) => {
                diesel::insert_into(audit_signed_heads::table)
                    .values((audit_signed_heads::account_id.eq(account.uuid()), SignedHeadRow::from(signed)))
                    .on_conflict((audit_signed_heads::account_id, audit_signed_heads::seq))
                    .do_nothing()
                    .execute(&mut self.conn)
                    .await
            }
            Trail::Platform => {
                diesel::insert_into(platform_audit_signed_heads::table)
                    .values(PlatformSignedHeadRow::from(signed))
                    .on_conflict(platform_audit_signed_heads::seq)
                    .do_nothing()
                    .execute(&mut self.conn)
                    .await
            }
        };
        Ok(self.noted(added)? == 1)
    }
}
