//! What the digests of live secrets were made with.

use async_trait::async_trait;
use diesel::sql_types::{BigInt, SmallInt, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use portal_api_keys::{PepperReader, PepperVersion};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Authorized, Platform};
use portal_kernel::{StoreError, Timestamp};

use crate::PgStore;
use crate::error::corrupt;
use crate::pool::refused;

const IN_USE: &str = "
    SELECT pepper_version, count(*) AS secrets FROM (
        SELECT secret.pepper_version FROM api_key_secrets AS secret
        JOIN api_keys AS key ON (key.account_id, key.id) = (secret.account_id, secret.key_id)
        WHERE secret.revoked_at IS NULL AND (secret.expires_at > $1) IS NOT FALSE
            AND key.revoked_at IS NULL AND (key.expires_at > $1) IS NOT FALSE
        UNION ALL
        SELECT pepper_version FROM service_tokens WHERE revoked_at IS NULL AND (expires_at > $1) IS NOT FALSE
        UNION ALL
        SELECT former.pepper_version FROM former_service_secrets AS former
        JOIN service_tokens AS token ON token.id = former.token_id
        WHERE former.expires_at > $1 AND token.revoked_at IS NULL AND (token.expires_at > $1) IS NOT FALSE
    ) AS live GROUP BY pepper_version ORDER BY pepper_version";

#[derive(QueryableByName)]
struct InUse {
    #[diesel(sql_type = SmallInt)]
    pepper_version: i16,
    #[diesel(sql_type = BigInt)]
    secrets: i64,
}

#[async_trait]
impl PepperReader for PgStore {
    async fn peppers_in_use(
        &self,
        _: &Authorized<ManageServiceTokens, Platform>,
        now: Timestamp,
    ) -> Result<Vec<(PepperVersion, usize)>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<InUse> = sql_query(IN_USE)
            .bind::<Timestamptz, _>(now.to_offset())
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let read = |InUse { pepper_version, secrets }: InUse| {
            let version = PepperVersion::parse(pepper_version).map_err(|_| corrupt("digests", "pepper_version"))?;
            Ok((version, usize::try_from(secrets).unwrap_or(usize::MAX)))
        };
        rows.into_iter().map(read).collect()
    }
}
