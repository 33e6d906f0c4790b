//! Accounts and memberships.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{Account, AccountRepository, Membership};
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_identity::ProviderOrganization;
use portal_kernel::{AccountId, Id, StoreError, Timestamp};

use crate::row::account::{AccountRow, MembershipRow};
use crate::schema::{accounts, memberships};
use crate::tx::PgTx;

#[async_trait]
impl AccountRepository for PgTx {
    async fn insert(&mut self, _: &Authorized<BuildPrincipal, Platform>, account: Account) -> Result<(), StoreError> {
        let inserted =
            diesel::insert_into(accounts::table).values(AccountRow::from(account)).execute(&mut self.conn).await;
        self.noted(inserted).map(drop)
    }

    async fn find_or_insert_organization(
        &mut self,
        _: &Authorized<BuildPrincipal, Platform>,
        id: AccountId,
        organization: ProviderOrganization,
        at: Timestamp,
    ) -> Result<(AccountId, bool), StoreError> {
        let row = AccountRow {
            id: id.uuid(),
            name: organization.name,
            provider_organization_id: Some(organization.id.to_string()),
            created_at: at.to_offset(),
        };
        let inserted = diesel::insert_into(accounts::table)
            .values(row)
            .on_conflict(accounts::provider_organization_id)
            .do_nothing()
            .execute(&mut self.conn)
            .await;
        if self.noted(inserted)? == 1 {
            return Ok((id, true));
        }
        let existing = accounts::table
            .filter(accounts::provider_organization_id.eq(organization.id.as_str()))
            .select(accounts::id)
            .first(&mut self.conn)
            .await;
        Ok((AccountId::from_uuid(self.noted(existing)?), false))
    }

    async fn insert_membership(
        &mut self,
        _: &Authorized<BuildPrincipal, Platform>,
        membership: Membership,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = MembershipRow {
            account_id: membership.account.uuid(),
            user_id: membership.user.uuid(),
            role: membership.role.to_string(),
            provider_role: membership.provider_role,
            created_at: at.to_offset(),
        };
        let inserted = diesel::insert_into(memberships::table)
            .values(row)
            .on_conflict((memberships::account_id, memberships::user_id))
            .do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(inserted)? == 1)
    }
}
