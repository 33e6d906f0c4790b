//! `accounts`, `users`, `memberships`.

use diesel::prelude::*;
use portal_accounts::{
    Account, AccountKind, FieldName, FieldValue, KnownMembership, Locale, Member, Membership, MembershipRecord,
    OrganizationAccount, OrganizationRecord, PersonalSettings, Profile, Theme, TimeZone, User, UserState, Username,
    Versioned,
};
use portal_authz::Role;
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::corrupt;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::accounts, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
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

fn copy<T>(content: T, version: Option<OffsetDateTime>, doubtful: bool) -> Option<Versioned<T>> {
    version.map(|version| Versioned { content, version: Timestamp::new(version), doubtful })
}

/// The account of an organization, with the provider's record.
#[derive(Queryable, Selectable)]
#[diesel(table_name = crate::schema::accounts, check_for_backend(diesel::pg::Pg))]
pub(crate) struct OrganizationRow {
    id: Uuid,
    name: String,
    created_by: Option<String>,
    given_to: Option<String>,
    provider_updated_at: Option<OffsetDateTime>,
    doubtful: bool,
}

impl TryFrom<OrganizationRow> for OrganizationAccount {
    type Error = StoreError;

    fn try_from(row: OrganizationRow) -> Result<Self, StoreError> {
        let person = |id: Option<String>| id.map(|id| ProviderUserId::parse(&id)).transpose();
        let created_by = person(row.created_by).map_err(|_| corrupt("accounts", "created_by"))?;
        let given_to = person(row.given_to).map_err(|_| corrupt("accounts", "given_to"))?;
        let record = OrganizationRecord { name: row.name };
        let copy = copy(record, row.provider_updated_at, row.doubtful);
        Ok(Self { account: AccountId::from_uuid(row.id), created_by, given_to, copy })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::users, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct UserRow {
    id: Uuid,
    provider_id: String,
    personal_account_id: Uuid,
    email: Option<String>,
    email_verified: bool,
    first_name: Option<String>,
    last_name: Option<String>,
    image_url: Option<String>,
    profile_asked_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    state: String,
    provider_updated_at: Option<OffsetDateTime>,
    doubtful: bool,
    memberships_asked_at: Option<OffsetDateTime>,
    #[diesel(embed)]
    settings: SettingsRow,
}

/// What a person chose here.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = crate::schema::users, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct SettingsRow {
    username: Option<String>,
    settings: Value,
}

impl From<PersonalSettings> for SettingsRow {
    fn from(settings: PersonalSettings) -> Self {
        let custom: Map<_, _> =
            settings.custom.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        let texts = [
            ("theme", settings.theme.map(|theme| theme.as_str().to_owned())),
            ("time_zone", settings.time_zone.map(|zone| zone.to_string())),
            ("locale", settings.locale.map(|locale| locale.to_string())),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))));
        let custom = (!custom.is_empty()).then(|| ("custom".to_owned(), Value::Object(custom)));
        Self { username: settings.username.map(|name| name.to_string()), settings: texts.chain(custom).collect() }
    }
}

impl TryFrom<SettingsRow> for PersonalSettings {
    type Error = StoreError;

    fn try_from(row: SettingsRow) -> Result<Self, StoreError> {
        let text = |name: &str| row.settings.get(name).and_then(Value::as_str);
        let custom = row.settings.get("custom").and_then(Value::as_object);
        let field = |(name, value): (&String, &Value)| {
            Some((FieldName::parse(name).ok()?, FieldValue::parse(value.as_str()?).ok()?))
        };
        let username = row.username.as_deref().map(Username::parse).transpose();
        Ok(Self {
            username: username.map_err(|_| corrupt("users", "username"))?,
            // What another version of the program knew, and this one does not, is left out: nobody is locked out by it.
            theme: text("theme").and_then(Theme::parse),
            time_zone: text("time_zone").and_then(|zone| TimeZone::parse(zone).ok()),
            locale: text("locale").and_then(|locale| Locale::parse(locale).ok()),
            custom: custom.into_iter().flatten().filter_map(field).collect(),
        })
    }
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        let (provider_updated_at, doubtful) =
            user.copy.as_ref().map_or((None, false), |copy| (Some(copy.version.to_offset()), copy.doubtful));
        let profile = user.copy.map(|copy| copy.content).unwrap_or_default();
        Self {
            id: user.id.uuid(),
            provider_id: user.provider_id.to_string(),
            personal_account_id: user.personal_account.uuid(),
            email: profile.email,
            email_verified: profile.email_verified,
            first_name: profile.first_name,
            last_name: profile.last_name,
            image_url: profile.image_url,
            profile_asked_at: user.asked_at.map(Timestamp::to_offset),
            created_at: user.created_at.to_offset(),
            state: user.state.as_str().to_owned(),
            provider_updated_at,
            doubtful,
            settings: user.settings.into(),
            memberships_asked_at: user.memberships_asked_at.map(Timestamp::to_offset),
        }
    }
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        let profile = Profile {
            email: row.email,
            email_verified: row.email_verified,
            first_name: row.first_name,
            last_name: row.last_name,
            image_url: row.image_url,
            banned: row.state == UserState::Paused.as_str(),
        };
        Ok(Self {
            id: UserId::from_uuid(row.id),
            provider_id: ProviderUserId::parse(&row.provider_id).map_err(|_| corrupt("users", "provider_id"))?,
            personal_account: AccountId::from_uuid(row.personal_account_id),
            state: UserState::parse(&row.state).ok_or_else(|| corrupt("users", "state"))?,
            copy: copy(profile, row.provider_updated_at, row.doubtful),
            settings: row.settings.try_into()?,
            asked_at: row.profile_asked_at.map(Timestamp::new),
            memberships_asked_at: row.memberships_asked_at.map(Timestamp::new),
            created_at: Timestamp::new(row.created_at),
        })
    }
}

