//! Signed heads of the audit trails.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::query_builder::SqlQuery;
use diesel::sql_types::{self, Array, BigInt, Binary, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_audit::{FoundHead, Head, Link, SignedHead, SignedHeads, Signing, Trail};
use portal_kernel::{Id, StoreError, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::reader::audit::{LinksFrom, read_head, read_links};
use crate::row::audit::{PlatformSignedHeadRow, SignedHeadRow, found_heads};
use crate::schema::{audit_signed_heads, platform_audit_heads, platform_audit_signed_heads};
use crate::tx::PgTx;

/// The last second of the year 9999. What stands beyond cannot be read.
const LAST_SECOND: i64 = 253_402_300_799;

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Heads of accounts behind one, each with the two signed heads of the greatest numbers.
macro_rules! account_heads {
    ($which:literal) => {
        concat!(
            "SELECT head.account_id, head.seq, head.hash, head.is_signed, signed.seq AS signed_seq, \
                 signed.hash AS signed_hash, signed.at AS signed_at, signed.signature \
             FROM (SELECT account_id, seq, hash, is_signed FROM audit_heads WHERE account_id > $1",
            $which,
            " ORDER BY account_id LIMIT $2) AS head \
             LEFT JOIN LATERAL (SELECT seq, hash, at, signature FROM audit_signed_heads WHERE account_id = head.account_id \
                 AND at BETWEEN $3 AND $4 ORDER BY seq DESC, signature DESC LIMIT 2) AS signed ON true \
             ORDER BY head.account_id, signed.seq DESC, signed.signature DESC"
        )
    };
}

/// Where all are noted as signed, what says so reads none.
const UNSIGNED_HEADS: &str = account_heads!(" AND NOT is_signed");

const ALL_HEADS: &str = account_heads!("");

/// The same of the platform's.
const PLATFORM_HEAD: &str = "SELECT NULL::uuid AS account_id, head.seq, head.hash, head.is_signed, signed.seq AS signed_seq, \
         signed.hash AS signed_hash, signed.at AS signed_at, signed.signature \
     FROM platform_audit_heads AS head \
     LEFT JOIN LATERAL (SELECT seq, hash, at, signature FROM platform_audit_signed_heads \
         WHERE at BETWEEN $1 AND $2 ORDER BY seq DESC, signature DESC LIMIT 2) AS signed ON true \
     ORDER BY signed.seq DESC, signed.signature DESC";

/// Passes over heads that somebody moves: writers wait for nobody who waits for others.
const NOTE_HEADS: &str = "UPDATE audit_heads SET signed_hash = free.hash \
     FROM (SELECT head.account_id, head.hash FROM audit_heads AS head \
         JOIN unnest($1, $2) AS noted (account_id, hash) ON noted.account_id = head.account_id AND noted.hash = head.hash \
         WHERE NOT head.is_signed FOR NO KEY UPDATE OF head SKIP LOCKED) AS free \
     WHERE audit_heads.account_id = free.account_id";

/// The first and the last second of what can be read.
fn readable() -> Option<[OffsetDateTime; 2]> {
    let [first, last] = [0, LAST_SECOND].map(|second| Timestamp::from_unix_seconds(second).map(Timestamp::to_offset));
    Some([first?, last?])
}

#[async_trait]
impl SignedHeads for PgTx {
    async fn unsigned(
        &mut self,
        _: &Signing,
        after: Option<Trail>,
        limit: usize,
    ) -> Result<Vec<FoundHead>, StoreError> {
        let mut found = self.platform_head(after, limit).await?;
        found.retain(|found| !found.is_noted);
        let query = diesel::sql_query(UNSIGNED_HEADS);
        found.extend(self.account_heads(query, after, limit.saturating_sub(found.len())).await?);
        Ok(found)
    }

    async fn heads(&mut self, _: &Signing, after: Option<Trail>, limit: usize) -> Result<Vec<FoundHead>, StoreError> {
        let mut found = self.platform_head(after, limit).await?;
        let query = diesel::sql_query(ALL_HEADS);
        found.extend(self.account_heads(query, after, limit.saturating_sub(found.len())).await?);
        Ok(found)
    }

    async fn note(&mut self, _: &Signing, signed: Vec<(Trail, Head)>) -> Result<(), StoreError> {
        let (mut accounts, mut hashes) = (Vec::new(), Vec::new());
        for (trail, head) in signed {
            let hash = head.hash.as_bytes().to_vec();
            if let Trail::Account(account) = trail {
                accounts.push(account.uuid());
                hashes.push(hash);
                continue;
            }
            let noted = diesel::update(platform_audit_heads::table.find(true))
                .filter(platform_audit_heads::hash.eq(&hash))
                .set(platform_audit_heads::signed_hash.eq(&hash))
                .execute(&mut self.conn)
                .await;
            self.noted(noted)?;
        }
        let noted = diesel::sql_query(NOTE_HEADS)
            .bind::<Array<sql_types::Uuid>, _>(accounts)
            .bind::<Array<Binary>, _>(hashes)
            .execute(&mut self.conn)
            .await;
        self.noted(noted).map(drop)
    }

    async fn last_signed(&mut self, _: &Signing, trail: Trail, limit: usize) -> Result<Vec<SignedHead>, StoreError> {
        let Some([first, last]) = readable() else { return Ok(Vec::new()) };
        match trail {
            Trail::Account(account) => {
                let found: QueryResult<Vec<SignedHeadRow>> = audit_signed_heads::table
                    .filter(audit_signed_heads::account_id.eq(account.uuid()))
                    .filter(audit_signed_heads::at.between(first, last))
                    .order((audit_signed_heads::seq.desc(), audit_signed_heads::signature.desc()))
                    .limit(rows(limit))
                    .select(SignedHeadRow::as_select())
                    .load(&mut self.conn)
                    .await;
                self.noted(found)?.into_iter().map(|row| row.signed_head(trail)).collect()
            }
            Trail::Platform => {
                let found: QueryResult<Vec<PlatformSignedHeadRow>> = platform_audit_signed_heads::table
                    .filter(platform_audit_signed_heads::at.between(first, last))
                    .order((platform_audit_signed_heads::seq.desc(), platform_audit_signed_heads::signature.desc()))
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
    async fn platform_head(&mut self, after: Option<Trail>, limit: usize) -> Result<Vec<FoundHead>, StoreError> {
        let Some([first, last]) = readable().filter(|_| after.is_none() && limit > 0) else { return Ok(Vec::new()) };
        let query = diesel::sql_query(PLATFORM_HEAD).bind::<Timestamptz, _>(first).bind::<Timestamptz, _>(last);
        let found = query.load(&mut self.conn).await;
        Ok(found_heads(self.noted(found)?))
    }

    async fn account_heads(
        &mut self,
        query: SqlQuery,
        after: Option<Trail>,
        limit: usize,
    ) -> Result<Vec<FoundHead>, StoreError> {
        let Some([first, last]) = readable() else { return Ok(Vec::new()) };
        let found = query
            // No id is less than this one.
            .bind::<sql_types::Uuid, _>(after.and_then(Trail::account).map_or(Uuid::nil(), Id::uuid))
            .bind::<BigInt, _>(rows(limit))
            .bind::<Timestamptz, _>(first)
            .bind::<Timestamptz, _>(last)
            .load(&mut self.conn)
            .await;
        Ok(found_heads(self.noted(found)?))
    }
}
