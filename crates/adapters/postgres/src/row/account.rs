//! `accounts`, `users`, `memberships`.

use diesel::prelude::*;
use portal_accounts::{Account, AccountKind, KnownMembership, Profile, User};
use portal_authz::Role;
use portal_identity::{ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::moment;
use crate::error::corrupt;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::accounts, check_for_backend(diesel::pg::Pg))]
pub(crate) struct AccountRow {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) provider_organization_id: Option<String>,
    pub(crate) created_at: OffsetDateTime,
}

impl From<Account> for AccountRow {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.uuid(),
            name: account.name,
            provider_organization_id: account.provider_organization.map(|id| id.to_string()),
            created_at: account.created_at.to_offset(),
        }
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AccountId::from_uuid(row.id),
            name: row.name,
            provider_organization: organization(row.provider_organization_id)?,
            created_at: Timestamp::new(row.created_at),
        })
    }
}

pub(crate) fn organization(stored: Option<String>) -> Result<Option<ProviderOrganizationId>, StoreError> {
    stored
        .map(|id| ProviderOrganizationId::parse(&id))
        .transpose()
        .map_err(|_| corrupt("accounts", "provider_organization_id"))
}

pub(crate) fn role(stored: &str) -> Result<Role, StoreError> {
    Role::parse(stored).ok_or_else(|| corrupt("memberships", "role"))
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::users, check_for_backend(diesel::pg::Pg))]
pub(crate) struct UserRow {
    pub(crate) id: Uuid,
    pub(crate) provider_id: String,
    pub(crate) personal_account_id: Uuid,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) image_url: Option<String>,
    pub(crate) profile_asked_at: Option<OffsetDateTime>,
    pub(crate) profile_read_at: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId::from_uuid(row.id),
            provider_id: ProviderUserId::parse(&row.provider_id).map_err(|_| corrupt("users", "provider_id"))?,
            personal_account: AccountId::from_uuid(row.personal_account_id),
            profile: Profile {
                email: row.email,
                email_verified: row.email_verified,
                first_name: row.first_name,
                last_name: row.last_name,
                image_url: row.image_url,
            },
            profile_read_at: moment(row.profile_read_at),
            created_at: Timestamp::new(row.created_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::memberships, check_for_backend(diesel::pg::Pg))]
pub(crate) struct MembershipRow {
    pub(crate) account_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) role: String,
    pub(crate) provider_role: Option<String>,
    pub(crate) created_at: OffsetDateTime,
}

pub(crate) fn known_membership(
    row: MembershipRow,
    provider_organization: Option<String>,
) -> Result<KnownMembership, StoreError> {
    let provider_organization = organization(provider_organization)?;
    Ok(KnownMembership {
        account: AccountId::from_uuid(row.account_id),
        role: role(&row.role)?,
        provider_role: row.provider_role,
        provider_organization,
    })
}

/// Personal accounts first.
pub(crate) fn kind_order(account: &Account) -> u8 {
    match account.kind() {
        AccountKind::Personal => 0,
        AccountKind::Organization => 1,
    }
}
