//! Service tokens.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_api_keys::{NewServiceToken, ServiceName, ServiceToken, ServiceTokenRepository, StoredServiceToken};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Authorized, Platform};
use portal_kernel::{StoreError, Timestamp};

use crate::row::service_token::ServiceTokenRow;
use crate::schema::service_tokens;
use crate::tx::PgTx;

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

    async fn revoke(
        &mut self,
        _: &Authorized<ManageServiceTokens, Platform>,
        name: ServiceName,
        at: Timestamp,
    ) -> Result<Option<ServiceToken>, StoreError> {
        let row = diesel::update(service_tokens::table)
            .filter(service_tokens::name.eq(name.as_str()))
            .filter(service_tokens::revoked_at.is_null())
            .set(service_tokens::revoked_at.eq(at.to_offset()))
            .returning(ServiceTokenRow::as_returning())
            .get_result(&mut self.conn)
            .await
            .optional();
        self.noted(row)?.map(|row| StoredServiceToken::try_from(row).map(|stored| stored.token)).transpose()
    }
}
