//! Keys.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use portal_api_keys::{ApiKey, ApiKeyRepository, KeyPatch, KeySecret, NewApiKey, NewSecret, NewerDigest, Rotation};
use portal_authz::action::{
    CreateKey, DisableKey, EndKeysOfDeleted, LookUpCredential, RevokeKey, RotateKey, UpdateKey,
};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Id, StoreError, Timestamp};

use crate::reader::find_key;
use crate::row::key::{ContentRow, KeyRow, SecretRow};
use crate::schema::{accounts, api_key_secrets, api_keys, key_locator};
use crate::tx::PgTx;

/// Whom another transaction has, be it this very job of another server, is left to it.
const REVOKE_OF_DELETED: &str = "
    WITH gone AS (
        SELECT id FROM accounts WHERE state = 'deleted' AND ($1 IS NULL OR id = ANY ($1))
        UNION SELECT personal_account_id FROM users
            WHERE state = 'deleted' AND ($1 IS NULL OR personal_account_id = ANY ($1))
    ), due AS MATERIALIZED (
        SELECT account_id, id FROM api_keys
        WHERE revoked_at IS NULL AND account_id IN (SELECT id FROM gone)
        LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE api_key_secrets AS secret SET revoked_at = $2 FROM due
        WHERE (secret.account_id, secret.key_id) = (due.account_id, due.id) AND secret.revoked_at IS NULL
    )
    UPDATE api_keys AS key SET revoked_at = $2, revision = revision + 1 FROM due
    WHERE (key.account_id, key.id) = (due.account_id, due.id)
    RETURNING key.account_id, key.id";

/// Whom another transaction has, be it this very job of another server, is left as it is.
const MOVE_DIGESTS: &str = "
    WITH newer AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5) AS newer (account_id, kid, replaces, pepper_version, digest)
    ), due AS MATERIALIZED (
        SELECT secret.account_id, secret.kid FROM api_key_secrets AS secret JOIN newer USING (account_id, kid)
        WHERE secret.pepper_version = newer.replaces
        FOR NO KEY UPDATE OF secret SKIP LOCKED
    )
    UPDATE api_key_secrets AS secret SET digest = newer.digest, pepper_version = newer.pepper_version
    FROM due JOIN newer USING (account_id, kid)
    WHERE (secret.account_id, secret.kid) = (due.account_id, due.kid)
    RETURNING secret.key_id AS id, secret.account_id";

#[derive(QueryableByName)]
struct ChangedRow {
    #[diesel(sql_type = SqlUuid)]
    account_id: uuid::Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: uuid::Uuid,
}

impl PgTx {
    async fn find_key(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        let rows = find_key(&mut self.conn, id).await;
        Ok(crate::row::key::api_keys(self.noted(rows)?)?.pop().map(Unchecked::new))
    }

    async fn insert_secret(&mut self, row: SecretRow, account: AccountId) -> Result<(), StoreError> {
        let locator = (key_locator::kid.eq(row.kid()), key_locator::account_id.eq(account.uuid()));
        let inserted = diesel::insert_into(key_locator::table).values(locator).execute(&mut self.conn).await;
        self.noted(inserted)?;
        let inserted = diesel::insert_into(api_key_secrets::table).values(row).execute(&mut self.conn).await;
        self.noted(inserted).map(drop)
    }

    /// Writes what can change of a key, but its secrets; `Stale` unless it is what the key was changed from.
    async fn save_key(&mut self, changed: &ApiKey) -> Result<(), StoreError> {
        let saved = diesel::update(api_keys::table.find((changed.account.uuid(), changed.id.uuid())))
            .filter(api_keys::revision.eq(changed.revision - 1))
            .set(ContentRow::from(changed))
            .execute(&mut self.conn)
            .await;
        if self.noted(saved)? == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }

    /// Ends all secrets of the key that have not been ended, but those with these kids.
    async fn end_secrets(&mut self, key: &ApiKey, but: &[&str], at: Timestamp) -> Result<(), StoreError> {
        let ended = diesel::update(api_key_secrets::table)
            .filter(api_key_secrets::account_id.eq(key.account.uuid()))
            .filter(api_key_secrets::key_id.eq(key.id.uuid()))
            .filter(api_key_secrets::revoked_at.is_null())
            .filter(api_key_secrets::kid.ne_all(but))
            .set(api_key_secrets::revoked_at.eq(at.to_offset()))
            .execute(&mut self.conn)
            .await;
        self.noted(ended).map(drop)
    }

    async fn save_end_of_secret(&mut self, key: &ApiKey, secret: &KeySecret) -> Result<(), StoreError> {
        let saved = diesel::update(api_key_secrets::table.find((key.account.uuid(), secret.kid.as_str())))
            .filter(api_key_secrets::key_id.eq(key.id.uuid()))
            .set(api_key_secrets::expires_at.eq(secret.expires_at.map(Timestamp::to_offset)))
            .execute(&mut self.conn)
            .await;
        self.noted(saved).map(drop)
    }
}

#[async_trait]
impl ApiKeyRepository for PgTx {
    async fn find(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        self.find_key(id).await
    }

