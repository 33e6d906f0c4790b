//! Accounts and memberships.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{
    Account, AccountName, AccountRepository, AccountState, Membership, Merging, OrganizationAccount, Stay,
};
use portal_authz::Authorized;
use portal_authz::action::UpdateAccount;
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};

use crate::error::corrupt;
use serde_json::json;

use crate::prepared::Prepared;
use crate::row::account::{AccountRow, MembershipRow, OrganizationRow};
use crate::schema::{accounts, memberships, users};
use crate::tx::PgTx;

#[diesel::dsl::auto_type(no_type_alias)]
fn stays() -> _ {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .inner_join(accounts::table.on(accounts::id.eq(memberships::account_id)))
}

#[async_trait]
impl AccountRepository for PgTx {
    async fn insert(&mut self, _: &Merging, account: Account) -> Result<(), StoreError> {
        let inserted =
            diesel::insert_into(accounts::table).values(AccountRow::from(account)).execute(&mut self.conn).await;
        self.noted(inserted).map(drop)
    }

    async fn find_organization(
        &mut self,
        _: &Merging,
        id: ProviderOrganizationId,
    ) -> Result<Option<OrganizationAccount>, StoreError> {
        let found = accounts::table
            .filter(accounts::provider_organization_id.eq(id.as_str()))
            .select(OrganizationRow::as_select())
            .first(&mut self.conn)
            .await
            .optional();
        self.noted(found)?.map(OrganizationAccount::try_from).transpose()
    }

    async fn save_organization(&mut self, _: &Merging, organization: OrganizationAccount) -> Result<(), StoreError> {
        let ours = (
            accounts::created_by.eq(organization.created_by.map(|id| id.to_string())),
            accounts::given_to.eq(organization.given_to.map(|id| id.to_string())),
        );
        let row = accounts::table.find(organization.account.uuid());
        let saved = match organization.copy {
            Some(copy) => {
                let told = (
                    accounts::name.eq(copy.content.name),
                    accounts::provider_updated_at.eq(copy.version.to_offset()),
                    accounts::doubtful.eq(copy.doubtful),
                );
                diesel::update(row).set((told, ours)).execute(&mut self.conn).await
            }
            None => diesel::update(row).set(ours).execute(&mut self.conn).await,
        };
        if self.noted(saved)? == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }

    async fn rename(&mut self, of: &Authorized<UpdateAccount, AccountId>, name: AccountName) -> Result<(), StoreError> {
        let renamed = diesel::update(accounts::table.find(of.uuid()))
            .filter(accounts::provider_organization_id.is_null())
            .set(accounts::name.eq(name.as_str()))
            .execute(&mut self.conn)
            .await;
        if self.noted(renamed)? == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }

    async fn delete_organization(&mut self, _: &Merging, account: AccountId) -> Result<Vec<UserId>, StoreError> {
        let closed = diesel::update(accounts::table.find(account.uuid()))
            .set(accounts::state.eq(AccountState::Deleted.as_str()))
            .execute(&mut self.conn)
            .await;
        self.noted(closed)?;
        let members = diesel::delete(memberships::table)
            .filter(memberships::account_id.eq(account.uuid()))
            .returning(memberships::user_id)
            .get_results(&mut self.conn)
            .await;
        Ok(self.noted(members)?.into_iter().map(UserId::from_uuid).collect())
    }

    async fn find_membership(
        &mut self,
        _: &Merging,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Membership>, StoreError> {
        let found = memberships::table
            .find((account.uuid(), user.uuid()))
            .select(MembershipRow::as_select())
            .first(&mut self.conn)
            .await
            .optional();
        self.noted(found)?.map(Membership::try_from).transpose()
    }

    async fn find_stay(&mut self, _: &Merging, id: ProviderMembershipId) -> Result<Option<Stay>, StoreError> {
        let found: QueryResult<Option<(String, String)>> = stays()
            .filter(memberships::provider_membership_id.eq(id.as_str()))
            .filter(accounts::provider_organization_id.is_not_null())
            .select((accounts::provider_organization_id.assume_not_null(), users::provider_id))
            .first(&mut self.conn)
            .await
            .optional();
        let mut found = self.noted(found)?;
        if found.is_none() {
            let rival: QueryResult<Option<(String, String)>> = stays()
                .filter(memberships::rivals.ne(json!([])))
                .filter(memberships::rivals.contains(json!([{ "id": id.as_str() }])))
                .filter(accounts::provider_organization_id.is_not_null())
                .select((accounts::provider_organization_id.assume_not_null(), users::provider_id))
                .first(&mut self.conn)
                .await
                .optional();
            found = self.noted(rival)?;
        }
        let stay = |(organization, user): (String, String)| {
            Ok(Stay {
                membership: id,
                organization: ProviderOrganizationId::parse(&organization)
                    .map_err(|_| corrupt("accounts", "provider_organization_id"))?,
                user: ProviderUserId::parse(&user).map_err(|_| corrupt("users", "provider_id"))?,
            })
        };
        found.map(stay).transpose()
    }

    async fn save_membership(&mut self, _: &Merging, membership: Membership, at: Timestamp) -> Result<(), StoreError> {
        let row = MembershipRow::new(membership, at);
        let content = row.content();
        let save = diesel::insert_into(memberships::table)
            .values(row)
            .on_conflict((memberships::account_id, memberships::user_id))
            .do_update()
            .set(content);
        let saved = Prepared(save).execute(&mut self.conn).await;
        self.noted(saved).map(drop)
    }

    async fn remove_membership(&mut self, _: &Merging, account: AccountId, user: UserId) -> Result<(), StoreError> {
        let removed =
            diesel::delete(memberships::table.find((account.uuid(), user.uuid()))).execute(&mut self.conn).await;
        self.noted(removed).map(drop)
    }
}
