//! The claims of a session, in Clerk's order of checks: the first that is wrong decides.

use portal_identity::{ProviderSessionId, ProviderUserId, SessionAuth};
use serde_json::Value;

use crate::error::{TokenCarrier, TokenVerificationError, quote};
use crate::json::Members;
use crate::loose::to_text;
use crate::session;
use crate::times::{self, Times, Window};
use crate::{ClerkSettings, StrictChoices};

/// What the circumstances change about the checks.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) carrier: TokenCarrier,
    /// Difference allowed between the clocks, in milliseconds.
    pub(crate) skew_ms: i64,
    /// A token may name itself as of another class, machines apart.
    pub(crate) any_class: bool,
}

impl How {
    pub(crate) fn new(carrier: TokenCarrier, settings: &ClerkSettings) -> Self {
        Self { carrier, skew_ms: settings.clock_skew_ms(), any_class: false }
    }

    /// Where Clerk's SDK does not look at the class.
    pub(crate) fn unclassified(carrier: TokenCarrier, settings: &ClerkSettings) -> Self {
        Self { any_class: !settings.choices().check_class_everywhere, ..Self::new(carrier, settings) }
    }
}

/// A token that passed everything.
pub(crate) struct CheckedClaims {
    pub(crate) auth: SessionAuth,
    pub(crate) window: Window,
    /// It says nothing about who had it minted, which only a cookie may do.
    pub(crate) cookie_only: bool,
}

/// Only for claims whose signature was verified: the answers tell about the configuration.
///
/// `sub`, `aud`, `azp`, `exp`, `nbf`, `iat` as in Clerk's SDK, then the strict choices `sid`, `iss` and `act`. They
/// come last, so that a token which is only too old is still recognised as such.
pub(crate) fn check(
    claims: &Members,
    settings: &ClerkSettings,
    now_ms: i64,
    how: How,
) -> Result<CheckedClaims, TokenVerificationError> {
    let choices = settings.choices();
    let user_id = subject(claims.get("sub"), choices)?;
    audience(claims.get("aud"), settings)?;
    let cookie_only = authorized_party(claims, settings, how.carrier)?;
    let times = times::check(claims, now_ms, how.skew_ms, choices.strict_times)?;
    let sid = claims.get("sid").filter(|sid| !sid.is_null());
    let session_id = sid.map(|sid| ProviderSessionId::as_written(&to_text(sid)));
    let is_session = |id: &ProviderSessionId| id.is_well_formed() && sid.is_some_and(Value::is_string);
    if choices.require_session_id && !session_id.as_ref().is_some_and(is_session) {
        let message = format!("Session id claim (sid) is required. Received {}.", quote(claims.get("sid")));
        return Err(TokenVerificationError::claim(message));
    }
    let iss = claims.get("iss");
    if choices.check_issuer && !is_issuer(iss, settings) {
        let message = format!("Invalid JWT issuer claim (iss) {}. Expected \"{}\".", quote(iss), settings.issuer());
        return Err(TokenVerificationError::claim(message));
    }
    let auth = session::read(claims, user_id, session_id, times, choices)?;
    Ok(CheckedClaims { auth, window: times.window, cookie_only })
}

fn is_issuer(iss: Option<&Value>, settings: &ClerkSettings) -> bool {
    iss.and_then(Value::as_str).is_some_and(|iss| settings.is_issuer(iss))
}

/// As [`check`], for a JWT of a machine or an OAuth client, whose `iss`, `sid` and `act` do not count.
///
/// Gives the subject as it is written: what it may be depends on the class.
pub(crate) fn check_machine<'c>(
    claims: &'c Members,
    settings: &ClerkSettings,
    now_ms: i64,
) -> Result<(&'c str, Times), TokenVerificationError> {
    let choices = settings.choices();
    let subject = subject_text(claims.get("sub"))?;
    audience(claims.get("aud"), settings)?;
    if !choices.machine_ignores_azp {
        authorized_party(claims, settings, TokenCarrier::Header)?;
    }
    let times = times::check(claims, now_ms, settings.clock_skew_ms(), choices.strict_times)?;
    Ok((subject, times))
}

fn subject(sub: Option<&Value>, choices: &StrictChoices) -> Result<ProviderUserId, TokenVerificationError> {
    let subject = ProviderUserId::as_written(subject_text(sub)?);
    if choices.require_user_subject && !subject.is_well_formed() {
        let message = format!("Subject claim (sub) is not a user. Received {}.", quote(sub));
        return Err(TokenVerificationError::claim(message));
    }
    Ok(subject)
}