    async fn find_to_change(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        let locked = api_keys::table
            .filter(api_keys::id.eq(id.uuid()))
            .select(api_keys::id)
            .for_no_key_update()
            .load::<uuid::Uuid>(&mut self.conn)
            .await;
        self.noted(locked)?;
        // A statement of its own: one that waited for the lock does not see the secrets that were added meanwhile.
        self.find_key(id).await
    }

    async fn count_live(&mut self, of: &Authorized<CreateKey, AccountId>, now: Timestamp) -> Result<usize, StoreError> {
        let locked = accounts::table
            .find(of.uuid())
            .select(accounts::id)
            .for_no_key_update()
            .load::<uuid::Uuid>(&mut self.conn)
            .await;
        self.noted(locked)?;
        let count = api_keys::table
            .filter(api_keys::account_id.eq(of.uuid()))
            .filter(api_keys::revoked_at.is_null())
            .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now.to_offset())))
            .count()
            .get_result::<i64>(&mut self.conn)
            .await;
        Ok(usize::try_from(self.noted(count)?).unwrap_or(usize::MAX))
    }

    async fn insert(&mut self, into: &Authorized<CreateKey, AccountId>, new: NewApiKey) -> Result<(), StoreError> {
        let NewApiKey { key, digest, pepper_version } = new;
        let secret = NewSecret { kid: key.secrets.newest.kid, digest, pepper_version };
        let row = KeyRow::new(**into, &key);
        let inserted = diesel::insert_into(api_keys::table).values(row).execute(&mut self.conn).await;
        self.noted(inserted)?;
        self.insert_secret(SecretRow::new(**into, &key, &secret), **into).await
    }

    async fn update(&mut self, key: Authorized<UpdateKey, ApiKey>, patch: KeyPatch) -> Result<ApiKey, StoreError> {
        let key = key.into_inner().updated(patch);
        self.save_key(&key).await?;
        Ok(key)
    }

    async fn disable(
        &mut self,
        key: Authorized<DisableKey, ApiKey>,
        since: Option<Timestamp>,
    ) -> Result<ApiKey, StoreError> {
        let key = key.into_inner().disabled(since);
        self.save_key(&key).await?;
        Ok(key)
    }

    async fn rotate(&mut self, key: Authorized<RotateKey, ApiKey>, rotation: Rotation) -> Result<ApiKey, StoreError> {
        let key = key.into_inner().rotated(&rotation);
        self.save_key(&key).await?;
        if let Some(previous) = &key.secrets.previous {
            self.end_secrets(&key, &[previous.kid.as_str()], rotation.at).await?;
            self.save_end_of_secret(&key, previous).await?;
        }
        self.insert_secret(SecretRow::new(key.account, &key, &rotation.secret), key.account).await?;
        Ok(key)
    }

    async fn revoke(&mut self, key: Authorized<RevokeKey, ApiKey>, at: Timestamp) -> Result<ApiKey, StoreError> {
        let key = key.into_inner().revoked(at);
        self.save_key(&key).await?;
        self.end_secrets(&key, &[], at).await?;
        Ok(key)
    }

    async fn move_digests(
        &mut self,
        _: &Authorized<LookUpCredential, Platform>,
        digests: Vec<NewerDigest>,
    ) -> Result<Vec<ApiKeyId>, StoreError> {
        let of = |one: &NewerDigest| (one.account.uuid(), one.kid.as_str().to_owned());
        let (accounts, kids): (Vec<_>, Vec<_>) = digests.iter().map(of).unzip();
        let versions = |one: &NewerDigest| (one.replaces.number(), one.pepper_version.number());
        let (replaced, newer): (Vec<_>, Vec<_>) = digests.iter().map(versions).unzip();
        let texts: Vec<_> = digests.iter().map(|one| one.digest.as_bytes().to_vec()).collect();
        let moved = diesel::sql_query(MOVE_DIGESTS)
            .bind::<Array<SqlUuid>, _>(accounts)
            .bind::<Array<Text>, _>(kids)
            .bind::<Array<SmallInt>, _>(replaced)
            .bind::<Array<SmallInt>, _>(newer)
            .bind::<Array<Binary>, _>(texts)
            .load::<ChangedRow>(&mut self.conn)
            .await;
        Ok(self.noted(moved)?.into_iter().map(|row| ApiKeyId::from_uuid(row.id)).collect())
    }

    async fn revoke_of_deleted(
        &mut self,
        _: &Authorized<EndKeysOfDeleted, Platform>,
        accounts: Option<Vec<AccountId>>,
        at: Timestamp,
        most: usize,
    ) -> Result<Vec<(AccountId, ApiKeyId)>, StoreError> {
        let accounts = accounts.map(|accounts| accounts.into_iter().map(Id::uuid).collect::<Vec<_>>());
        let revoked = diesel::sql_query(REVOKE_OF_DELETED)
            .bind::<Nullable<Array<SqlUuid>>, _>(accounts)
            .bind::<Timestamptz, _>(at.to_offset())
            .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
            .load::<ChangedRow>(&mut self.conn)
            .await;
        let ids = |row: ChangedRow| (AccountId::from_uuid(row.account_id), ApiKeyId::from_uuid(row.id));
        Ok(self.noted(revoked)?.into_iter().map(ids).collect())
    }
}
