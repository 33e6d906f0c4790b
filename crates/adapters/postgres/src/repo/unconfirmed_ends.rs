//! Ends of sessions that the identity provider did not confirm.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{Merging, UnconfirmedEnd, UnconfirmedEnds};
use portal_identity::ProviderSessionId;
use portal_kernel::{AccountId, Id, StoreError, Timestamp};
use uuid::Uuid;

use crate::error::corrupt;
use crate::schema::unconfirmed_ends;
use crate::tx::PgTx;

#[async_trait]
impl UnconfirmedEnds for PgTx {
    async fn add(&mut self, _: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError> {
        let row = (
            unconfirmed_ends::account_id.eq(end.account.uuid()),
            unconfirmed_ends::session_id.eq(end.session.as_str()),
            unconfirmed_ends::attempts.eq(stored(end.attempts)),
            unconfirmed_ends::try_at.eq(try_at.to_offset()),
        );
        let added = diesel::insert_into(unconfirmed_ends::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(&mut self.conn)
            .await;
        self.noted(added).map(drop)
    }

    async fn claim(&mut self, _: &Merging, now: Timestamp) -> Result<Option<UnconfirmedEnd>, StoreError> {
        let found = unconfirmed_ends::table
            .filter(unconfirmed_ends::try_at.le(now.to_offset()))
            .order(unconfirmed_ends::try_at)
            .select((unconfirmed_ends::account_id, unconfirmed_ends::session_id, unconfirmed_ends::attempts))
            .for_update()
            .skip_locked()
            .first::<(Uuid, String, i32)>(&mut self.conn)
            .await
            .optional();
        let end = |(account, session, attempts): (Uuid, String, i32)| {
            Ok(UnconfirmedEnd {
                session: ProviderSessionId::as_written(&session),
                account: AccountId::from_uuid(account),
                attempts: u32::try_from(attempts).map_err(|_| corrupt("unconfirmed_ends", "attempts"))?,
            })
        };
        self.noted(found)?.map(end).transpose()
    }

    async fn put_off(&mut self, _: &Merging, end: UnconfirmedEnd, try_at: Timestamp) -> Result<(), StoreError> {
        let put_off = diesel::update(unconfirmed_ends::table.find((end.account.uuid(), end.session.as_str())))
            .set((unconfirmed_ends::attempts.eq(stored(end.attempts)), unconfirmed_ends::try_at.eq(try_at.to_offset())))
            .execute(&mut self.conn)
            .await;
        self.noted(put_off).map(drop)
    }

    async fn put_off_all(&mut self, _: &Merging, try_at: Timestamp) -> Result<(), StoreError> {
        // Whoever has one asks for nothing else: waiting for them in no order of theirs could be in a circle.
        let free = unconfirmed_ends::table
            .filter(unconfirmed_ends::try_at.lt(try_at.to_offset()))
            .select(unconfirmed_ends::session_id)
            .for_update()
            .skip_locked()
            .load::<String>(&mut self.conn)
            .await;
        let free = self.noted(free)?;
        let put_off = diesel::update(unconfirmed_ends::table)
            .filter(unconfirmed_ends::session_id.eq_any(free))
            .set(unconfirmed_ends::try_at.eq(try_at.to_offset()))
            .execute(&mut self.conn)
            .await;
        self.noted(put_off).map(drop)
    }
}

fn stored(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