/// What changes of a membership.
#[derive(Queryable, Selectable, AsChangeset)]
#[diesel(table_name = crate::schema::memberships, check_for_backend(diesel::pg::Pg), treat_none_as_null = true)]
pub(crate) struct MembershipContent {
    role: Option<String>,
    provider_role: Option<String>,
    provider_membership_id: Option<String>,
    provider_updated_at: Option<OffsetDateTime>,
    doubtful: bool,
    rivals: Value,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = crate::schema::memberships, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(crate) struct MembershipRow {
    account_id: Uuid,
    user_id: Uuid,
    role: Option<String>,
    provider_role: Option<String>,
    created_at: OffsetDateTime,
    provider_membership_id: Option<String>,
    provider_updated_at: Option<OffsetDateTime>,
    doubtful: bool,
    rivals: Value,
}

impl MembershipRow {
    pub(crate) fn new(membership: Membership, at: Timestamp) -> Self {
        let version = membership.copy.as_ref().map(|copy| copy.version.to_offset());
        let doubtful = membership.copy.as_ref().is_some_and(|copy| copy.doubtful);
        let record = membership.copy.map(|copy| copy.content);
        let rivals = membership.rivals.iter().map(|rival| json!({ "id": rival.id.as_str(), "role": rival.role }));
        Self {
            rivals: rivals.collect(),
            account_id: membership.account.uuid(),
            user_id: membership.user.uuid(),
            role: membership.role.map(|role| role.to_string()),
            provider_role: record.as_ref().map(|record| record.role.clone()),
            created_at: at.to_offset(),
            provider_membership_id: record.map(|record| record.id.to_string()),
            provider_updated_at: version,
            doubtful,
        }
    }

    pub(crate) fn content(&self) -> MembershipContent {
        MembershipContent {
            role: self.role.clone(),
            provider_role: self.provider_role.clone(),
            provider_membership_id: self.provider_membership_id.clone(),
            provider_updated_at: self.provider_updated_at,
            doubtful: self.doubtful,
            rivals: self.rivals.clone(),
        }
    }
}

pub(crate) fn role(stored: Option<&str>) -> Result<Option<Role>, StoreError> {
    stored.map(|role| Role::parse(role).ok_or_else(|| corrupt("memberships", "role"))).transpose()
}

impl TryFrom<MembershipRow> for Membership {
    type Error = StoreError;

    fn try_from(row: MembershipRow) -> Result<Self, StoreError> {
        let id = row.provider_membership_id.map(|id| ProviderMembershipId::parse(&id)).transpose();
        let id = id.map_err(|_| corrupt("memberships", "provider_membership_id"))?;
        let record = id.zip(row.provider_role).map(|(id, role)| MembershipRecord { id, role });
        let rivals = row.rivals.as_array().and_then(|rivals| rivals.iter().map(rival).collect());
        Ok(Self {
            account: AccountId::from_uuid(row.account_id),
            user: UserId::from_uuid(row.user_id),
            role: role(row.role.as_deref())?,
            copy: record.and_then(|record| copy(record, row.provider_updated_at, row.doubtful)),
            rivals: rivals.ok_or_else(|| corrupt("memberships", "rivals"))?,
        })
    }
}

fn rival(stored: &Value) -> Option<MembershipRecord> {
    let text = |name: &str| stored.get(name)?.as_str();
    Some(MembershipRecord { id: ProviderMembershipId::parse(text("id")?).ok()?, role: text("role")?.to_owned() })
}

pub(crate) fn known_membership(
    row: MembershipRow,
    provider_organization: Option<String>,
) -> Result<KnownMembership, StoreError> {
    Ok(KnownMembership {
        account: AccountId::from_uuid(row.account_id),
        role: role(row.role.as_deref())?,
        provider_role: row.provider_role,
        provider_organization: organization(provider_organization)?,
    })
}

/// A member with what the provider tells of them, and the organization.
pub(crate) type MemberRow = (MembershipRow, UserRow, Option<String>);

pub(crate) fn member((membership, user, organization): MemberRow) -> Result<Member, StoreError> {
    let (created_at, provider_role) = (membership.created_at, membership.provider_role.clone());
    let (user, stored) = (User::try_from(user)?, Membership::try_from(membership)?);
    Ok(Member {
        account: stored.account,
        organization: self::organization(organization)?,
        user: user.id,
        provider_id: user.provider_id.clone(),
        profile: user.profile().clone(),
        role: stored.role,
        provider_role,
        membership: stored.copy.map(|copy| copy.content.id),
        created_at: Timestamp::new(created_at),
    })
}

/// Personal accounts first.
pub(crate) fn kind_order(account: &Account) -> u8 {
    match account.kind() {
        AccountKind::Personal => 0,
        AccountKind::Organization => 1,
    }
}
