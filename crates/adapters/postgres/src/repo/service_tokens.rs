//! Service tokens.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_api_keys::{NewServiceToken, Rotation, ServiceName, ServiceToken, ServiceTokenRepository};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Authorized, Platform};
use portal_kernel::{StoreError, Timestamp};
use uuid::Uuid;

use crate::row::service_token::{KnownServiceTokenRow, NewestSecretRow, ServiceTokenRow};
use crate::schema::{former_service_secrets, service_tokens};
use crate::tx::PgTx;

impl PgTx {
    async fn known_service_token(&mut self, id: Uuid) -> Result<KnownServiceTokenRow, StoreError> {
        let row = service_tokens::table
            .left_join(former_service_secrets::table)
            .filter(service_tokens::id.eq(id))
            .select(KnownServiceTokenRow::as_select())
            .first(&mut self.conn)
            .await;
        self.noted(row)
    }
}

#[async_trait]
impl ServiceTokenRepository for PgTx {
    async fn insert(
        &mut self,
        _: &Authorized<ManageServiceTokens, Platform>,
        token: NewServiceToken,
    ) -> Result<bool, StoreError> {
        let inserted = diesel::insert_into(service_tokens::table)
            .values(ServiceTokenRow::from(token))
            .on_conflict(service_tokens::name)
            .filter_target(service_tokens::revoked_at.is_null())
            .do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(inserted)? == 1)
    }

    async fn rotate(
        &mut self,
        _: &Authorized<ManageServiceTokens, Platform>,
        name: ServiceName,
        rotation: Rotation,
    ) -> Result<Option<ServiceToken>, StoreError> {
        let at = rotation.at.to_offset();
        let locked = service_tokens::table
            .filter(service_tokens::name.eq(name.as_str()))
            .filter(service_tokens::revoked_at.is_null())
            .filter(service_tokens::expires_at.is_null().or(service_tokens::expires_at.gt(at)))
            .select(service_tokens::id)
            .for_no_key_update()
            .first::<Uuid>(&mut self.conn)
            .await
            .optional();
        let Some(id) = self.noted(locked)? else { return Ok(None) };
        // A statement of its own: one that waited for the lock does not see the secret that was added meanwhile.
        let row = self.known_service_token(id).await?;
        let mut former = row.retiring(rotation.at);
        let token = ServiceToken::try_from(row)?.rotated(&rotation);
        if let Some(previous) = &token.secrets.previous {
            former.end(previous);
            let retired = diesel::insert_into(former_service_secrets::table)
                .values(&former)
                .on_conflict(former_service_secrets::token_id)
                .do_update()
                .set(&former)
                .execute(&mut self.conn)
                .await;
            self.noted(retired)?;
        }
        let saved = diesel::update(service_tokens::table.find(id))
            .set(NewestSecretRow::new(&rotation.secret, rotation.at))
            .execute(&mut self.conn)
            .await;
        self.noted(saved)?;
        Ok(Some(token))
    }

    async fn revoke(
        &mut self,
        _: &Authorized<ManageServiceTokens, Platform>,
        name: ServiceName,
        at: Timestamp,
    ) -> Result<Option<ServiceToken>, StoreError> {
        let revoked = diesel::update(service_tokens::table)
            .filter(service_tokens::name.eq(name.as_str()))
            .filter(service_tokens::revoked_at.is_null())
            .set(service_tokens::revoked_at.eq(at.to_offset()))
            .returning(service_tokens::id)
            .get_result::<Uuid>(&mut self.conn)
            .await
            .optional();
        let Some(id) = self.noted(revoked)? else { return Ok(None) };
        ServiceToken::try_from(self.known_service_token(id).await?).map(Some)
    }
}
