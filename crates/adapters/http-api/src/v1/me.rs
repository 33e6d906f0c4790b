//! The signed-in person.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use portal_accounts::{
    AccountKind, Accounts, CustomPatch, FieldName, FieldValue, InvalidSettings, Locale, Profiles, SettingsPatch, Theme,
    TimeZone, UpdateProfileError, User, Username,
};
use portal_api_keys::{ApiKeys, ReadKeyError};
use portal_authz::action::{UpdateSelf, ViewSelf};
use portal_authz::permissions;
use portal_http_kit::{Endpoint, Object, Problem, ProblemBody, Routes, Session};
use portal_kernel::{PageRequest, PageSize};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::AccountView;
use crate::error::ApiError;
use crate::member::Member;

/// The person.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    #[schema(example = "usr_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    id: String,
    /// Clerk's id.
    #[schema(example = "user_2abc")]
    clerk_id: String,
    /// Absent until Clerk told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// Chosen here; one person's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "zoe_1")]
    username: Option<String>,
    preferences: PreferencesView,
    /// Fields of a frontend's own.
    #[schema(example = json!({ "tour": "done" }))]
    custom: BTreeMap<String, String>,
    /// First sign-in; RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

/// How things are shown. What was not chosen is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = Preferences)]
struct PreferencesView {
    /// `system`, `light` or `dark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<&'static str>,
    /// Of the IANA database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Amsterdam")]
    time_zone: Option<String>,
    /// A language tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pt-BR")]
    locale: Option<String>,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        let profile = user.profile().clone();
        let settings = &user.settings;
        let preferences = PreferencesView {
            theme: settings.theme.map(Theme::as_str),
            time_zone: settings.time_zone.as_ref().map(ToString::to_string),
            locale: settings.locale.as_ref().map(ToString::to_string),
        };
        let custom = settings.custom.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            username: settings.username.as_ref().map(ToString::to_string),
            preferences,
            custom: custom.collect(),
            id: user.id.to_string(),
            clerk_id: user.provider_id.to_string(),
            email: profile.email,
            email_verified: profile.email_verified,
            first_name: profile.first_name,
            last_name: profile.last_name,
            image_url: profile.image_url,
            created_at: user.created_at.to_string(),
        }
    }
}

/// How far the person got.
#[derive(Serialize, ToSchema)]
pub(crate) struct Onboarding {
    /// Whether the active account ever had an API key. Absent for whoever acts for the person: keys are not theirs to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_api_key: Option<bool>,
}

/// The person, where they are, and what they may do there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    user: UserView,
    active_account: AccountView,
    /// Allowed actions in the active account; `ACTION:own` where only for what the person made.
    #[schema(example = json!(["read-account", "read-keys", "create-key", "revoke-key:own", "read-audit-trail:own"]))]
    permissions: Vec<String>,
    onboarding: Onboarding,
}

/// Read the signed-in person
///
/// The first request of a person makes their user, personal account and ownership.
#[utoipa::path(get, path = "/v1/me", operation_id = "getMe", tag = "me",
    responses((status = 200, description = "The person", body = Me)))]
