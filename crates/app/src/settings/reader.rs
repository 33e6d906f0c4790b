//! Settings as text, by path; remembers what was read and what was wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use config::{Config, File, FileFormat, Value, ValueKind};
use portal_kernel::SecretString;

use super::{Mistake, Mistakes};

/// Environment variables, by name.
#[derive(Debug, Clone, Default)]
pub struct Environment(pub BTreeMap<String, String>);

/// Names that their owners made standard, and ours that are not nested.
const STANDARD: [(&str, &str); 16] = [
    ("PORTAL_PUBLIC_URL", "public_url"),
    ("PORTAL_SERVICE_AUTH_TOKEN", "services.legacy_token"),
    ("DATABASE_URL", "database.url"),
    ("CLERK_PUBLISHABLE_KEY", "clerk.publishable_key"),
    ("CLERK_SECRET_KEY", "clerk.secret_key"),
    ("CLERK_JWT_KEY", "clerk.jwt_key"),
    ("CLERK_JWT_ISSUER_DOMAIN", "clerk.issuer"),
    ("CLERK_API_URL", "clerk.api_url"),
    ("CLERK_API_VERSION", "clerk.api_version"),
    ("CLERK_AUTHORIZED_PARTIES", "clerk.authorized_parties"),
    ("CLERK_PROXY_URL", "clerk.proxy_url"),
    ("CLERK_SIGN_IN_URL", "clerk.sign_in_url"),
    ("CLERK_IS_SATELLITE", "clerk.is_satellite"),
    ("CLERK_DOMAIN", "clerk.domain"),
    ("CLERK_WEBHOOK_SIGNING_SECRET", "clerk.webhook_signing_secret"),
    ("CLERK_MACHINE_SECRET_KEY", "clerk.machine_secret_key"),
];

/// A setting as people meet it: the path in a file, and the variable.
pub(super) fn shown(key: &str) -> String {
    if key.is_empty() {
        return "settings".to_owned();
    }
    let standard = STANDARD.iter().find(|(_, known)| *known == key).map(|(name, _)| (*name).to_owned());
    let name = standard.unwrap_or_else(|| format!("PORTAL_{}", key.to_uppercase().replace('.', "__")));
    format!("{key} ({name})")
}

pub(super) struct Reader {
    values: BTreeMap<String, Value>,
    read: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn open(file: Option<&Path>, environment: &Environment) -> Result<Self, Mistakes> {
        let mut builder = Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        // Only the first line: what follows shows the text around the mistake, which may hold a secret.
        let config = builder.build().map_err(|error| {
            let message = error.to_string().lines().next().unwrap_or_default().to_owned();
            Mistakes(vec![Mistake { key: String::new(), message }])
        })?;
        let mut values = BTreeMap::new();
        flatten("", config.cache, &mut values);
        let mut reader = Self { values, read: BTreeSet::new(), mistakes: Vec::new() };
        let mut named: BTreeMap<String, (&str, &str)> = BTreeMap::new();
        for (name, text) in environment.0.iter().filter(|(_, text)| !text.is_empty()) {
            let Some(key) = key_of(name) else { continue };
            if let Some((other, _)) = named.get(&key).filter(|(_, known)| known != text) {
                reader.mistake(&key, &format!("{other} and {name} contradict each other"));
            }
            reader.values.insert(key.clone(), Value::new(None, ValueKind::String(text.clone())));
            named.insert(key, (name, text));
        }
        Ok(reader)
    }

    pub(super) fn mistake(&mut self, key: &str, message: &str) {
        self.mistakes.push(Mistake { key: key.to_owned(), message: message.to_owned() });
    }

    /// Everything must have been read, and nothing be wrong.
    pub(super) fn finish<T>(mut self, settings: Option<T>) -> Result<T, Mistakes> {
        let unknown: Vec<_> = self.values.keys().filter(|key| !self.read.contains(*key)).cloned().collect();
        for key in unknown {
            self.mistake(&key, "unknown setting");
        }
        self.finish_partly(settings)
    }

    /// Nothing that was read may be wrong.
    pub(super) fn finish_partly<T>(mut self, settings: Option<T>) -> Result<T, Mistakes> {
        self.mistakes.sort();
        self.mistakes.dedup();
        match settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            _ => Err(Mistakes(self.mistakes)),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.read.insert(key.to_owned());
        let text = self.values.get(key)?.clone().into_string();
        text.map_err(|_| self.mistake(key, "must be text")).ok()
    }

    pub(super) fn required(&mut self, key: &str, remedy: &str) -> Option<String> {
        self.read.insert(key.to_owned());
        if !self.values.contains_key(key) {
            self.mistake(key, &format!("is missing; {remedy}"));
        }
        self.text(key)
    }

    /// A value of the wanted type, from a default if it is not set.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, default: &str, expected: &str) -> Option<T> {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        text.parse().map_err(|_| self.mistake(key, expected)).ok()
    }

    /// None if it is not set, or wrong, which then stops the start.
    pub(super) fn optional<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        let text = self.text(key)?;
        text.parse().map_err(|_| self.mistake(key, expected)).ok()
    }

    pub(super) fn number(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("must be a number from {} to {}", range.start(), range.end());
        let number: u64 = self.parsed(key, &default.to_string(), &expected)?;
        if range.contains(&number) {
            Some(number)
        } else {
            self.mistake(key, &expected);
            None
        }
    }

    /// A list in a file, or text separated by commas.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        self.read.insert(key.to_owned());
        let Some(value) = self.values.get(key).cloned() else { return Vec::new() };
        let items = match value.kind {
            ValueKind::Array(items) => items.into_iter().map(Value::into_string).collect::<Result<Vec<_>, _>>(),
            _ => value.into_string().map(|text| text.split(',').map(str::trim).map(ToOwned::to_owned).collect()),
        };
        let items = items.unwrap_or_else(|_| {
            self.mistake(key, "must be a list of texts");
            Vec::new()
        });
        items.into_iter().filter(|item| !item.is_empty()).collect()
    }

    /// The entries of a table whose names are not fixed; their values are secrets.
    pub(super) fn table(&mut self, key: &str) -> Vec<(String, SecretString)> {
        let prefix = format!("{key}.");
        let names: Vec<_> =
            self.values.keys().filter_map(|key| key.strip_prefix(&prefix)).map(ToOwned::to_owned).collect();
        names
            .into_iter()
            .filter_map(|name| self.text(&format!("{prefix}{name}")).map(|text| (name, text.into())))
            .collect()
    }
}

/// The setting that a variable means. Names with `PORTAL_` and no `__` are not ours: Kubernetes injects some.
fn key_of(name: &str) -> Option<String> {
    if let Some((_, key)) = STANDARD.iter().find(|(standard, _)| *standard == name) {
        return Some((*key).to_owned());
    }
    let nested = name.strip_prefix("PORTAL_").filter(|rest| rest.contains("__"))?;
    Some(nested.to_lowercase().replace("__", "."))
}

fn flatten(path: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        ValueKind::Nil => {}
        _ => {
            into.insert(path.to_owned(), value);
        }
    }
}

impl Environment {
    /// A variable that is set to something.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the settings of a production server are given: development has a pepper and a provider of its own.
    pub fn is_for_production(&self) -> bool {
        let telling = |key: &str| key.starts_with("keys.peppers.") || key == "clerk.publishable_key";
        self.0.iter().any(|(name, value)| !value.is_empty() && key_of(name).is_some_and(|key| telling(&key)))
    }
}
