//! Keys.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_api_keys::{ApiKey, ApiKeyRepository, NewApiKey};
use portal_authz::action::{CreateKey, RevokeKey};
use portal_authz::{Authorized, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Id, StoreError, Timestamp};

use crate::reader::{find_key, unchecked};
use crate::row::key::{KeyRow, SecretRow};
use crate::schema::{api_key_secrets, api_keys, key_locator};
use crate::tx::PgTx;

#[async_trait]
impl ApiKeyRepository for PgTx {
    async fn find(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        let found = find_key(&mut self.conn, id).await;
        unchecked(self.noted(found)?)
    }

    async fn insert(&mut self, into: &Authorized<CreateKey, AccountId>, new: NewApiKey) -> Result<(), StoreError> {
        let NewApiKey { key, digest, pepper_version } = new;
        let account_id = into.uuid();
        let created_at = key.created_at.to_offset();
        let secret = SecretRow {
            account_id,
            kid: key.kid.to_string(),
            key_id: key.id.uuid(),
            digest: digest.as_bytes().to_vec(),
            pepper_version: pepper_version.number(),
            created_at,
        };
        let row = KeyRow {
            account_id,
            id: key.id.uuid(),
            name: key.name.to_string(),
            environment: key.environment.as_str().to_owned(),
            made_by: key.made_by.uuid(),
            created_at,
            revoked_at: key.revoked_at.map(Timestamp::to_offset),
            revision: key.revision,
        };
        let inserted = diesel::insert_into(api_keys::table).values(row).execute(&mut self.conn).await;
        self.noted(inserted)?;
        let locator = (key_locator::kid.eq(&secret.kid), key_locator::account_id.eq(account_id));
        let inserted = diesel::insert_into(key_locator::table).values(locator).execute(&mut self.conn).await;
        self.noted(inserted)?;
        let inserted = diesel::insert_into(api_key_secrets::table).values(secret).execute(&mut self.conn).await;
        self.noted(inserted).map(drop)
    }

    async fn revoke(&mut self, key: Authorized<RevokeKey, ApiKey>, at: Timestamp) -> Result<ApiKey, StoreError> {
        let mut key = key.into_inner();
        let revision = diesel::update(api_keys::table.find((key.account.uuid(), key.id.uuid())))
            .filter(api_keys::revoked_at.is_null())
            .set((api_keys::revoked_at.eq(at.to_offset()), api_keys::revision.eq(api_keys::revision + 1)))
            .returning(api_keys::revision)
            .get_result(&mut self.conn)
            .await
            .optional();
        key.revision = self.noted(revision)?.ok_or(StoreError::Stale)?;
        key.revoked_at = Some(at);
        Ok(key)
    }
}
