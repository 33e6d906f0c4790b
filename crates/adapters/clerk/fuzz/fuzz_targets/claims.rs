//! Claims of a session: a byte of options, then the claims as JSON. What passes is signed, and then a byte of the token is changed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portal_clerk::fuzzing::check_claims;
use portal_clerk::{ClerkSettings, ProviderSessionId, SessionAuth, StrictChoices, TokenCarrier};
use portal_clerk_fuzz::{INSTANCE, ISSUER, NOW, PARTY, block_on, options, signed};
use serde_json::{Map, Value};

const AUDIENCE: &str = "portal";
const SKEW: f64 = 5.0;
/// In seconds.
const LAST_DATE: f64 = 8.64e12;
/// More would not fit into a token.
const LONGEST: usize = 8 * 1_024;

const IN_COOKIE: u8 = 1;
const WITH_PARTIES: u8 = 2;
const WITH_AUDIENCE: u8 = 4;
const SIGN: u8 = 8;

/// Strict and exact, by authorized parties and audience.
static SETTINGS: LazyLock<Vec<[ClerkSettings; 2]>> = LazyLock::new(|| {
    let with = |flags: u8, choices| {
        let mut options = options(choices);
        options.authorized_parties = if flags & WITH_PARTIES != 0 { vec![PARTY.to_owned()] } else { Vec::new() };
        options.audiences = if flags & WITH_AUDIENCE != 0 { vec![AUDIENCE.to_owned()] } else { Vec::new() };
        options.validate().expect("the settings are good")
    };
    (0..8).map(|flags| [with(flags, StrictChoices::strict()), with(flags, StrictChoices::exact())]).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((flags, json)) = data.split_first() else { return };
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(json) else { return };
    let carrier = if flags & IN_COOKIE != 0 { TokenCarrier::Cookie } else { TokenCarrier::Header };
    let circumstances = flags & (IN_COOKIE | WITH_PARTIES | WITH_AUDIENCE);
    let [strict, exact] = &SETTINGS[usize::from(circumstances)];
    let in_strict = check_claims(&claims, strict, carrier, NOW * 1_000);
    let in_exact = check_claims(&claims, exact, carrier, NOW * 1_000);
    if let Ok(auth) = &in_strict {
        assert_strict(&claims, auth, *flags);
        assert!(in_exact.is_ok() || carrier == TokenCarrier::Cookie, "exact refuses less, but for `azp` in a cookie");
    }
    if let Ok(auth) = &in_exact {
        assert_always(&claims, auth, *flags);
    }
    if flags & SIGN != 0 && circumstances == 0 && json.len() <= LONGEST {
        assert_signature_decides(&claims, in_strict.as_ref().ok(), json);
    }
});

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

fn number(claims: &Map<String, Value>, name: &str) -> Option<f64> {
    claims.get(name).and_then(Value::as_f64)
}

/// What no compatibility lets pass.
fn assert_always(claims: &Map<String, Value>, auth: &SessionAuth, flags: u8) {
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let now = NOW as f64;
    assert_eq!(text(claims, "sub"), Some(auth.user_id.as_str()));
    // In exact a number that is no date in JavaScript, on either side, is neither over nor in the future.
    let is_dated = |seconds: f64| seconds.abs() <= LAST_DATE;
    let exp = number(claims, "exp").expect("it is required").trunc();
    assert!(exp > now - SKEW || !is_dated(exp));
    for name in ["nbf", "iat"] {
        let start = claims.get(name).map(|value| value.as_f64().expect("a number if anything").trunc());
        assert!(start.is_none_or(|start| start <= now + SKEW || !is_dated(start)));
    }
    if flags & WITH_PARTIES != 0 && claims.get("azp").is_some_and(|azp| !azp.is_null() && azp != "") {
        assert_eq!(text(claims, "azp"), Some(PARTY));
    }
    // In exact an id that is no text is what JavaScript makes of it.
    if let (Some(session), Some(sid)) = (&auth.session_id, text(claims, "sid")) {
        assert_eq!(sid, session.as_str());
    }
    assert_eq!(auth.actor.is_some(), claims.get("act").is_some_and(|act| !act.is_null()), "an actor is never lost");
    match claims.get("sts").filter(|status| !status.is_null()) {
        None => assert!(!auth.is_pending()),
        Some(status) if status == "active" => assert!(!auth.is_pending()),
        Some(status) if status == "pending" => assert!(auth.is_pending()),
        // Of the others only strict says something.
        Some(_) => {}
    }
    if let Some(organization) = &auth.organization {
        let ids = [claims.get("org_id"), claims.get("o").map(|o| &o["id"])];
        let mut ids = ids.into_iter().flatten().filter(|id| !id.is_null());
        assert!(ids.any(|id| id.as_str().is_none_or(|id| id == organization.id.as_str())));
    }
}

fn assert_strict(claims: &Map<String, Value>, auth: &SessionAuth, flags: u8) {
    assert_eq!(text(claims, "iss"), Some(ISSUER));
    assert_eq!(text(claims, "sid"), auth.session_id.as_ref().map(ProviderSessionId::as_str));
    assert!(auth.session_id.is_some());
    let status = claims.get("sts").filter(|status| !status.is_null());
    assert_eq!(auth.is_pending(), status.is_some_and(|status| status != "active"));
    if let Some(role) = auth.organization.as_ref().and_then(|organization| organization.role.as_deref()) {
        assert!(role.starts_with("org:") && !role.starts_with("org:org:"));
    }
    let whole = |name| claims.get(name).map(|value| value.as_f64().expect("a number"));
    #[expect(clippy::cast_precision_loss, reason = "seconds up to the year 9999 are exact")]
    let seconds = |moment: portal_clerk::Timestamp| moment.unix_seconds() as f64;
    assert_eq!(whole("exp"), Some(seconds(auth.expires_at)));
    assert_eq!(whole("iat"), auth.issued_at.map(seconds));
    if flags & WITH_PARTIES != 0 && flags & IN_COOKIE == 0 {
        assert_eq!(text(claims, "azp"), Some(PARTY));
    }
    if flags & WITH_AUDIENCE != 0 {
        let meant = match &claims["aud"] {
            Value::Array(list) => list.iter().all(Value::is_string) && list.iter().any(|aud| aud == AUDIENCE),
            aud => aud == AUDIENCE,
        };
        assert!(meant, "{}", claims["aud"]);
    }
}

/// Only the key of the instance makes a token, and only of these claims.
fn assert_signature_decides(claims: &Map<String, Value>, expected: Option<&SessionAuth>, entropy: &[u8]) {
    let (own, foreign) = signed(&Value::Object(claims.clone()));
    let verified = block_on(INSTANCE.verify_token(&own)).ok();
    if !text(claims, "sub").is_some_and(|sub| sub.starts_with("mch_")) {
        assert_eq!(verified.as_deref(), expected);
    }
    assert!(block_on(INSTANCE.verify_token(&foreign)).is_err());

    let mut bytes = own.into_bytes();
    let place = entropy.iter().fold(7_usize, |place, byte| place.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = place % bytes.len();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(bytes).expect("ASCII");
    assert!(block_on(INSTANCE.verify_token(&changed)).is_err(), "changed at {at}");
}
