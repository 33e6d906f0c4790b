//! Readers: one autocommitted statement each, outside any transaction.

pub(crate) mod audit;
pub(crate) mod key_feed;
mod members;

use std::sync::Arc;

use async_trait::async_trait;
use diesel::dsl::{exists, max};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use portal_accounts::{
    AccountState, EndedSessionReader, Epoch, KnownUser, Merging, SignInReader, Standing, UnconfirmedEndCount, User,
};
use portal_api_keys::{
    ApiKey, ApiKeyReader, CredentialReader, Kid, ListedServiceToken, ServiceCredentialReader, ServiceToken,
    ServiceTokenReader, StoredKey, StoredServiceToken,
};
use portal_authz::action::{BuildPrincipal, LookUpCredential, ManageServiceTokens, ReadKeys};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_identity::{ProviderOrganizationId, ProviderSessionId, ProviderUserId};
use portal_kernel::{AccountId, ApiKeyId, Id, Page, PageRequest, Ping, StoreError, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::PgStore;
use crate::migrate::pending;
use crate::pool::{discard, refused};
use crate::row::account::{MembershipRow, UserRow, known_membership};
use crate::row::epoch::{EVERYBODY, epoch};
use crate::row::key::{FoundKey, KeyRow, KnownSecretRow, SecretRow, stored_key};
use crate::row::moment;
use crate::row::service_token::KnownServiceTokenRow;
use crate::schema::{
    accounts, api_key_activity, api_key_secrets, api_keys, buried_provider_ids, former_service_secrets, key_locator,
    memberships, service_token_activity, service_tokens, session_epochs, unconfirmed_members, users,
};

#[async_trait]
impl Ping for PgStore {
    async fn ping(&self) -> Result<(), StoreError> {
        let mut conn = self.connection().await?;
        // A program on an older schema cannot serve, however well the database answers.
        match pending(&mut conn).await {
            Ok(missing) if missing.is_empty() => Ok(()),
            Ok(missing) => Err(StoreError::Unavailable(format!("{} migrations are not applied", missing.len()).into())),
            Err(error) => {
                discard(&mut conn);
                Err(StoreError::Unavailable(error.into()))
            }
        }
    }
}

#[async_trait]
impl SignInReader for PgStore {
    async fn find(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(UserRow, MembershipRow, Option<String>)> = users::table
            .inner_join(memberships::table.on(memberships::user_id.eq(users::id)))
            .inner_join(accounts::table.on(accounts::id.eq(memberships::account_id)))
            .filter(users::provider_id.eq(id.as_str()))
            .order(memberships::account_id)
            .select((UserRow::as_select(), MembershipRow::as_select(), accounts::provider_organization_id))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let mut person = None;
        let mut known = Vec::with_capacity(rows.len());
        for (user, membership, organization) in rows {
            person = Some(user);
            known.push(known_membership(membership, organization)?);
        }
        let Some(person) = person else { return Ok(None) };
        Ok(Some(Arc::new(KnownUser { user: User::try_from(person)?, memberships: known })))
    }

    async fn standing(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        organization: ProviderOrganizationId,
    ) -> Result<Option<Standing>, StoreError> {
        let mut conn = self.connection().await?;
        let of_user =
            unconfirmed_members::account_id.eq(accounts::id).and(unconfirmed_members::user_id.eq(user.uuid()));
        let marks = (unconfirmed_members::removed_at.nullable(), unconfirmed_members::trusted_since.nullable());
        let row: Option<(Uuid, Option<OffsetDateTime>, Option<OffsetDateTime>)> = accounts::table
            .left_join(unconfirmed_members::table.on(of_user))
            .filter(accounts::provider_organization_id.eq(organization.as_str()))
            .filter(accounts::state.ne(AccountState::Deleted.as_str()))
            .select((accounts::id, marks.0, marks.1))
            .first(&mut conn)
            .await
            .optional()
            .map_err(|error| refused(&mut conn, error))?;
        Ok(row.map(|(account, removed_at, trusted_since)| Standing {
            account: AccountId::from_uuid(account),
            removed_at: moment(removed_at),
            trusted_since: moment(trusted_since),
        }))
    }
}

#[async_trait]
impl EndedSessionReader for PgStore {
    async fn ended_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        since: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let mut conn = self.connection().await?;
        buried_provider_ids::table
            .filter(buried_provider_ids::at.ge(since.to_offset()))
            .filter(buried_provider_ids::id.like(r"sess\_%"))
            .select(buried_provider_ids::id)
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))
    }

    async fn has_ended(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        session: ProviderSessionId,
    ) -> Result<bool, StoreError> {
        let mut conn = self.connection().await?;
        diesel::select(exists(buried_provider_ids::table.find(session.as_str())))
            .get_result(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))
    }

    async fn epochs_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        since: Timestamp,
    ) -> Result<Vec<Epoch>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(String, OffsetDateTime)> = session_epochs::table
            .filter(session_epochs::minted_before.ge(since.to_offset()))
            .select((session_epochs::person, session_epochs::minted_before))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        rows.into_iter().map(|(person, before)| epoch(&person, before)).collect()
    }

    async fn epoch_of(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        person: ProviderUserId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut conn = self.connection().await?;
        let latest: Option<OffsetDateTime> = session_epochs::table
            .filter(session_epochs::person.eq_any([person.as_str(), EVERYBODY]))
            .select(max(session_epochs::minted_before))
            .first(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        Ok(latest.map(Timestamp::new))
    }

    async fn unconfirmed(&self, _: &Merging) -> Result<UnconfirmedEndCount, StoreError> {
        self.unconfirmed_ends().await
    }
}

