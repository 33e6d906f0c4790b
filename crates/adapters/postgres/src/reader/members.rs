//! Accounts and their members.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{Account, AccountOfUser, AccountReader, AccountState, Member};
use portal_authz::action::{ReadMembers, SetOwner, ViewSelf};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_kernel::{AccountId, Id, Page, PageRequest, StoreError, UserId};

use crate::PgStore;
use crate::pool::refused;
use crate::row::account::{AccountRow, MemberRow, MembershipRow, UserRow, kind_order, member, role};
use crate::schema::{accounts, memberships, users};

#[diesel::dsl::auto_type(no_type_alias)]
fn members() -> _ {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .inner_join(accounts::table.on(accounts::id.eq(memberships::account_id)))
}

impl PgStore {
    async fn one_member(&self, account: AccountId, user: UserId) -> Result<Option<Member>, StoreError> {
        let mut conn = self.connection().await?;
        let row: Option<MemberRow> = members()
            .filter(memberships::account_id.eq(account.uuid()))
            .filter(memberships::user_id.eq(user.uuid()))
            .select((MembershipRow::as_select(), UserRow::as_select(), accounts::provider_organization_id))
            .first(&mut conn)
            .await
            .optional()
            .map_err(|error| refused(&mut conn, error))?;
        row.map(member).transpose()
    }
}

#[async_trait]
impl AccountReader for PgStore {
    async fn find(&self, id: AccountId) -> Result<Option<Unchecked<Account>>, StoreError> {
        let mut conn = self.connection().await?;
        let row = accounts::table
            .find(id.uuid())
            .filter(accounts::state.ne(AccountState::Deleted.as_str()))
            .select(AccountRow::as_select())
            .first(&mut conn)
            .await
            .optional()
            .map_err(|error| refused(&mut conn, error))?;
        row.map(|row| Account::try_from(row).map(Unchecked::new)).transpose()
    }

    async fn member(&self, account: AccountId, user: UserId) -> Result<Option<Unchecked<Member>>, StoreError> {
        Ok(self.one_member(account, user).await?.map(Unchecked::new))
    }

    async fn member_for(
        &self,
        _: &Authorized<SetOwner, Platform>,
        account: AccountId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        self.one_member(account, user).await
    }

    async fn members(
        &self,
        of: &Authorized<ReadMembers, AccountId>,
        request: PageRequest<UserId>,
    ) -> Result<Page<Member, UserId>, StoreError> {
        let mut conn = self.connection().await?;
        let with_surplus = i64::try_from(request.size.rows() + 1).unwrap_or(i64::MAX);
        let mut query = members()
            .filter(memberships::account_id.eq(of.uuid()))
            .order(memberships::user_id.desc())
            .limit(with_surplus)
            .select((MembershipRow::as_select(), UserRow::as_select(), accounts::provider_organization_id))
            .into_boxed();
        if let Some(after) = request.after {
            query = query.filter(memberships::user_id.lt(after.uuid()));
        }
        let rows: Vec<MemberRow> = query.load(&mut conn).await.map_err(|error| refused(&mut conn, error))?;
        let found = rows.into_iter().map(member).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_surplus(found, request.size, |member| member.user))
    }

    async fn of_user(
        &self,
        _: &Authorized<ViewSelf, Platform>,
        user: UserId,
    ) -> Result<Vec<AccountOfUser>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(AccountRow, Option<String>)> = accounts::table
            .inner_join(memberships::table.on(memberships::account_id.eq(accounts::id)))
            .filter(memberships::user_id.eq(user.uuid()))
            .select((AccountRow::as_select(), memberships::role))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let mut found = rows
            .into_iter()
            .filter_map(|(row, stored)| {
                let account = Account::try_from(row);
                match (account, role(stored.as_deref())) {
                    (Ok(account), Ok(Some(role))) => Some(Ok(AccountOfUser { account, role })),
                    (Ok(_), Ok(None)) => None,
                    (Err(error), _) | (_, Err(error)) => Some(Err(error)),
                }
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        found.sort_by_cached_key(|of| (kind_order(&of.account), of.account.name.to_lowercase(), of.account.id));
        Ok(found)
    }
}
