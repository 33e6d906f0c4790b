//! `[accounts]`

use portal_accounts::RoleMap;

use super::reader::Reader;

/// `[accounts]`
#[derive(Debug)]
pub struct AccountsSettings {
    /// How many people are remembered.
    pub cache_entries: usize,
    /// What the provider's role keys mean.
    pub role_map: RoleMap,
    /// Whether what matters most asks for a fresh proof of identity.
    pub step_up: bool,
}

impl AccountsSettings {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let cache_entries = reader.number("accounts.cache_entries", 10_000, 1..=10_000_000);
        let role_map = role_map(reader);
        let step_up = reader.parsed("accounts.reverification", "true", "must be true or false");
        Some(Self { cache_entries: usize::try_from(cache_entries?).ok()?, role_map: role_map?, step_up: step_up? })
    }
}

/// Also for an operator, whose commands merge what the provider tells.
pub(super) fn role_map(reader: &mut Reader) -> Option<RoleMap> {
    const KEY: &str = "accounts.roles";
    let entries = reader.list(KEY);
    if entries.is_empty() {
        return Some(RoleMap::default());
    }
    let map = RoleMap::parse(entries.iter().map(String::as_str));
    map.map_err(|error| reader.mistake(KEY, &error.to_string())).ok()
}
