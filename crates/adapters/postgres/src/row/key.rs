//! `api_keys`, `api_key_secrets`, `key_locator`.

use diesel::prelude::*;
use portal_api_keys::{ApiKey, Digest, KeyEnvironment, KeyName, Kid, PepperVersion, StoredKey};
use portal_kernel::{AccountId, ApiKeyId, Id, StoreError, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::moment;
use crate::error::corrupt;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::api_keys, check_for_backend(diesel::pg::Pg))]
pub(crate) struct KeyRow {
    pub(crate) account_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) environment: String,
    pub(crate) made_by: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) revoked_at: Option<OffsetDateTime>,
    pub(crate) revision: i64,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::api_key_secrets, check_for_backend(diesel::pg::Pg))]
pub(crate) struct SecretRow {
    pub(crate) account_id: Uuid,
    pub(crate) kid: String,
    pub(crate) key_id: Uuid,
    pub(crate) digest: Vec<u8>,
    pub(crate) pepper_version: i16,
    pub(crate) created_at: OffsetDateTime,
}

fn environment(stored: &str) -> Result<KeyEnvironment, StoreError> {
    KeyEnvironment::parse(stored).ok_or_else(|| corrupt("api_keys", "environment"))
}

pub(crate) fn api_key(row: &KeyRow, kid: &str) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: ApiKeyId::from_uuid(row.id),
        account: AccountId::from_uuid(row.account_id),
        name: KeyName::parse(&row.name).map_err(|_| corrupt("api_keys", "name"))?,
        environment: environment(&row.environment)?,
        kid: Kid::parse(kid).map_err(|_| corrupt("api_key_secrets", "kid"))?,
        made_by: UserId::from_uuid(row.made_by),
        created_at: Timestamp::new(row.created_at),
        revoked_at: moment(row.revoked_at),
        revision: row.revision,
    })
}

pub(crate) fn stored_key(key: &KeyRow, secret: &SecretRow) -> Result<StoredKey, StoreError> {
    let (digest, pepper_version) = digest("api_key_secrets", &secret.digest, secret.pepper_version)?;
    Ok(StoredKey {
        key: ApiKeyId::from_uuid(key.id),
        account: AccountId::from_uuid(key.account_id),
        environment: environment(&key.environment)?,
        digest,
        pepper_version,
        revoked_at: moment(key.revoked_at),
        revision: key.revision,
    })
}

pub(crate) fn digest(table: &'static str, bytes: &[u8], version: i16) -> Result<(Digest, PepperVersion), StoreError> {
    let digest = Digest::from_stored(bytes).ok_or_else(|| corrupt(table, "digest"))?;
    let version = PepperVersion::parse(version).map_err(|_| corrupt(table, "pepper_version"))?;
    Ok((digest, version))
}
