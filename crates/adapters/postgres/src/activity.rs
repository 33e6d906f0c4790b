//! When credentials were last used.

use async_trait::async_trait;
use diesel::sql_query;
use diesel::sql_types::{Array, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use portal_api_keys::ActivityLog;
use portal_authz::action::LookUpCredential;
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, ApiKeyId, Id, ServiceTokenId, StoreError, Timestamp};

use crate::PgStore;
use crate::pool::refused;

#[async_trait]
impl ActivityLog<ServiceTokenId> for PgStore {
    async fn used(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        uses: &[(ServiceTokenId, Timestamp)],
    ) -> Result<(), StoreError> {
        let (ids, moments): (Vec<_>, Vec<_>) = uses.iter().map(|(id, at)| (id.uuid(), at.to_offset())).unzip();
        let mut conn = self.connection().await?;
        sql_query(
            "INSERT INTO service_token_activity AS known (token_id, last_used_at) \
             SELECT token_id, last_used_at FROM unnest($1, $2) AS noted (token_id, last_used_at) ORDER BY token_id \
             ON CONFLICT (token_id) DO UPDATE SET last_used_at = excluded.last_used_at \
             WHERE known.last_used_at < excluded.last_used_at",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Timestamptz>, _>(moments)
        .execute(&mut conn)
        .await
        .map_err(|error| refused(&mut conn, error))?;
        Ok(())
    }
}

#[async_trait]
impl ActivityLog<(AccountId, ApiKeyId)> for PgStore {
    async fn used(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        uses: &[((AccountId, ApiKeyId), Timestamp)],
    ) -> Result<(), StoreError> {
        let (keys, moments): (Vec<_>, Vec<_>) = uses.iter().map(|(key, at)| (key, at.to_offset())).unzip();
        let (accounts, keys): (Vec<_>, Vec<_>) = keys.iter().map(|(account, key)| (account.uuid(), key.uuid())).unzip();
        let mut conn = self.connection().await?;
        sql_query(
            "INSERT INTO api_key_activity AS known (account_id, key_id, last_used_at) \
             SELECT account_id, key_id, last_used_at FROM unnest($1, $2, $3) AS noted (account_id, key_id, last_used_at) \
             ORDER BY account_id, key_id \
             ON CONFLICT (account_id, key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
             WHERE known.last_used_at < excluded.last_used_at",
        )
        .bind::<Array<SqlUuid>, _>(accounts)
        .bind::<Array<SqlUuid>, _>(keys)
        .bind::<Array<Timestamptz>, _>(moments)
        .execute(&mut conn)
        .await
        .map_err(|error| refused(&mut conn, error))?;
        Ok(())
    }
}
