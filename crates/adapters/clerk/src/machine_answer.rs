//! What the Backend API says about an opaque token (`clerk.md` §4.2).

use portal_identity::{MachineAuth, TokenType};
use portal_kernel::Timestamp;
use serde_json::Value;

use crate::http::{Answer, Content, NO_CONTENT};
use crate::json::Members;
use crate::loose::to_text;
use crate::machine::auth_of;
use crate::machine_error::MachineTokenError;
use crate::machine_jwt::{scopes_of, text};
use crate::times::from_millis;
use crate::{ClerkSettings, StrictChoices};

/// What the description of an OAuth token calls itself.
const OAUTH_TOKEN: &str = "clerk_idp_oauth_access_token";

/// The auth object of a description. With [`StrictChoices::require_description`] one without id and subject is none, and nobody's
/// verdict, unless it says that the token is dead.
pub(crate) fn read(
    answer: &Answer,
    token_type: TokenType,
    settings: &ClerkSettings,
    now_ms: i64,
) -> Result<MachineAuth, MachineTokenError> {
    let unreadable = || MachineTokenError::unexpected(Some(answer.status));
    let invalid = |message: &'static str| MachineTokenError::invalid(message).with_status(answer.status);
    let choices = settings.choices();
    let body = body(answer, choices).ok_or_else(unreadable)?;
    let named = text(body.get("id")).zip(text(body.get("subject")));
    let is_missing = named.is_none() && choices.require_description;
    if (choices.check_machine_state || is_missing) && is_dead(&body, now_ms.saturating_sub(settings.clock_skew_ms())) {
        return Err(invalid("The token is revoked, expired or inactive."));
    }
    if is_missing {
        return Err(unreadable());
    }
    let written = |name| body.get(name).filter(|value| !value.is_null()).map(to_text).unwrap_or_default();
    let auth = auth_of(token_type, &written("subject"), choices)
        .ok_or_else(|| invalid("The subject is none that such a token has."))?;
    let says_client =
        choices.judge_answers_by_content || body.get("object").and_then(Value::as_str) == Some(OAUTH_TOKEN);
    Ok(MachineAuth {
        id: written("id").into_owned(),
        client_id: text(body.get("client_id")).filter(|_| says_client),
        scopes: scopes_of(body.get("scopes"), choices),
        claims: body.get("claims").filter(|claims| !claims.is_null()).map(Value::to_string),
        expires_at: body.get("expiration").and_then(moment),
        ..auth
    })
}

/// What the answer says; none where Clerk's SDK cannot read it either. It takes an answer without a body, and a text, for one that says
/// nothing.
fn body(answer: &Answer, choices: &StrictChoices) -> Option<Value> {
    if choices.require_description {
        return serde_json::from_slice(&answer.body).ok();
    }
    if answer.status == NO_CONTENT {
        return Some(Value::Object(Members::new()));
    }
    match answer.content(!choices.judge_answers_by_content) {
        Content::Json(Value::Null | Value::Bool(_) | Value::Number(_)) | Content::Broken => None,
        Content::Json(body) => Some(body),
        Content::Text => Some(Value::Object(Members::new())),
    }
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
