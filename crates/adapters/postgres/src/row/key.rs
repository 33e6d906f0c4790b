//! `api_keys`, `api_key_secrets`, `key_locator`.

use diesel::prelude::*;
use ipnet::IpNet;
use portal_api_keys::{
    ApiKey, Digest, KeyEnvironment, KeyName, KeyPolicy, KeyScope, KeyScopes, KeySecret, KeySecrets, Kid,
    ModelAllowList, Networks, NewSecret, PepperVersion, RateLimit, RateLimits, StoredKey,
};
use portal_kernel::{AccountId, ApiKeyId, Id, StoreError, Timestamp, UserId};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::moment;
use crate::error::corrupt;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::api_keys, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct KeyRow {
    pub(crate) account_id: Uuid,
    pub(crate) id: Uuid,
    environment: String,
    made_by: Uuid,
    created_at: OffsetDateTime,
    #[diesel(embed)]
    content: ContentRow,
}

/// What can change of a key.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = crate::schema::api_keys, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct ContentRow {
    name: String,
    revoked_at: Option<OffsetDateTime>,
    revision: i64,
    scopes: Vec<String>,
    models: Vec<String>,
    networks: Vec<IpNet>,
    rate_limits: Value,
    expires_at: Option<OffsetDateTime>,
    disabled_at: Option<OffsetDateTime>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::api_key_secrets, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct SecretRow {
    account_id: Uuid,
    key_id: Uuid,
    digest: Vec<u8>,
    pepper_version: i16,
    #[diesel(embed)]
    known: KnownSecretRow,
}

/// What is told of a secret.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::api_key_secrets, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct KnownSecretRow {
    kid: String,
    created_at: OffsetDateTime,
    revision: i64,
    expires_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl KeyRow {
    pub(crate) fn new(account: AccountId, key: &ApiKey) -> Self {
        Self {
            account_id: account.uuid(),
            id: key.id.uuid(),
            environment: key.environment.as_str().to_owned(),
            made_by: key.made_by.uuid(),
            created_at: key.created_at.to_offset(),
            content: ContentRow::from(key),
        }
    }
}

impl From<&ApiKey> for ContentRow {
    fn from(key: &ApiKey) -> Self {
        let KeyPolicy { scopes, models, networks, rate_limits } = &key.policy;
        let limit = |limit: &RateLimit| json!({ "id": limit.id(), "limit": limit.limit(), "window_seconds": limit.window().as_secs() });
        Self {
            name: key.name.to_string(),
            revoked_at: key.revoked_at.map(Timestamp::to_offset),
            revision: key.revision,
            scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
            models: models.iter().map(str::to_owned).collect(),
            networks: networks.iter().collect(),
            rate_limits: rate_limits.iter().map(limit).collect(),
            expires_at: key.expires_at.map(Timestamp::to_offset),
            disabled_at: key.disabled_at.map(Timestamp::to_offset),
        }
    }
}

impl SecretRow {
    /// The newest secret of the key, in that account whatever the key says.
    pub(crate) fn new(account: AccountId, key: &ApiKey, secret: &NewSecret) -> Self {
        let KeySecret { created_at, expires_at, revoked_at, .. } = key.secrets.newest;
        Self {
            account_id: account.uuid(),
            key_id: key.id.uuid(),
            digest: secret.digest.as_bytes().to_vec(),
            pepper_version: secret.pepper_version.number(),
            known: KnownSecretRow {
                kid: secret.kid.to_string(),
                created_at: created_at.to_offset(),
                revision: key.revision,
                expires_at: expires_at.map(Timestamp::to_offset),
                revoked_at: revoked_at.map(Timestamp::to_offset),
            },
        }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.known.kid
    }

    pub(crate) fn parsed_kid(&self) -> Result<Kid, StoreError> {
        parsed_kid(&self.known.kid)
    }
}

impl TryFrom<KnownSecretRow> for KeySecret {
    type Error = StoreError;

    fn try_from(row: KnownSecretRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: parsed_kid(&row.kid)?,
            created_at: Timestamp::new(row.created_at),
            expires_at: moment(row.expires_at),
            revoked_at: moment(row.revoked_at),
        })
    }
}

fn parsed_kid(stored: &str) -> Result<Kid, StoreError> {
    Kid::parse(stored).map_err(|_| corrupt("api_key_secrets", "kid"))
}

