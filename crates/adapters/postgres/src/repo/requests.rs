//! Named requests.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::query_dsl::methods::FilterDsl;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use portal_kernel::{EarlierRequest, Fingerprint, Id, IdempotencyLog, NamedRequest, StoreError, Timestamp};

use crate::error::corrupt;
use crate::schema::named_requests;
use crate::tx::PgTx;

/// What somebody else is deleting, or claiming anew, is left to them.
const FORGET: &str = "
    WITH old AS MATERIALIZED (
        SELECT account_id, user_id, key FROM named_requests WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM named_requests AS request USING old
    WHERE (request.account_id, request.user_id, request.key) = (old.account_id, old.user_id, old.key)";

#[async_trait]
impl IdempotencyLog for PgTx {
    async fn claim(&mut self, request: NamedRequest) -> Result<Option<EarlierRequest>, StoreError> {
        let NamedRequest { account, caller, key, fingerprint, made, at } = request;
        let forgotten = at.minus(NamedRequest::REMEMBERED);
        let row = (
            named_requests::account_id.eq(account.uuid()),
            named_requests::user_id.eq(caller.uuid()),
            named_requests::key.eq(key.as_str()),
            named_requests::fingerprint.eq(fingerprint.0.as_slice()),
            named_requests::made.eq(made),
            named_requests::at.eq(at.to_offset()),
        );
        // A row that is there is locked, whether it is replaced or not: nobody deletes it before it is read.
        let upsert = diesel::insert_into(named_requests::table)
            .values(row)
            .on_conflict((named_requests::account_id, named_requests::user_id, named_requests::key))
            .do_update()
            .set((
                named_requests::fingerprint.eq(excluded(named_requests::fingerprint)),
                named_requests::made.eq(excluded(named_requests::made)),
                named_requests::at.eq(excluded(named_requests::at)),
            ));
        let first = FilterDsl::filter(upsert, named_requests::at.le(forgotten.to_offset()));
        let first = first.execute(&mut self.conn).await;
        if self.noted(first)? == 1 {
            return Ok(None);
        }
        let earlier = named_requests::table
            .find((account.uuid(), caller.uuid(), key.as_str()))
            .select((named_requests::fingerprint, named_requests::made))
            .first::<(Vec<u8>, String)>(&mut self.conn)
            .await;
        let (fingerprint, made) = self.noted(earlier)?;
        let fingerprint = fingerprint.try_into().map_err(|_| corrupt("named_requests", "fingerprint"))?;
        Ok(Some(EarlierRequest { fingerprint: Fingerprint(fingerprint), made }))
    }

    async fn forget(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        let forgotten = diesel::sql_query(FORGET)
            .bind::<Timestamptz, _>(before.to_offset())
            .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
            .execute(&mut self.conn)
            .await;
        self.noted(forgotten)
    }
}