async fn get(
    who: Session<ViewSelf>,
    accounts: web::Data<Accounts>,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse, ApiError> {
    let active = who.signed_in().active_account;
    let account = accounts.get(who.principal(), active).await?;
    let one = PageRequest { size: PageSize::ONE, after: None };
    let has_api_key = match keys.list(who.principal(), active, one).await {
        Ok(page) => Some(!page.items.is_empty()),
        Err(ReadKeyError::Denied(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_organization = account.account.kind() == AccountKind::Organization;
    Ok(HttpResponse::Ok().json(Me {
        user: UserView::from(&who.signed_in().known.user),
        permissions: permissions(who.principal(), active, is_organization),
        active_account: account.into(),
        onboarding: Onboarding { has_api_key },
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ThemeName {
    System,
    Light,
    Dark,
}

/// A change: what is absent stays, what is null goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserPatch {
    /// 3 to 32 characters: a-z, 0-9, `-` and `_`, the first one a letter.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "zoe_1")]
    username: Member<String>,
    #[serde(default)]
    #[schema(value_type = Option<PreferencesPatch>)]
    preferences: Member<Object<PreferencesPatch>>,
    /// Up to 20 fields; names of 1 to 40 characters a-z, 0-9, `-`, `_` and `.`, values of up to 256. Null takes a field away.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::HashMap<String, Option<String>>>, example = json!({ "tour": "done" }))]
    custom: Member<BTreeMap<String, Option<String>>>,
}

/// A change of how things are shown.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreferencesPatch {
    #[serde(default)]
    #[schema(value_type = Option<ThemeName>)]
    theme: Member<ThemeName>,
    /// Of the IANA database.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Amsterdam")]
    time_zone: Member<String>,
    /// A language tag.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "pt-BR")]
    locale: Member<String>,
}

impl UserPatch {
    /// What is null as a whole goes as a whole.
    fn parse(self) -> Result<SettingsPatch, InvalidSettings> {
        let PreferencesPatch { theme, time_zone, locale } = match self.preferences {
            Member::Absent => PreferencesPatch::default(),
            Member::Null => PreferencesPatch { theme: Member::Null, time_zone: Member::Null, locale: Member::Null },
            Member::Value(Object(patch)) => patch,
        };
        let field = |(name, value): (String, Option<String>)| {
            Ok((FieldName::parse(&name)?, value.map(|value| FieldValue::parse(&value)).transpose()?))
        };
        let custom = match self.custom {
            Member::Absent => CustomPatch::default(),
            Member::Null => CustomPatch::Clear,
            Member::Value(fields) => CustomPatch::Fields(fields.into_iter().map(field).collect::<Result<_, _>>()?),
        };
        Ok(SettingsPatch {
            username: self.username.parse(|name| Username::parse(&name))?,
            theme: theme.parse(|theme| {
                Ok::<_, InvalidSettings>(match theme {
                    ThemeName::System => Theme::System,
                    ThemeName::Light => Theme::Light,
                    ThemeName::Dark => Theme::Dark,
                })
            })?,
            time_zone: time_zone.parse(|zone| TimeZone::parse(&zone))?,
            locale: locale.parse(|locale| Locale::parse(&locale))?,
            custom,
        })
    }
}

/// Change one's username, preferences and fields
///
/// What Clerk tells of the person is changed at Clerk. The body is a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/v1/me", operation_id = "updateMe", tag = "me", request_body = UserPatch,
    responses(
        (status = 200, description = "The person", body = UserView),
        (status = 409, description = "The username is taken", body = ProblemBody,
            content_type = "application/problem+json")))]
async fn update(
    who: Session<UpdateSelf>,
    profiles: web::Data<Profiles>,
    web::Json(Object(body)): web::Json<Object<UserPatch>>,
) -> Result<HttpResponse, ApiError> {
    let user = &who.signed_in().known.user;
    let patch = body.parse().map_err(invalid)?;
    let settings = profiles.update(who.caller(), user, patch).await?;
    Ok(HttpResponse::Ok().json(UserView::from(&User { settings, ..user.clone() })))
}

fn invalid(error: InvalidSettings) -> Problem {
    Problem::invalid("invalid_profile", "The profile is not valid").detail(error)
}

impl From<UpdateProfileError> for ApiError {
    fn from(error: UpdateProfileError) -> Self {
        Self::from(match error {
            UpdateProfileError::UsernameTaken => {
                Problem::new(StatusCode::CONFLICT, "username_taken", "The username is taken")
            }
            UpdateProfileError::Invalid(error) => invalid(error),
            UpdateProfileError::Denied(denied) => denied.into(),
            UpdateProfileError::Store(error) => error.into(),
        })
    }
}

/// Accounts of a person.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountList {
    /// The personal account first, then by name.
    data: Vec<AccountView>,
}

/// List one's accounts
#[utoipa::path(get, path = "/v1/me/accounts", operation_id = "listMyAccounts", tag = "me",
    responses((status = 200, description = "All accounts of the person", body = AccountList)))]
async fn accounts(who: Session<ViewSelf>, accounts: web::Data<Accounts>) -> Result<HttpResponse, ApiError> {
    let data = accounts.list(who.principal()).await?.into_iter().map(AccountView::from).collect();
    Ok(HttpResponse::Ok().json(AccountList { data }))
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::new::<__path_get, _, _, _>(get))
        .with(Endpoint::new::<__path_update, _, _, _>(update))
        .with(Endpoint::new::<__path_accounts, _, _, _>(accounts))
}
