//! `service_tokens`, `former_service_secrets`.

use diesel::prelude::*;
use ipnet::IpNet;
use portal_api_keys::{
    KeySecret, KeySecrets, Kid, Networks, NewSecret, NewServiceToken, ServiceName, ServiceToken, StoredServiceToken,
};
use portal_authz::Scope;
use portal_kernel::{Id, ServiceTokenId, StoreError, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use super::key::digest;
use super::moment;
use crate::error::corrupt;

const TABLE: &str = "service_tokens";
const FORMER: &str = "former_service_secrets";

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::service_tokens, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct ServiceTokenRow {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
    networks: Vec<IpNet>,
    expires_at: Option<OffsetDateTime>,
    #[diesel(embed)]
    newest: NewestSecretRow,
}

/// What a rotation writes.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = crate::schema::service_tokens, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct NewestSecretRow {
    kid: String,
    digest: Vec<u8>,
    pepper_version: i16,
    rotated_at: Option<OffsetDateTime>,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = crate::schema::former_service_secrets, check_for_backend(diesel::pg::Pg))]
pub(crate) struct FormerSecretRow {
    token_id: Uuid,
    kid: String,
    digest: Vec<u8>,
    pepper_version: i16,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

/// A token with all of its secrets.
#[derive(Queryable, Selectable)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct KnownServiceTokenRow {
    #[diesel(embed)]
    token: ServiceTokenRow,
    #[diesel(embed)]
    former: Option<FormerSecretRow>,
}

impl From<NewServiceToken> for ServiceTokenRow {
    fn from(NewServiceToken { token, digest, pepper_version }: NewServiceToken) -> Self {
        Self {
            id: token.id.uuid(),
            name: token.name.to_string(),
            scopes: token.scopes.iter().map(|scope| scope.to_string()).collect(),
            created_at: token.created_at.to_offset(),
            revoked_at: token.revoked_at.map(Timestamp::to_offset),
            networks: token.networks.iter().collect(),
            expires_at: token.expires_at.map(Timestamp::to_offset),
            newest: NewestSecretRow {
                kid: token.secrets.newest.kid.to_string(),
                digest: digest.as_bytes().to_vec(),
                pepper_version: pepper_version.number(),
                rotated_at: None,
            },
        }
    }
}

impl NewestSecretRow {
    pub(crate) fn new(secret: &NewSecret, at: Timestamp) -> Self {
        Self {
            kid: secret.kid.to_string(),
            digest: secret.digest.as_bytes().to_vec(),
            pepper_version: secret.pepper_version.number(),
            rotated_at: Some(at.to_offset()),
        }
    }
}

impl KnownServiceTokenRow {
    /// The newest secret, as the former one that it becomes at that moment.
    pub(crate) fn retiring(&self, at: Timestamp) -> FormerSecretRow {
        let NewestSecretRow { kid, digest, pepper_version, rotated_at } = &self.token.newest;
        FormerSecretRow {
            token_id: self.token.id,
            kid: kid.clone(),
            digest: digest.clone(),
            pepper_version: *pepper_version,
            created_at: rotated_at.unwrap_or(self.token.created_at),
            expires_at: at.to_offset(),
        }
    }

    /// As whoever knows the secret of that kid presents it; none if the token has no such secret.
    pub(crate) fn presented_by(self, kid: Kid) -> Result<Option<StoredServiceToken>, StoreError> {
        let newest = &self.token.newest;
        let newest = [(TABLE, &newest.kid, &newest.digest, newest.pepper_version)].into_iter();
        let former = self.former.iter().map(|row| (FORMER, &row.kid, &row.digest, row.pepper_version));
        let Some((table, _, bytes, version)) = newest.chain(former).find(|(_, of, ..)| *of == kid.as_str()) else {
            return Ok(None);
        };
        let (digest, pepper_version) = digest(table, bytes, version)?;
        let token = ServiceToken::try_from(self)?;
        let secret_expires_at =
            token.secrets.iter().find(|secret| secret.kid == kid).and_then(|secret| secret.expires_at);
        Ok(Some(StoredServiceToken { token, digest, pepper_version, secret_expires_at }))
    }
}

impl TryFrom<KnownServiceTokenRow> for ServiceToken {
    type Error = StoreError;

    fn try_from(KnownServiceTokenRow { token: row, former }: KnownServiceTokenRow) -> Result<Self, StoreError> {
        let NewestSecretRow { kid, digest: bytes, pepper_version, rotated_at } = row.newest;
        let _readable = digest(TABLE, &bytes, pepper_version)?;
        let newest = KeySecret {
            kid: Kid::parse(&kid).map_err(|_| corrupt(TABLE, "kid"))?,
            created_at: Timestamp::new(rotated_at.unwrap_or(row.created_at)),
            expires_at: None,
            revoked_at: moment(row.revoked_at),
        };
        let previous = former.map(|former| former.secret(moment(row.revoked_at))).transpose()?;
        Ok(Self {
            id: ServiceTokenId::from_uuid(row.id),
            name: ServiceName::parse(&row.name).map_err(|_| corrupt(TABLE, "name"))?,
            // A scope that a newer version of the program gave means nothing to this one.
            scopes: row.scopes.iter().filter_map(|scope| Scope::parse(scope).ok()).collect(),
            networks: Networks::new(row.networks).map_err(|_| corrupt(TABLE, "networks"))?,
            secrets: KeySecrets { newest, previous },
            created_at: Timestamp::new(row.created_at),
            expires_at: moment(row.expires_at),
            revoked_at: moment(row.revoked_at),
        })
    }
}

impl FormerSecretRow {
    /// It goes on for as long as the secret does.
    pub(crate) fn end(&mut self, secret: &KeySecret) {
        self.expires_at = secret.expires_at.map_or(self.expires_at, Timestamp::to_offset);
    }

    fn secret(self, revoked_at: Option<Timestamp>) -> Result<KeySecret, StoreError> {
        let _readable = digest(FORMER, &self.digest, self.pepper_version)?;
        Ok(KeySecret {
            kid: Kid::parse(&self.kid).map_err(|_| corrupt(FORMER, "kid"))?,
            created_at: Timestamp::new(self.created_at),
            expires_at: Some(Timestamp::new(self.expires_at)),
            revoked_at,
        })
    }
}