fn environment(stored: &str) -> Result<KeyEnvironment, StoreError> {
    KeyEnvironment::parse(stored).ok_or_else(|| corrupt("api_keys", "environment"))
}

fn policy(row: &mut ContentRow) -> Result<KeyPolicy, StoreError> {
    // A scope that a newer version of the program gave means nothing to this one.
    let scopes = row.scopes.iter().filter_map(|scope| KeyScope::parse(scope).ok());
    let limits = rate_limits(&row.rate_limits).and_then(|limits| RateLimits::new(limits).ok());
    Ok(KeyPolicy {
        scopes: KeyScopes::new(scopes).map_err(|_| corrupt("api_keys", "scopes"))?,
        models: ModelAllowList::parse(std::mem::take(&mut row.models)).map_err(|_| corrupt("api_keys", "models"))?,
        networks: Networks::new(row.networks.iter().copied()).map_err(|_| corrupt("api_keys", "networks"))?,
        rate_limits: limits.ok_or_else(|| corrupt("api_keys", "rate_limits"))?,
    })
}

fn rate_limits(stored: &Value) -> Option<Vec<RateLimit>> {
    let limit = |stored: &Value| {
        let number = |name| stored.get(name)?.as_u64();
        RateLimit::new(stored.get("id")?.as_str()?, number("limit")?, number("window_seconds")?).ok()
    };
    stored.as_array()?.iter().map(limit).collect()
}

/// A key, a secret of it, and when the key was last used.
pub(crate) type FoundKey = (KeyRow, KnownSecretRow, Option<OffsetDateTime>);

/// Rows of one key after the other, each with its secrets, newest first; older ones than the two newest are left out.
pub(crate) fn api_keys(rows: Vec<FoundKey>) -> Result<Vec<ApiKey>, StoreError> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for (row, secret, last_used_at) in rows {
        match keys.last_mut().filter(|key| key.id.uuid() == row.id) {
            Some(ApiKey { secrets: KeySecrets { previous: Some(_), .. }, .. }) => {}
            Some(key) => key.secrets.previous = Some(secret.try_into()?),
            None => keys.push(api_key(row, secret, last_used_at)?),
        }
    }
    Ok(keys)
}

fn api_key(
    mut row: KeyRow,
    newest: KnownSecretRow,
    last_used_at: Option<OffsetDateTime>,
) -> Result<ApiKey, StoreError> {
    let content = &mut row.content;
    Ok(ApiKey {
        id: ApiKeyId::from_uuid(row.id),
        account: AccountId::from_uuid(row.account_id),
        name: KeyName::parse(&content.name).map_err(|_| corrupt("api_keys", "name"))?,
        environment: environment(&row.environment)?,
        policy: policy(content)?,
        secrets: KeySecrets::first(newest.try_into()?),
        made_by: UserId::from_uuid(row.made_by),
        created_at: Timestamp::new(row.created_at),
        expires_at: moment(content.expires_at),
        disabled_at: moment(content.disabled_at),
        revoked_at: moment(content.revoked_at),
        last_used_at: moment(last_used_at),
        revision: content.revision,
    })
}

pub(crate) fn stored_key(mut key: KeyRow, secret: &SecretRow) -> Result<StoredKey, StoreError> {
    let (digest, pepper_version) = digest("api_key_secrets", &secret.digest, secret.pepper_version)?;
    let content = &mut key.content;
    Ok(StoredKey {
        key: ApiKeyId::from_uuid(key.id),
        account: AccountId::from_uuid(key.account_id),
        environment: environment(&key.environment)?,
        digest,
        pepper_version,
        policy: policy(content)?,
        secret_expires_at: moment(secret.known.expires_at),
        secret_revoked_at: moment(secret.known.revoked_at),
        expires_at: moment(content.expires_at),
        disabled_at: moment(content.disabled_at),
        revoked_at: moment(content.revoked_at),
        revision: content.revision,
    })
}

pub(crate) fn digest(table: &'static str, bytes: &[u8], version: i16) -> Result<(Digest, PepperVersion), StoreError> {
    let digest = Digest::from_stored(bytes).ok_or_else(|| corrupt(table, "digest"))?;
    let version = PepperVersion::parse(version).map_err(|_| corrupt(table, "pepper_version"))?;
    Ok((digest, version))
}
