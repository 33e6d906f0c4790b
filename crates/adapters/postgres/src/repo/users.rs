//! People.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{AccountState, Merging, PersonalSettings, Profile, User, UserRepository, UserState, Versioned};
use portal_authz::action::UpdateSelf;
use portal_authz::{Authorized, Platform, Role};
use portal_identity::ProviderUserId;
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use uuid::Uuid;

use crate::row::account::{SettingsRow, UserRow, role};
use crate::schema::{accounts, memberships, users};
use crate::tx::PgTx;

#[async_trait]
impl UserRepository for PgTx {
    async fn find(&mut self, _: &Merging, id: ProviderUserId) -> Result<Option<User>, StoreError> {
        let found = users::table
            .filter(users::provider_id.eq(id.as_str()))
            .select(UserRow::as_select())
            .first(&mut self.conn)
            .await
            .optional();
        self.noted(found)?.map(User::try_from).transpose()
    }

    async fn insert(&mut self, _: &Merging, user: User) -> Result<bool, StoreError> {
        let row = UserRow::from(user);
        let inserted = diesel::insert_into(users::table)
            .values(row)
            .on_conflict(users::provider_id)
            .do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(inserted)? == 1)
    }

    async fn claim(
        &mut self,
        _: &Merging,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError> {
        let rested = users::profile_asked_at.is_null().or(users::profile_asked_at.le(asked_before.to_offset()));
        let claimed = diesel::update(users::table.find(user.uuid()))
            .filter(users::provider_updated_at.is_null().or(users::doubtful))
            .filter(users::state.ne(UserState::Deleted.as_str()))
            .filter(rested)
            .set(users::profile_asked_at.eq(now.to_offset()))
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(claimed)? == 1)
    }

    async fn claim_memberships(
        &mut self,
        _: &Merging,
        user: UserId,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<bool, StoreError> {
        let rested = users::memberships_asked_at.is_null().or(users::memberships_asked_at.le(asked_before.to_offset()));
        let claimed = diesel::update(users::table.find(user.uuid()))
            .filter(users::state.eq(UserState::Active.as_str()))
            .filter(rested)
            .set(users::memberships_asked_at.eq(now.to_offset()))
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(claimed)? == 1)
    }

    async fn save_profile(&mut self, _: &Merging, user: UserId, copy: Versioned<Profile>) -> Result<(), StoreError> {
        let Versioned { content: profile, version, doubtful } = copy;
        let state = profile.state();
        let saved = diesel::update(users::table.find(user.uuid()))
            .filter(users::state.ne(UserState::Deleted.as_str()))
            .set((
                users::email.eq(profile.email),
                users::email_verified.eq(profile.email_verified),
                users::first_name.eq(profile.first_name),
                users::last_name.eq(profile.last_name),
                users::image_url.eq(profile.image_url),
                users::state.eq(state.as_str()),
                users::provider_updated_at.eq(version.to_offset()),
                users::doubtful.eq(doubtful),
            ))
            .returning(users::personal_account_id)
            .get_result(&mut self.conn)
            .await
            .optional();
        let personal: Uuid = self.noted(saved)?.ok_or(StoreError::Stale)?;
        let account = if state == UserState::Paused { AccountState::Paused } else { AccountState::Active };
        // Written only where it is another one: most profiles change nothing of it.
        let paused = diesel::update(accounts::table.find(personal))
            .filter(accounts::state.ne(account.as_str()))
            .set(accounts::state.eq(account.as_str()))
            .execute(&mut self.conn)
            .await;
        self.noted(paused).map(drop)
    }

    async fn lock_settings(
        &mut self,
        _: &Authorized<UpdateSelf, Platform>,
        user: UserId,
    ) -> Result<Option<PersonalSettings>, StoreError> {
        let found = users::table
            .find(user.uuid())
            .filter(users::state.eq(UserState::Active.as_str()))
            .select(SettingsRow::as_select())
            .for_update()
            .first(&mut self.conn)
            .await
            .optional();
        self.noted(found)?.map(PersonalSettings::try_from).transpose()
    }

    async fn save_settings(
        &mut self,
        _: &Authorized<UpdateSelf, Platform>,
        user: UserId,
        settings: PersonalSettings,
    ) -> Result<bool, StoreError> {
        let saved = diesel::update(users::table.find(user.uuid()))
            .set(SettingsRow::from(settings))
            .execute(&mut self.conn)
            .await;
        match self.noted(saved) {
            Ok(1) => Ok(true),
            Ok(_) => Err(StoreError::Stale),
            Err(StoreError::Duplicate { constraint }) if constraint == "users_username_key" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn delete(&mut self, _: &Merging, user: UserId) -> Result<Vec<(AccountId, Option<Role>)>, StoreError> {
        let nothing = None::<String>;
        let erased = diesel::update(users::table.find(user.uuid()))
            .set((
                users::state.eq(UserState::Deleted.as_str()),
                users::email.eq(&nothing),
                users::email_verified.eq(false),
                users::first_name.eq(&nothing),
                users::last_name.eq(&nothing),
                users::image_url.eq(&nothing),
                users::provider_updated_at.eq(None::<time::OffsetDateTime>),
                users::doubtful.eq(false),
                SettingsRow::from(PersonalSettings::default()),
            ))
            .returning(users::personal_account_id)
            .get_result(&mut self.conn)
            .await
            .optional();
        let personal: Uuid = self.noted(erased)?.ok_or(StoreError::Stale)?;
        let paused = diesel::update(accounts::table.find(personal))
            .set(accounts::state.eq(AccountState::Paused.as_str()))
            .execute(&mut self.conn)
            .await;
        self.noted(paused)?;
        let left = diesel::delete(memberships::table)
            .filter(memberships::user_id.eq(user.uuid()))
            .filter(memberships::account_id.ne(personal))
            .returning((memberships::account_id, memberships::role))
            .get_results::<(Uuid, Option<String>)>(&mut self.conn)
            .await;
        let left = self.noted(left)?.into_iter();
        left.map(|(account, held)| Ok((AccountId::from_uuid(account), role(held.as_deref())?))).collect()
    }
}
