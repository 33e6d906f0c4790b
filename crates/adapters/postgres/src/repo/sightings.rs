//! Sessions that signed in before.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{Merging, SessionSightings};
use portal_identity::ProviderSessionId;
use portal_kernel::{StoreError, Timestamp};

use crate::schema::seen_sessions;
use crate::tx::PgTx;

#[async_trait]
impl SessionSightings for PgTx {
    async fn see(&mut self, _: &Merging, session: ProviderSessionId, at: Timestamp) -> Result<bool, StoreError> {
        let row = (seen_sessions::id.eq(session.as_str()), seen_sessions::first_seen_at.eq(at.to_offset()));
        let seen = diesel::insert_into(seen_sessions::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(seen)? == 1)
    }

    async fn forget(&mut self, _: &Merging, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        let old = seen_sessions::table
            .filter(seen_sessions::first_seen_at.lt(before.to_offset()))
            .order(seen_sessions::first_seen_at)
            .limit(i64::try_from(most).unwrap_or(i64::MAX))
            .select(seen_sessions::id);
        let found: QueryResult<Vec<String>> = old.load(&mut self.conn).await;
        let old = self.noted(found)?;
        let forgotten =
            diesel::delete(seen_sessions::table).filter(seen_sessions::id.eq_any(old)).execute(&mut self.conn).await;
        self.noted(forgotten)
    }
}
