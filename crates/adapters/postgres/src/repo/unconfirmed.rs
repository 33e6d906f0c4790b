//! People in accounts where they are no members.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_accounts::{Merging, UnconfirmedMembers};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use time::OffsetDateTime;

use crate::schema::unconfirmed_members;
use crate::tx::PgTx;

diesel::define_sql_function! {
    fn coalesce(stored: Nullable<Timestamptz>, otherwise: Timestamptz) -> Timestamptz;
}

#[async_trait]
impl UnconfirmedMembers for PgTx {
    async fn removed(
        &mut self,
        _: &Merging,
        account: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let content = (
            unconfirmed_members::removed_at.eq(Some(at.to_offset())),
            unconfirmed_members::trusted_since.eq(None::<OffsetDateTime>),
        );
        let of = (unconfirmed_members::account_id.eq(account.uuid()), unconfirmed_members::user_id.eq(user.uuid()));
        let noted = diesel::insert_into(unconfirmed_members::table)
            .values((of, content))
            .on_conflict((unconfirmed_members::account_id, unconfirmed_members::user_id))
            .do_update()
            .set(content)
            .execute(&mut self.conn)
            .await;
        self.noted(noted).map(drop)
    }

    async fn denied(&mut self, _: &Merging, account: AccountId, user: UserId, at: Timestamp) -> Result<(), StoreError> {
        let of = (unconfirmed_members::account_id.eq(account.uuid()), unconfirmed_members::user_id.eq(user.uuid()));
        let removed = unconfirmed_members::removed_at.eq(Some(at.to_offset()));
        let noted = diesel::insert_into(unconfirmed_members::table)
            .values((of, removed, unconfirmed_members::trusted_since.eq(at.to_offset())))
            .on_conflict((unconfirmed_members::account_id, unconfirmed_members::user_id))
            .do_update()
            .set((
                removed,
                unconfirmed_members::trusted_since
                    .eq(coalesce(unconfirmed_members::trusted_since, at.to_offset()).nullable()),
            ))
            .execute(&mut self.conn)
            .await;
        self.noted(noted).map(drop)
    }

    async fn trust(
        &mut self,
        _: &Merging,
        account: AccountId,
        user: UserId,
        at: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let of = (unconfirmed_members::account_id.eq(account.uuid()), unconfirmed_members::user_id.eq(user.uuid()));
        let since = coalesce(unconfirmed_members::trusted_since, at.to_offset());
        let trusted = diesel::insert_into(unconfirmed_members::table)
            .values((of, unconfirmed_members::trusted_since.eq(at.to_offset())))
            .on_conflict((unconfirmed_members::account_id, unconfirmed_members::user_id))
            .do_update()
            .set(unconfirmed_members::trusted_since.eq(since.nullable()))
            .returning(coalesce(unconfirmed_members::trusted_since, at.to_offset()))
            .get_result(&mut self.conn)
            .await;
        self.noted(trusted).map(Timestamp::new)
    }
}