fn subject_text(sub: Option<&Value>) -> Result<&str, TokenVerificationError> {
    sub.and_then(Value::as_str).ok_or_else(|| {
        let message = format!("Subject claim (sub) is required and must be a string. Received {}.", quote(sub));
        TokenVerificationError::claim(message)
    })
}

/// Matters only where an audience is configured.
fn audience(aud: Option<&Value>, settings: &ClerkSettings) -> Result<(), TokenVerificationError> {
    let (expected, choices) = (settings.audiences(), settings.choices());
    if expected.is_empty() {
        return Ok(());
    }
    let is_expected = |text: &str| expected.iter().any(|known| known == text);
    let refused = || {
        let message = format!("Invalid JWT audience claim (aud) {}. Is not included in {expected:?}.", quote(aud));
        Err(TokenVerificationError::claim(message))
    };
    match aud {
        _ if is_empty(aud) => {
            if choices.require_audience {
                refused()
            } else {
                Ok(())
            }
        }
        Some(Value::String(text)) if is_expected(text) => Ok(()),
        Some(Value::String(_)) => refused(),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            if list.iter().filter_map(Value::as_str).any(is_expected) { Ok(()) } else { refused() }
        }
        _ => {
            if choices.strict_aud_types {
                refused()
            } else {
                Ok(())
            }
        }
    }
}

/// Nothing in it counts as a value in JavaScript.
fn is_empty(aud: Option<&Value>) -> bool {
    let falsy = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    };
    match aud {
        None => true,
        Some(Value::Array(list)) => list.iter().all(falsy),
        Some(value) => falsy(value),
    }
}

/// Where parties are configured the claim must be one of them, character by character. Whether the token passes in a cookie only.
fn authorized_party(
    claims: &Members,
    settings: &ClerkSettings,
    carrier: TokenCarrier,
) -> Result<bool, TokenVerificationError> {
    let (azp, parties) = (claims.get("azp"), settings.authorized_parties());
    let known = azp.and_then(Value::as_str).is_some_and(|azp| parties.iter().any(|party| party == azp));
    if known || parties.is_empty() {
        return Ok(false);
    }
    let missing = azp.is_none_or(|azp| azp.is_null() || azp.as_str() == Some(""));
    let lenient = carrier == TokenCarrier::Cookie && settings.choices().lenient_cookie_azp;
    if missing && lenient && is_issuer(claims.get("iss"), settings) {
        return Ok(true);
    }
    Err(TokenVerificationError::authorized_party(azp, parties))
}

#[cfg(test)]
mod tests {
    use portal_identity::TokenVerificationErrorReason as Reason;
    use serde_json::json;

    use super::*;
    use crate::{ClerkOptions, SecretString};

    const NOW: i64 = 1_767_225_600;
    const FAILED: Result<(), Reason> = Err(Reason::TokenVerificationFailed);

