//! Machine tokens that are JWTs: verified with the keys at hand, and valid until they expire (`clerk.md` §4.4).

use portal_identity::{MachineAuth, ProviderMachineId, TokenType};
use serde_json::Value;

use crate::StrictChoices;
use crate::claims;
use crate::error::TokenVerificationError;
use crate::json::Members;
use crate::loose::to_text;
use crate::machine::{auth_of, not_for_us};
use crate::machine_error::MachineTokenError;
use crate::token::DecodedToken;
use crate::verify::Verifier;

/// What is no custom claim of a machine's token.
const RESERVED_CLAIMS: [&str; 6] = ["iss", "sub", "exp", "nbf", "iat", "jti"];

/// Class and category, then key, `typ`, algorithm, signature and claims, in the order of a session token. A token of a machine
/// must name `own_id`, if there is one.
pub(crate) async fn verify(
    verifier: &Verifier,
    token: &str,
    token_type: TokenType,
    own_id: Option<&ProviderMachineId>,
) -> Result<MachineAuth, MachineTokenError> {
    let settings = &verifier.settings;
    let decoded = DecodedToken::read(token, settings.choices());
    let token = decoded.map_err(|error| MachineTokenError::invalid(error.to_string()))?;
    if token.machine_type() != Some(token_type) {
        return Err(MachineTokenError::failed("Invalid JWT type."));
    }
    if token_type == TokenType::M2mToken && !token.may_be_of_machine() {
        return Err(MachineTokenError::invalid("Invalid M2M JWT category."));
    }
    verifier.signer(&token, token_type).await.map_err(|error| MachineTokenError::jwt(&error))?;
    let now_ms = verifier.clock.now().unix_millis();
    let checked = claims::check_machine(&token.claims, settings, now_ms);
    let (subject, times) = checked.map_err(|error| MachineTokenError::jwt(&error))?;
    let Some(auth) = auth_of(token_type, subject, settings.choices()) else {
        let error = TokenVerificationError::claim("Subject claim (sub) is none that such a token has.");
        return Err(MachineTokenError::jwt(&error));
    };
    let auth = MachineAuth { expires_at: Some(times.expires_at), ..read(auth, &token.claims, settings.choices()) };
    if own_id.is_some_and(|own_id| !names(&auth, token.claims.get("aud"), own_id, settings.choices())) {
        return Err(not_for_us());
    }
    Ok(auth)
}

/// Fills in what the claims of the class say. What is missing or of another type is none, but any value is an id.
fn read(auth: MachineAuth, claims: &Members, choices: &StrictChoices) -> MachineAuth {
    let id = claims.get("jti").filter(|jti| !jti.is_null()).map(to_text).unwrap_or_default().into_owned();
    if auth.token_type == TokenType::OauthToken {
        let scopes = claims.get("scp").filter(|scp| !scp.is_null()).or_else(|| claims.get("scope"));
        return MachineAuth {
            id,
            client_id: text(claims.get("client_id")),
            scopes: scopes_of(scopes, choices),
            ..auth
        };
    }
    let scopes = claims.get("scopes").filter(|scopes| !scopes.is_null()).or_else(|| claims.get("aud"));
    let mut custom = claims.clone();
    custom.retain(|name, _| !RESERVED_CLAIMS.contains(&name.as_str()));
    let claims = (!custom.is_empty()).then(|| Value::Object(custom).to_string());
    MachineAuth { id, scopes: scopes_of(scopes, choices), claims, ..auth }
}

/// A list, or words with spaces between them.
pub(crate) fn scopes_of(value: Option<&Value>, choices: &StrictChoices) -> Vec<String> {
    let counts = |word: &&str| !(choices.drop_empty_scopes && word.is_empty());
    match value {
        Some(Value::String(words)) => words.split(' ').filter(counts).map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn names(auth: &MachineAuth, aud: Option<&Value>, own_id: &ProviderMachineId, choices: &StrictChoices) -> bool {
    auth.scopes.iter().chain(&scopes_of(aud, choices)).any(|scope| scope == own_id.as_str())
}
