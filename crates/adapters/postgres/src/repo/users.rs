//! People.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_accounts::{AccountState, Merging, PersonalSettings, Profile, User, UserRepository, UserState, Versioned};
use portal_authz::action::UpdateSelf;
use portal_authz::{Authorized, Platform, Role};
use portal_identity::ProviderUserId;
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::row::account::{SettingsRow, UserRow, role};
use crate::schema::{accounts, memberships, users};
use crate::tx::PgTx;

/// Writes any number of profiles at once: one array per column.
#[derive(Default, QueryId)]
struct SaveProfiles {
    ids: Vec<Uuid>,
    emails: Vec<Option<String>>,
    emails_verified: Vec<bool>,
    first_names: Vec<Option<String>>,
    last_names: Vec<Option<String>>,
    image_urls: Vec<Option<String>>,
    states: Vec<&'static str>,
    versions: Vec<OffsetDateTime>,
    doubts: Vec<bool>,
}

impl From<Vec<(User, Versioned<Profile>)>> for SaveProfiles {
    fn from(profiles: Vec<(User, Versioned<Profile>)>) -> Self {
        let mut all = Self::default();
        for (known, Versioned { content: profile, version, doubtful }) in profiles {
            all.ids.push(known.id.uuid());
            all.states.push(profile.state().as_str());
            all.emails.push(profile.email);
            all.emails_verified.push(profile.email_verified);
            all.first_names.push(profile.first_name);
            all.last_names.push(profile.last_name);
            all.image_urls.push(profile.image_url);
            all.versions.push(version.to_offset());
            all.doubts.push(doubtful);
        }
        all
    }
}

impl QueryFragment<Pg> for SaveProfiles {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE users SET email = told.email, email_verified = told.email_verified, first_name = told.first_name, \
             last_name = told.last_name, image_url = told.image_url, state = told.state, \
             provider_updated_at = told.version, doubtful = told.doubtful FROM unnest(",
        );
        out.push_bind_param::<Array<sql_types::Uuid>, _>(&self.ids)?;
        for texts in [&self.emails, &self.first_names, &self.last_names, &self.image_urls] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(texts)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.states)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Timestamptz>, _>(&self.versions)?;
        for truths in [&self.emails_verified, &self.doubts] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Bool>, _>(truths)?;
        }
        out.push_sql(
            ") AS told (id, email, first_name, last_name, image_url, state, version, email_verified, doubtful) \
             WHERE users.id = told.id AND users.state <> 'deleted'",
        );
        Ok(())
    }
}

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

    async fn find_all(&mut self, _: &Merging, ids: Vec<ProviderUserId>) -> Result<Vec<User>, StoreError> {
        let found = users::table
            .filter(users::provider_id.eq_any(ids.iter().map(ProviderUserId::as_str)))
            .select(UserRow::as_select())
            .load(&mut self.conn)
            .await;
        self.noted(found)?.into_iter().map(User::try_from).collect()
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

    async fn save_profiles(
        &mut self,
        _: &Merging,
        profiles: Vec<(User, Versioned<Profile>)>,
    ) -> Result<(), StoreError> {
        let mut accounts: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
        for (known, copy) in &profiles {
            let state = copy.content.state();
            if state != known.state {
                let account = if state == UserState::Paused { AccountState::Paused } else { AccountState::Active };
                accounts.entry(account.as_str()).or_default().push(known.personal_account.uuid());
            }
        }
        let people = profiles.len();
        let saved = SaveProfiles::from(profiles).execute(&mut self.conn).await;
        if self.noted(saved)? < people {
            return Err(StoreError::Stale);
        }
        for (state, of) in accounts {
            let moved = diesel::update(accounts::table.filter(accounts::id.eq_any(of)))
                .set(accounts::state.eq(state))
                .execute(&mut self.conn)
                .await;
            self.noted(moved)?;
        }
        Ok(())
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