    fn settings(change: impl FnOnce(&mut ClerkOptions)) -> ClerkSettings {
        let mut options = ClerkOptions::new("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_test_x"));
        change(&mut options);
        options.validate().unwrap()
    }

    /// Good claims with some of them replaced, or removed by null.
    fn claims(change: &Value) -> Members {
        let mut claims = json!({
            "sub": "user_1", "sid": "sess_1", "iss": "https://clerk.example.com", "azp": "https://portal.example",
            "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60,
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
            if value.is_null() {
                members.remove(name);
            }
        }
        members.clone()
    }

    fn verdict(settings: &ClerkSettings, change: &Value) -> Result<(), Reason> {
        check(&claims(change), settings, NOW * 1_000, How::new(TokenCarrier::Header, settings))
            .map(|_| ())
            .map_err(|error| error.reason())
    }

    #[test]
    fn the_first_check_that_fails_decides() {
        let with = |choices| {
            settings(|options| {
                options.authorized_parties = vec!["https://portal.example".into()];
                options.audiences = vec!["portal".into()];
                options.choices = choices;
            })
        };
        let settings = with(StrictChoices::strict());
        let wrong = json!({
            "sub": 1, "aud": "other", "azp": "https://evil.example", "exp": NOW - 60, "nbf": NOW + 60, "iat": NOW + 60,
            "sid": null, "iss": "https://evil.example", "act": 1,
        });
        let right = claims(&json!({ "aud": "portal" }));
        let order = [
            ("sub", Reason::TokenVerificationFailed),
            ("aud", Reason::TokenVerificationFailed),
            ("azp", Reason::TokenInvalidAuthorizedParties),
            ("exp", Reason::TokenExpired),
            ("nbf", Reason::TokenNotActiveYet),
            ("iat", Reason::TokenIatInTheFuture),
            ("sid", Reason::TokenVerificationFailed),
            ("iss", Reason::TokenVerificationFailed),
            ("act", Reason::TokenVerificationFailed),
        ];
        let mut change = wrong.clone();
        for (name, reason) in order {
            let error = check(&claims(&change), &settings, NOW * 1_000, How::new(TokenCarrier::Header, &settings))
                .err()
                .unwrap();
            assert_eq!(error.reason(), reason, "{name}");
            // Four checks share one reason; their messages tell them apart.
            let named = error.to_string().contains(&format!("({name})"));
            assert!(named || reason != Reason::TokenVerificationFailed, "{name}: {error}");
            change[name] = right.get(name).cloned().unwrap_or_default();
        }
        assert_eq!(verdict(&settings, &change), Ok(()));

        // In exact the last three do not count.
        let change = json!({ "aud": "portal", "sid": null, "iss": "https://evil.example", "act": 1 });
        assert_eq!(verdict(&with(StrictChoices::exact()), &change), Ok(()));
    }

    #[test]
    fn the_subject_is_a_user_in_strict_and_a_text_in_exact() {
        let strict = settings(|_| ());
        let exact = settings(|options| options.choices = StrictChoices::exact());
        for (sub, in_exact) in [
            (json!(null), FAILED),
            (json!(1), FAILED),
            (json!(["user_1"]), FAILED),
            (json!(""), Ok(())),
            (json!("mch_1"), Ok(())),
            (json!("user_../x"), Ok(())),
            (json!("org_1"), Ok(())),
        ] {
            assert_eq!(verdict(&strict, &json!({ "sub": sub })), FAILED, "{sub}");
            assert_eq!(verdict(&exact, &json!({ "sub": sub })), in_exact, "{sub}");
        }
    }

    #[test]
    fn the_audience_is_compared_whole_and_only_where_one_is_configured() {
        let none = settings(|_| ());
        let exact = settings(|options| {
            options.audiences = vec!["portal".into(), "other".into()];
            options.choices = StrictChoices::exact();
        });
        let strict = settings(|options| options.audiences = vec!["portal".into(), "other".into()]);
        for (aud, in_exact, in_strict) in [
            (json!("portal"), Ok(()), Ok(())),
            (json!(["x", "portal"]), Ok(()), Ok(())),
            (json!("porta"), FAILED, FAILED),
            (json!("portal2"), FAILED, FAILED),
            (json!(["porta", "portal2"]), FAILED, FAILED),
            (json!(null), Ok(()), FAILED),
            (json!(""), Ok(()), FAILED),
            (json!([]), Ok(()), FAILED),
            (json!([""]), Ok(()), FAILED),
            (json!(["portal", 1]), Ok(()), FAILED),
            (json!([1]), Ok(()), FAILED),
            (json!({ "portal": 1 }), Ok(()), FAILED),
            (json!(7), Ok(()), FAILED),
        ] {
            assert_eq!(verdict(&exact, &json!({ "aud": aud })), in_exact, "{aud}");
            assert_eq!(verdict(&strict, &json!({ "aud": aud })), in_strict, "{aud}");
            assert_eq!(verdict(&none, &json!({ "aud": aud })), Ok(()), "{aud}");
        }
    }

    #[test]
    fn an_audience_that_says_nothing_is_none_and_no_malformed_one() {
        let with = |require_audience, strict_aud_types| {
            settings(|options| {
                options.audiences = vec!["portal".into()];
                options.choices = StrictChoices { strict_aud_types, require_audience, ..StrictChoices::exact() };
            })
        };
        let (required, typed) = (with(true, false), with(false, true));
        let of = |aud: &Value, settings| audience(Some(aud), settings).map_err(|error| error.reason());
        for nothing in [json!(null), json!(false), json!(0), json!(0.0), json!(""), json!([]), json!([null, 0, ""])] {
            assert_eq!(of(&nothing, &required), FAILED, "{nothing}");
            assert_eq!(of(&nothing, &typed), Ok(()), "{nothing}");
        }
        for malformed in [json!(true), json!(7), json!({}), json!(["portal", 1]), json!([null, 1])] {
            assert_eq!(of(&malformed, &required), Ok(()), "{malformed}");
            assert_eq!(of(&malformed, &typed), FAILED, "{malformed}");
        }
    }

    #[test]
    fn authorized_parties_are_compared_exactly_where_they_are_configured() {
        let open = settings(|_| ());
        let parties = || vec!["https://portal.example".into(), "http://localhost:8080".into()];
        let closed = settings(|options| options.authorized_parties = parties());
        let exact = settings(|options| {
            options.authorized_parties = parties();
            options.choices = StrictChoices::exact();
        });
        let refused = Err(Reason::TokenInvalidAuthorizedParties);
        for (azp, expected) in [
            (json!("https://portal.example"), Ok(())),
            (json!("http://localhost:8080"), Ok(())),
            (json!(null), refused),
            (json!(""), refused),
            (json!("https://portal.example/"), refused),
            (json!("https://PORTAL.example"), refused),
            (json!("https://portal.example.evil"), refused),
            (json!("https://portal.exampl"), refused),
            (json!("http://portal.example"), refused),
            (json!(["https://portal.example"]), refused),
            (json!(1), refused),
        ] {
            assert_eq!(verdict(&closed, &json!({ "azp": azp })), expected, "{azp}");
            assert_eq!(verdict(&exact, &json!({ "azp": azp })), expected, "{azp}");
            assert_eq!(verdict(&open, &json!({ "azp": azp })), Ok(()), "{azp}");
        }
    }

    #[test]
    fn a_cookie_may_lack_the_party_but_never_have_a_wrong_one() {
        let lenient = settings(|options| options.authorized_parties = vec!["https://portal.example".into()]);
        let exact = settings(|options| {
            options.authorized_parties = vec!["https://portal.example".into()];
            options.choices = StrictChoices::exact();
        });
        let in_cookie = |settings: &ClerkSettings, change: &Value| {
            let checked = check(&claims(change), settings, NOW * 1_000, How::new(TokenCarrier::Cookie, settings));
            checked.map(|checked| checked.cookie_only).map_err(|error| error.reason())
        };
        let refused = Err(Reason::TokenInvalidAuthorizedParties);
        for (change, expected) in [
            (json!({}), Ok(false)),
            (json!({ "azp": null }), Ok(true)),
            (json!({ "azp": "" }), Ok(true)),
            (json!({ "azp": null, "iss": "https://evil.example" }), refused),
            (json!({ "azp": "https://evil.example" }), refused),
            (json!({ "azp": 1 }), refused),
            (json!({ "azp": ["https://portal.example"] }), refused),
        ] {
            assert_eq!(in_cookie(&lenient, &change), expected, "{change}");
        }
        assert_eq!(in_cookie(&exact, &json!({ "azp": null })), refused);
        assert_eq!(verdict(&lenient, &json!({ "azp": null })), Err(Reason::TokenInvalidAuthorizedParties));
    }

    #[test]
    fn the_issuer_comes_from_the_configuration() {
        let derived = settings(|_| ());
        let configured = settings(|options| options.issuer = Some("https://auth.example.com".into()));
        for (iss, by_key, by_setting) in [
            (json!("https://clerk.example.com"), Ok(()), FAILED),
            (json!("https://auth.example.com"), FAILED, Ok(())),
            (json!("http://clerk.example.com"), FAILED, FAILED),
            (json!("https://clerk.example.com/"), FAILED, FAILED),
            (json!("https://clerk.example.com.evil"), FAILED, FAILED),
            (json!("clerk.example.com"), FAILED, FAILED),
            (json!(["https://clerk.example.com"]), FAILED, FAILED),
            (json!(null), FAILED, FAILED),
        ] {
            assert_eq!(verdict(&derived, &json!({ "iss": iss })), by_key, "{iss}");
            assert_eq!(verdict(&configured, &json!({ "iss": iss })), by_setting, "{iss}");
        }
    }

    #[test]
    fn the_session_id_is_required_in_strict_and_as_it_is_written_in_exact() {
        let strict = settings(|_| ());
        let exact = settings(|options| options.choices = StrictChoices::exact());
        for (sid, written) in [
            (json!(null), None),
            (json!(""), Some("")),
            (json!("sess_"), Some("sess_")),
            (json!("user_1"), Some("user_1")),
            (json!(["sess_1"]), Some("sess_1")),
            (json!(1), Some("1")),
        ] {
            assert_eq!(verdict(&strict, &json!({ "sid": sid })), FAILED, "{sid}");
            let read =
                check(&claims(&json!({ "sid": sid })), &exact, NOW * 1_000, How::new(TokenCarrier::Header, &exact))
                    .ok()
                    .unwrap();
            assert_eq!(read.auth.session_id.as_ref().map(ProviderSessionId::as_str), written, "{sid}");
        }
        let read =
            check(&claims(&json!({})), &strict, NOW * 1_000, How::new(TokenCarrier::Header, &strict)).ok().unwrap();
        assert_eq!(read.auth.session_id.unwrap().as_str(), "sess_1");
    }
}
