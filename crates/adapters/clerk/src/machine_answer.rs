//! What the Backend API says about an opaque token (`clerk.md` §4.2).

use portal_identity::{MachineAuth, TokenType};
use portal_kernel::Timestamp;
use serde_json::Value;

use crate::ClerkSettings;
use crate::http::Answer;
use crate::machine::auth_of;
use crate::machine_error::MachineTokenError;
use crate::machine_jwt::{scopes_of, text};
use crate::times::from_millis;

/// The auth object of a description. One without id and subject is no description, and nobody's verdict, unless it says
/// that the token is dead.
pub(crate) fn read(
    answer: &Answer,
    token_type: TokenType,
    settings: &ClerkSettings,
    now_ms: i64,
) -> Result<MachineAuth, MachineTokenError> {
    let unreadable = || MachineTokenError::unexpected(Some(answer.status));
    let invalid = |message: &'static str| MachineTokenError::invalid(message).with_status(answer.status);
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let named = text(body.get("id")).zip(text(body.get("subject")));
    let matters = settings.choices().check_machine_state || named.is_none();
    if matters && is_dead(&body, now_ms.saturating_sub(settings.clock_skew_ms())) {
        return Err(invalid("The token is revoked, expired or inactive."));
    }
    let (id, subject) = named.ok_or_else(unreadable)?;
    let auth = auth_of(token_type, &subject, settings.choices())
        .ok_or_else(|| invalid("The subject is none that such a token has."))?;
    Ok(MachineAuth {
        id,
        client_id: text(body.get("client_id")),
        scopes: scopes_of(body.get("scopes"), settings.choices()),
        claims: body.get("claims").filter(|claims| !claims.is_null()).map(Value::to_string),
        expires_at: body.get("expiration").and_then(moment),
        ..auth
    })
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_i64().and_then(from_millis)
}

/// A mark that cannot be read counts against the token.
fn is_dead(body: &Value, now_ms: i64) -> bool {
    let marked = |name| !matches!(body.get(name), None | Some(Value::Null | Value::Bool(false)));
    let inactive = !matches!(body.get("active"), None | Some(Value::Null | Value::Bool(true)));
    let is_over = |end: &Value| moment(end).is_none_or(|end| end.unix_millis() <= now_ms);
    let over = body.get("expiration").filter(|end| !end.is_null()).is_some_and(is_over);
    marked("revoked") || marked("expired") || inactive || over
}
