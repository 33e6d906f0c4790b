//! People.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{Profile, User, UserRepository};
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_kernel::{Id, StoreError, Timestamp, UserId};

use crate::row::account::UserRow;
use crate::schema::users;
use crate::tx::PgTx;

#[async_trait]
impl UserRepository for PgTx {
    async fn insert(&mut self, _: &Authorized<BuildPrincipal, Platform>, user: User) -> Result<bool, StoreError> {
        let row = UserRow {
            id: user.id.uuid(),
            provider_id: user.provider_id.to_string(),
            personal_account_id: user.personal_account.uuid(),
            email: user.profile.email,
            email_verified: user.profile.email_verified,
            first_name: user.profile.first_name,
            last_name: user.profile.last_name,
            image_url: user.profile.image_url,
            // Whoever inserts asks the provider next.
            profile_asked_at: Some(user.created_at.to_offset()),
            profile_read_at: user.profile_read_at.map(Timestamp::to_offset),
            created_at: user.created_at.to_offset(),
        };
        let inserted = diesel::insert_into(users::table)
            .values(row)
            .on_conflict(users::provider_id)
            .do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(inserted)? == 1)
    }

    async fn claim_profile(
        &mut self,
        _: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError> {
        let rested = users::profile_asked_at.is_null().or(users::profile_asked_at.le(asked_before.to_offset()));
        let claimed = diesel::update(users::table.find(user.uuid()))
            .filter(users::profile_read_at.is_null())
            .filter(rested)
            .set(users::profile_asked_at.eq(now.to_offset()))
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(claimed)? == 1)
    }

    async fn save_profile(
        &mut self,
        _: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        profile: Profile,
        read_at: Timestamp,
    ) -> Result<(), StoreError> {
        let saved = diesel::update(users::table.find(user.uuid()))
            .set((
                users::email.eq(profile.email),
                users::email_verified.eq(profile.email_verified),
                users::first_name.eq(profile.first_name),
                users::last_name.eq(profile.last_name),
                users::image_url.eq(profile.image_url),
                users::profile_read_at.eq(read_at.to_offset()),
            ))
            .execute(&mut self.conn)
            .await;
        if self.noted(saved)? == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }
}