/// A key with each of its secrets that may be among the two newest, newest first. Also used inside transactions.
pub(crate) async fn find_key(conn: &mut AsyncPgConnection, id: ApiKeyId) -> QueryResult<Vec<FoundKey>> {
    keys_with_secrets()
        .filter(api_keys::id.eq(id.uuid()))
        .order((api_keys::account_id, api_key_secrets::revision.desc()))
        .select((KeyRow::as_select(), KnownSecretRow::as_select(), api_key_activity::last_used_at.nullable()))
        .load(conn)
        .await
}

/// A rotation ends all secrets but the newest and the one before it; a revocation of the key ends those.
#[diesel::dsl::auto_type(no_type_alias)]
fn keys_with_secrets() -> _ {
    let of_key = api_key_secrets::account_id.eq(api_keys::account_id).and(api_key_secrets::key_id.eq(api_keys::id));
    let with_key = api_key_secrets::revoked_at.is_not_distinct_from(api_keys::revoked_at);
    let uses = api_key_activity::account_id.eq(api_keys::account_id).and(api_key_activity::key_id.eq(api_keys::id));
    api_keys::table
        .inner_join(api_key_secrets::table.on(of_key.and(api_key_secrets::revoked_at.is_null().or(with_key))))
        .left_join(api_key_activity::table.on(uses))
}

#[async_trait]
impl ApiKeyReader for PgStore {
    async fn find(&self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        let mut conn = self.connection().await?;
        let rows = find_key(&mut conn, id).await.map_err(|error| refused(&mut conn, error))?;
        Ok(crate::row::key::api_keys(rows)?.pop().map(Unchecked::new))
    }

