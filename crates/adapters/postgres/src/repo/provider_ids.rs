//! Ids that the identity provider gave.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;
use portal_accounts::{Merging, ProviderIds};
use portal_kernel::{StoreError, Timestamp};

use crate::schema::{buried_provider_ids, unconfirmed_ends};
use crate::tx::{PgTx, unnest};

diesel::define_sql_function! { fn pg_advisory_xact_lock(key: BigInt) }
diesel::define_sql_function! { fn hashtextextended(text: Text, seed: BigInt) -> BigInt }

/// Makes our locks differ from those of other users of the server. Arbitrary.
const SEED: i64 = 3_108_771_902_554_131_207;

#[async_trait]
impl ProviderIds for PgTx {
    async fn lock(&mut self, _: &Merging, mut ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        ids.sort_unstable();
        let conn: &AsyncPgConnection = &self.conn;
        // One row after the other: nothing in the statement sorts or joins what the array gives.
        let lock = diesel::select(pg_advisory_xact_lock(hashtextextended(unnest::<Text, _>(&ids), SEED)));
        // A statement of its own, so that it sees what was committed before the locks were free. It is sent without waiting for them.
        let buried =
            buried_provider_ids::table.filter(buried_provider_ids::id.eq_any(&ids)).select(buried_provider_ids::id);
        let found = try_join(lock.execute(&mut &*conn), buried.load(&mut &*conn)).await;
        self.noted(found).map(|(_, buried)| buried)
    }

    async fn bury(&mut self, _: &Merging, id: String, at: Timestamp) -> Result<(), StoreError> {
        let row = (buried_provider_ids::id.eq(id), buried_provider_ids::at.eq(at.to_offset()));
        let buried = diesel::insert_into(buried_provider_ids::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(&mut self.conn)
            .await;
        self.noted(buried).map(drop)
    }

    async fn settle(&mut self, _: &Merging, id: String, at: Timestamp) -> Result<(), StoreError> {
        let settled = diesel::update(buried_provider_ids::table.find(&id))
            .filter(buried_provider_ids::at.gt(at.to_offset()))
            .set(buried_provider_ids::at.eq(at.to_offset()))
            .execute(&mut self.conn)
            .await;
        self.noted(settled)?;
        let confirmed = diesel::delete(unconfirmed_ends::table)
            .filter(unconfirmed_ends::session_id.eq(id))
            .execute(&mut self.conn)
            .await;
        self.noted(confirmed).map(drop)
    }

    async fn forget_sessions(&mut self, _: &Merging, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        let old = buried_provider_ids::table
            .filter(buried_provider_ids::at.lt(before.to_offset()))
            .filter(buried_provider_ids::id.like(r"sess\_%"))
            .order(buried_provider_ids::at)
            .limit(i64::try_from(most).unwrap_or(i64::MAX))
            .select(buried_provider_ids::id);
        let found: QueryResult<Vec<String>> = old.load(&mut self.conn).await;
        let old = self.noted(found)?;
        // One whose end is told once more meanwhile is no longer old.
        let forgotten = diesel::delete(buried_provider_ids::table)
            .filter(buried_provider_ids::id.eq_any(old))
            .filter(buried_provider_ids::at.lt(before.to_offset()))
            .execute(&mut self.conn)
            .await;
        self.noted(forgotten)
    }
}
