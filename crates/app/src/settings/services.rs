//! `[services]`

use portal_api_keys::{Brand, InvalidLegacyToken, LegacyToken};
use portal_authz::{Scope, Scopes};

use super::reader::Reader;

const TOKEN: &str = "services.legacy_token";
const SCOPES: &str = "services.legacy_scopes";

/// Reads `[services]`: the legacy token, if one is accepted.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
pub(super) fn read(reader: &mut Reader) -> Option<Option<LegacyToken>> {
    let (text, names) = (reader.text(TOKEN), reader.list(SCOPES));
    // A brand that is none is reported where keys are read.
    let brand = reader.text("keys.brand").and_then(|text| Brand::parse(&text).ok()).unwrap_or_default();
    let scopes: Result<Scopes, _> = names.iter().map(|name| Scope::parse(name)).collect();
    let scopes = scopes.map_err(|error| reader.mistake(SCOPES, &error.to_string())).ok()?;
    let Some(text) = text else {
        if !names.is_empty() {
            reader.mistake(SCOPES, "is for services.legacy_token, which is not set; set it, or remove this");
        }
        return Some(None);
    };
    let legacy = LegacyToken::new(&text.into(), scopes, &brand).map_err(|error| match error {
        InvalidLegacyToken::NoScope => {
            reader.mistake(SCOPES, "is missing; say what the legacy token may do, for example keys:verify");
        }
        other => reader.mistake(TOKEN, &other.to_string()),
    });
    legacy.ok().map(Some)
}