    async fn page(
        &self,
        of: &Authorized<ReadKeys, AccountId>,
        request: PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey, ApiKeyId>, StoreError> {
        let mut conn = self.connection().await?;
        let with_surplus = i64::try_from(request.size.rows() + 1).unwrap_or(i64::MAX);
        let listed = diesel::alias!(api_keys as listed);
        let mut ids = listed
            .filter(listed.field(api_keys::account_id).eq(of.uuid()))
            .order(listed.field(api_keys::id).desc())
            .limit(with_surplus)
            .select(listed.field(api_keys::id))
            .into_boxed();
        if let Some(after) = request.after {
            ids = ids.filter(listed.field(api_keys::id).lt(after.uuid()));
        }
        let rows = keys_with_secrets()
            .filter(api_keys::account_id.eq(of.uuid()))
            .filter(api_keys::id.eq_any(ids))
            .order((api_keys::id.desc(), api_key_secrets::revision.desc()))
            .select((KeyRow::as_select(), KnownSecretRow::as_select(), api_key_activity::last_used_at.nullable()))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let keys = crate::row::key::api_keys(rows)?;
        Ok(Page::from_surplus(keys, request.size, |key| key.id))
    }
}

/// Found by the kid alone, which names the account; of an account that is not active there is nothing.
#[diesel::dsl::auto_type(no_type_alias)]
fn secrets_of_active_accounts() -> _ {
    let active: &'static str = AccountState::Active.as_str();
    let of_kid = api_key_secrets::account_id.eq(key_locator::account_id).and(api_key_secrets::kid.eq(key_locator::kid));
    let of_secret = api_keys::account_id.eq(key_locator::account_id).and(api_keys::id.eq(api_key_secrets::key_id));
    key_locator::table
        .inner_join(api_key_secrets::table.on(of_kid))
        .inner_join(api_keys::table.on(of_secret))
        .inner_join(accounts::table.on(accounts::id.eq(key_locator::account_id)))
        .filter(accounts::state.eq(active))
}

#[async_trait]
impl CredentialReader for PgStore {
    async fn key(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError> {
        let mut conn = self.connection().await?;
        let row: Option<(KeyRow, SecretRow)> = secrets_of_active_accounts()
            .filter(key_locator::kid.eq(kid.as_str()))
            .select((KeyRow::as_select(), SecretRow::as_select()))
            .first(&mut conn)
            .await
            .optional()
            .map_err(|error| refused(&mut conn, error))?;
        row.map(|(key, secret)| stored_key(key, &secret).map(Arc::new)).transpose()
    }

    async fn keys(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(KeyRow, SecretRow)> = secrets_of_active_accounts()
            .filter(key_locator::kid.eq_any(kids.iter().map(Kid::as_str)))
            .select((KeyRow::as_select(), SecretRow::as_select()))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let stored =
            |(key, secret): (KeyRow, SecretRow)| Ok((secret.parsed_kid()?, stored_key(key, &secret).map(Arc::new)?));
        rows.into_iter().map(stored).collect()
    }
}

#[async_trait]
impl ServiceCredentialReader for PgStore {
    async fn service_token(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredServiceToken>>, StoreError> {
        let mut conn = self.connection().await?;
        let former = diesel::alias!(former_service_secrets as former);
        let of_former = former.filter(former.field(former_service_secrets::kid).eq(kid.as_str()));
        let of_former = of_former.select(former.field(former_service_secrets::token_id)).single_value();
        let row: Option<KnownServiceTokenRow> = service_tokens::table
            .left_join(former_service_secrets::table)
            .filter(service_tokens::kid.eq(kid.as_str()).or(service_tokens::id.nullable().eq(of_former)))
            .select(KnownServiceTokenRow::as_select())
            .first(&mut conn)
            .await
            .optional()
            .map_err(|error| refused(&mut conn, error))?;
        let presented = row.map(|row| row.presented_by(kid)).transpose()?.flatten();
        Ok(presented.map(Arc::new))
    }
}

#[async_trait]
impl ServiceTokenReader for PgStore {
    async fn all(&self, _: &Authorized<ManageServiceTokens, Platform>) -> Result<Vec<ListedServiceToken>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(KnownServiceTokenRow, Option<OffsetDateTime>)> = service_tokens::table
            .left_join(former_service_secrets::table)
            .left_join(service_token_activity::table)
            .order((service_tokens::name, service_tokens::created_at.desc()))
            .select((KnownServiceTokenRow::as_select(), service_token_activity::last_used_at.nullable()))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let listed = |(row, last_used_at)| {
            Ok(ListedServiceToken { token: ServiceToken::try_from(row)?, last_used_at: moment(last_used_at) })
        };
        rows.into_iter().map(listed).collect()
    }
}
