//! `service_tokens`.

use diesel::prelude::*;
use portal_api_keys::{Kid, NewServiceToken, ServiceName, ServiceToken, StoredServiceToken};
use portal_authz::Scope;
use portal_kernel::{Id, ServiceTokenId, StoreError, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use super::key::digest;
use super::moment;
use crate::error::corrupt;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::service_tokens, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct ServiceTokenRow {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    kid: String,
    digest: Vec<u8>,
    pepper_version: i16,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
}

impl From<NewServiceToken> for ServiceTokenRow {
    fn from(NewServiceToken { token, digest, pepper_version }: NewServiceToken) -> Self {
        Self {
            id: token.id.uuid(),
            name: token.name.to_string(),
            scopes: token.scopes.iter().map(|scope| scope.to_string()).collect(),
            kid: token.kid.to_string(),
            digest: digest.as_bytes().to_vec(),
            pepper_version: pepper_version.number(),
            created_at: token.created_at.to_offset(),
            revoked_at: token.revoked_at.map(Timestamp::to_offset),
        }
    }
}

impl TryFrom<ServiceTokenRow> for StoredServiceToken {
    type Error = StoreError;

    fn try_from(row: ServiceTokenRow) -> Result<Self, StoreError> {
        const TABLE: &str = "service_tokens";
        let (digest, pepper_version) = digest(TABLE, &row.digest, row.pepper_version)?;
        let token = ServiceToken {
            id: ServiceTokenId::from_uuid(row.id),
            name: ServiceName::parse(&row.name).map_err(|_| corrupt(TABLE, "name"))?,
            // A scope that a newer version of the program gave means nothing to this one.
            scopes: row.scopes.iter().filter_map(|scope| Scope::parse(scope).ok()).collect(),
            kid: Kid::parse(&row.kid).map_err(|_| corrupt(TABLE, "kid"))?,
            created_at: Timestamp::new(row.created_at),
            revoked_at: moment(row.revoked_at),
        };
        Ok(Self { token, digest, pepper_version })
    }
}
