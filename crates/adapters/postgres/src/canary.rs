//! The program's own key, by which it is measured how long revoked keys go on. All moments are the server's.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_api_keys::{CanaryKey, CanaryLife, CanaryReader, CanaryRepository};
use portal_authz::action::{KeepCanary, LookUpCredential};
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, ApiKeyId, Id, StoreError};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::PgStore;
use crate::pool::refused;
use crate::row::moment;
use crate::tx::PgTx;

/// Two at once: the second waits for the first, and then finds it living. The transaction's own time would be that of before the wait.
const BEGIN: &str = "
    UPDATE revocation_canary SET live_since = clock_timestamp(), revoked_at = NULL, revision = revision + 1
    WHERE coalesce(revoked_at, live_since + interval '30 seconds') <= clock_timestamp() - $1 * interval '1 microsecond'
    RETURNING revision";

const END: &str = "
    UPDATE revocation_canary SET revoked_at = clock_timestamp(), revision = revision + 1
    WHERE revision = $1 AND revoked_at IS NULL";

const READ: &str = "
    SELECT revision, revoked_at, (extract(epoch FROM clock_timestamp() - revoked_at) * 1000000)::bigint AS revoked_for
    FROM revocation_canary";

#[derive(QueryableByName)]
struct Begun {
    #[diesel(sql_type = BigInt)]
    revision: i64,
}

#[derive(QueryableByName)]
struct CanaryRow {
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<BigInt>)]
    revoked_for: Option<i64>,
}

/// Nobody's: a real one holds the time of its making.
fn key() -> ApiKeyId {
    ApiKeyId::from_uuid(Uuid::nil())
}

#[async_trait]
impl CanaryRepository for PgTx {
    async fn begin(
        &mut self,
        _: &Authorized<KeepCanary, Platform>,
        rest: Duration,
    ) -> Result<Option<CanaryLife>, StoreError> {
        let rest = i64::try_from(rest.as_micros()).unwrap_or(i64::MAX);
        let begun = sql_query(BEGIN).bind::<BigInt, _>(rest).get_result::<Begun>(&mut self.conn).await.optional();
        Ok(self.noted(begun)?.map(|Begun { revision }| CanaryLife { key: key(), revision }))
    }

    async fn end(&mut self, _: &Authorized<KeepCanary, Platform>, life: CanaryLife) -> Result<bool, StoreError> {
        let ended = sql_query(END).bind::<BigInt, _>(life.revision).execute(&mut self.conn).await;
        Ok(self.noted(ended)? == 1)
    }
}

#[async_trait]
impl CanaryReader for PgStore {
    async fn canary(&self, _: &Authorized<LookUpCredential, Platform>) -> Result<CanaryKey, StoreError> {
        let mut conn = self.connection().await?;
        let row: CanaryRow = sql_query(READ).get_result(&mut conn).await.map_err(|error| refused(&mut conn, error))?;
        Ok(CanaryKey {
            key: key(),
            account: AccountId::from_uuid(Uuid::nil()),
            revision: row.revision,
            revoked_at: moment(row.revoked_at),
            revoked_for: row.revoked_for.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))),
        })
    }
}
