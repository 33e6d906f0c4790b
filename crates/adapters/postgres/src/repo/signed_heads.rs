//! Signed heads of the audit trails.

use async_trait::async_trait;
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_audit::{Head, Link, SignedHead, SignedHeads, Signing, Trail};
use portal_kernel::{AccountId, Id, StoreError, Timestamp};
use uuid::Uuid;

use crate::reader::audit::{LinksFrom, read_head, read_links};
use crate::row::audit::{PlatformSignedHeadRow, SignedHeadRow};
use crate::schema::{audit_heads, audit_signed_heads, platform_audit_heads, platform_audit_signed_heads};
use crate::tx::PgTx;

/// The last second of the year 9999. What stands beyond cannot be read.
const LAST_SECOND: i64 = 253_402_300_799;

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl SignedHeads for PgTx {
    async fn unsigned(&mut self, _: &Signing, after: Option<Trail>, limit: usize) -> Result<Vec<Trail>, StoreError> {
        let mut unsigned = Vec::new();
        if after.is_none() && limit > 0 && self.platform_is_unsigned().await? {
            unsigned.push(Trail::Platform);
        }
        let signed = audit_signed_heads::table
            .filter(audit_signed_heads::account_id.eq(audit_heads::account_id))
            .filter(audit_signed_heads::seq.eq(audit_heads::seq))
            .filter(audit_signed_heads::hash.eq(audit_heads::hash));
        let beyond = audit_signed_heads::table
            .filter(audit_signed_heads::account_id.eq(audit_heads::account_id))
            .filter(audit_signed_heads::seq.gt(audit_heads::seq));
        let mut query = audit_heads::table
            .filter(not(exists(signed)).or(exists(beyond)))
            .order(audit_heads::account_id)
            .limit(rows(limit.saturating_sub(unsigned.len())))
            .select(audit_heads::account_id)
            .into_boxed();
        if let Some(Trail::Account(account)) = after {
            query = query.filter(audit_heads::account_id.gt(account.uuid()));
        }
        let found: QueryResult<Vec<Uuid>> = query.load(&mut self.conn).await;
        unsigned.extend(self.noted(found)?.into_iter().map(|id| Trail::Account(AccountId::from_uuid(id))));
        Ok(unsigned)
    }

    async fn last_signed(&mut self, _: &Signing, trail: Trail, limit: usize) -> Result<Vec<SignedHead>, StoreError> {
        let times = [0, LAST_SECOND].map(|second| Timestamp::from_unix_seconds(second).map(Timestamp::to_offset));
        let [Some(first), Some(last)] = times else { return Ok(Vec::new()) };
        match trail {
            Trail::Account(account) => {
                let found: QueryResult<Vec<SignedHeadRow>> = audit_signed_heads::table
                    .filter(audit_signed_heads::account_id.eq(account.uuid()))
                    .filter(audit_signed_heads::at.between(first, last))
                    .order(audit_signed_heads::seq.desc())
                    .limit(rows(limit))
                    .select(SignedHeadRow::as_select())
                    .load(&mut self.conn)
                    .await;
                self.noted(found)?.into_iter().map(|row| row.signed_head(trail)).collect()
            }
            Trail::Platform => {
                let found: QueryResult<Vec<PlatformSignedHeadRow>> = platform_audit_signed_heads::table
                    .filter(platform_audit_signed_heads::at.between(first, last))
                    .order(platform_audit_signed_heads::seq.desc())
                    .limit(rows(limit))
                    .select(PlatformSignedHeadRow::as_select())
                    .load(&mut self.conn)
                    .await;
                self.noted(found)?.into_iter().map(|row| row.signed_head(trail)).collect()
            }
        }
    }

    async fn head(&mut self, _: &Signing, trail: Trail) -> Result<Option<Head>, StoreError> {
        let found = read_head(&mut self.conn, trail).await;
        self.noted(found)?.transpose()
    }

    async fn links(&mut self, _: &Signing, trail: Trail, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
        // No id is greater than this one.
        let from = LinksFrom { after: Some((after, Uuid::max())), since: None, limit };
        let found = read_links(&mut self.conn, trail, from).await;
        self.noted(found)?.into_iter().collect()
    }

    async fn add(&mut self, _: &Signing, signed: SignedHead) -> Result<bool, StoreError> {
        let added = match signed.trail {
            Trail::Account(account) => {
                diesel::insert_into(audit_signed_heads::table)
                    .values((audit_signed_heads::account_id.eq(account.uuid()), SignedHeadRow::from(signed)))
                    .on_conflict_do_nothing()
                    .execute(&mut self.conn)
                    .await
            }
            Trail::Platform => {
                diesel::insert_into(platform_audit_signed_heads::table)
                    .values(PlatformSignedHeadRow::from(signed))
                    .on_conflict_do_nothing()
                    .execute(&mut self.conn)
                    .await
            }
        };
        Ok(self.noted(added)? == 1)
    }
}

impl PgTx {
    async fn platform_is_unsigned(&mut self) -> Result<bool, StoreError> {
        let signed = platform_audit_signed_heads::table
            .filter(platform_audit_signed_heads::seq.eq(platform_audit_heads::seq))
            .filter(platform_audit_signed_heads::hash.eq(platform_audit_heads::hash));
        let beyond =
            platform_audit_signed_heads::table.filter(platform_audit_signed_heads::seq.gt(platform_audit_heads::seq));
        let found = platform_audit_heads::table
            .filter(not(exists(signed)).or(exists(beyond)))
            .count()
            .get_result::<i64>(&mut self.conn)
            .await;
        Ok(self.noted(found)? > 0)
    }
}
