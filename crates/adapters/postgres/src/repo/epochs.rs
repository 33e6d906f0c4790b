//! Moments before which session tokens count no more.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::query_dsl::methods::FilterDsl;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use portal_accounts::{Merging, SessionEpochs};
use portal_authz::action::EndAllSessions;
use portal_authz::{Authorized, Platform};
use portal_identity::ProviderUserId;
use portal_kernel::{StoreError, Timestamp};

use crate::row::epoch::EVERYBODY;
use crate::schema::session_epochs;
use crate::tx::PgTx;

diesel::define_sql_function! { fn clock_timestamp() -> Timestamptz }

impl PgTx {
    async fn advance_epoch(&mut self, person: &str, before: Timestamp) -> Result<(), StoreError> {
        let row = (session_epochs::person.eq(person), session_epochs::minted_before.eq(before.to_offset()));
        let later = session_epochs::minted_before.lt(excluded(session_epochs::minted_before));
        let advanced = diesel::insert_into(session_epochs::table)
            .values(row)
            .on_conflict(session_epochs::person)
            .do_update()
            .set(session_epochs::minted_before.eq(excluded(session_epochs::minted_before)))
            .filter(later)
            .execute(&mut self.conn)
            .await;
        self.noted(advanced).map(drop)
    }
}

#[async_trait]
impl SessionEpochs for PgTx {
    async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let now = diesel::select(clock_timestamp()).get_result(&mut self.conn).await;
        self.noted(now).map(Timestamp::new)
    }

    async fn advance(&mut self, _: &Merging, person: ProviderUserId, before: Timestamp) -> Result<(), StoreError> {
        self.advance_epoch(person.as_str(), before).await
    }

    async fn advance_all(
        &mut self,
        _: &Authorized<EndAllSessions, Platform>,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        self.advance_epoch(EVERYBODY, before).await
    }
}
