//! `exp`, `nbf` and `iat`: types, and the comparison with the clock.

use std::time::Duration;

use portal_identity::TokenVerificationErrorReason as Reason;
use portal_kernel::Timestamp;
use serde_json::Value;
use time::macros::format_description;

use crate::error::{TokenVerificationError, quote};
use crate::json::Members;

/// The last second that a [`Timestamp`] holds: the end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;
/// The largest number of seconds that is a date in JavaScript.
const LAST_JS_SECOND: f64 = 8.64e12;

/// A moment as the Backend API writes it; none outside the years that can be represented.
pub(crate) fn from_millis(millis: i64) -> Option<Timestamp> {
    let rest = Duration::from_millis(millis.rem_euclid(1_000).unsigned_abs());
    Timestamp::from_unix_seconds(millis.div_euclid(1_000)).map(|second| second.plus(rest))
}

/// When a token counts. In milliseconds since 1970, the skew included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first moment at which neither `nbf` nor `iat` is in the future.
    pub(crate) from: i64,
    /// The moment at which `exp` is over.
    pub(crate) until: i64,
}

impl Window {
    pub(crate) fn contains(self, now_ms: i64) -> bool {
        self.from <= now_ms && now_ms < self.until
    }
}

/// What the three claims say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) window: Window,
    pub(crate) expires_at: Timestamp,
    pub(crate) issued_at: Option<Timestamp>,
}

/// A point in time in the claims.
#[derive(Clone, Copy)]
enum Seconds {
    At(i64),
    /// Too large for a date: before or after everything, neither ever over nor ever in the future.
    Undated,
}

impl Seconds {
    /// The wire has JSON numbers; strings, null and the rest are none.
    fn read(value: &Value, strict: bool) -> Option<Self> {
        let number = value.as_number()?;
        let float = number.as_f64()?;
        if strict {
            let whole = number.as_i64().or_else(|| (float.fract() == 0.0).then(|| truncate(float)).flatten())?;
            return (0..=LAST_SECOND).contains(&whole).then_some(Self::At(whole));
        }
        Some(truncate(float).map_or(Self::Undated, Self::At))
    }

    fn timestamp(self) -> Timestamp {
        let second = match self {
            Self::At(second) => second.min(LAST_SECOND),
            Self::Undated => LAST_SECOND,
        };
        // Only seconds before the year -9999 are left over.
        Timestamp::from_unix_seconds(second).unwrap_or_else(|| Timestamp::new(time::OffsetDateTime::UNIX_EPOCH))
    }
}

fn truncate(float: f64) -> Option<i64> {
    let whole = float.trunc();
    #[expect(clippy::cast_possible_truncation, reason = "every whole number of this size is an i64")]
    (whole.abs() <= LAST_JS_SECOND).then_some(whole as i64)
}

/// Checks `exp`, then `nbf`, then `iat`; the first that is wrong decides.
pub(crate) fn check(
    claims: &Members,
    now_ms: i64,
    skew_ms: i64,
    strict: bool,
) -> Result<Times, TokenVerificationError> {
    let mut window = Window { from: i64::MIN, until: i64::MAX };

    let exp = claims.get("exp");
    let Some(expires) = exp.and_then(|value| Seconds::read(value, strict)) else {
        return Err(wrong_type("expiry date claim (exp)", exp));
    };
    if let Seconds::At(second) = expires {
        let moment = second.saturating_mul(1_000);
        window.until = moment.saturating_add(skew_ms);
        if moment <= now_ms.saturating_sub(skew_ms) {
            let (expiry, now) = (utc_string(moment), utc_string(now_ms));
            let message = format!("JWT is expired. Expiry date: {expiry}, Current date: {now}.");
            return Err(TokenVerificationError::time(Reason::TokenExpired, message));
        }
    }

    let mut starts = |name: &str, label: &str| match claims.get(name) {
        None => Ok((None, None)),
        Some(value) => {
            let Some(start) = Seconds::read(value, strict) else { return Err(wrong_type(label, Some(value))) };
            let Seconds::At(second) = start else { return Ok((Some(start), None)) };
            let moment = second.saturating_mul(1_000);
            window.from = window.from.max(moment.saturating_sub(skew_ms));
            Ok((Some(start), (moment > now_ms.saturating_add(skew_ms)).then_some(moment)))
        }
    };

    if let (_, Some(moment)) = starts("nbf", "not before date claim (nbf)")? {
        let message = format!(
            "JWT cannot be used prior to not before date claim (nbf). Not before date: {}; Current date: {};",
            utc_string(moment),
            utc_string(now_ms)
        );
        return Err(TokenVerificationError::time(Reason::TokenNotActiveYet, message));
    }
    let (issued, future) = starts("iat", "issued at date claim (iat)")?;
    if let Some(moment) = future {
        let message = format!(
            "JWT issued at date claim (iat) is in the future. Issued at date: {}; Current date: {};",
            utc_string(moment),
            utc_string(now_ms)
        );
        return Err(TokenVerificationError::time(Reason::TokenIatInTheFuture, message));
    }

    Ok(Times { window, expires_at: expires.timestamp(), issued_at: issued.map(Seconds::timestamp) })
}

fn wrong_type(label: &str, value: Option<&Value>) -> TokenVerificationError {
    TokenVerificationError::claim(format!("Invalid JWT {label} {}. Expected number.", quote(value)))
}

/// As `Date.prototype.toUTCString` writes it.
fn utc_string(moment_ms: i64) -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    Timestamp::from_unix_seconds(moment_ms.div_euclid(1_000))
        .and_then(|moment| moment.to_offset().format(FORMAT).ok())
        .unwrap_or_else(|| "Invalid Date".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_767_225_600;
    const SKEW_MS: i64 = 5_000;

    fn judge(claims: &Value, skew_ms: i64, strict: bool) -> Result<Times, Reason> {
        let claims = claims.as_object().unwrap();
        check(claims, NOW * 1_000, skew_ms, strict).map_err(|error| error.reason())
    }

    fn verdict(claims: &Value, skew_ms: i64) -> Result<(), Reason> {
        let strict = judge(claims, skew_ms, true).map(|_| ());
        assert_eq!(strict, judge(claims, skew_ms, false).map(|_| ()), "{claims}");
        strict
    }

    #[test]
    fn the_skew_moves_each_bound_by_exactly_its_length() {
        for (skew_ms, skew) in [(5_000, 5), (0, 0), (60_000, 60)] {
            assert_eq!(verdict(&json!({ "exp": NOW - skew + 1 }), skew_ms), Ok(()));
            assert_eq!(verdict(&json!({ "exp": NOW - skew }), skew_ms), Err(Reason::TokenExpired));
            assert_eq!(verdict(&json!({ "exp": NOW + 60, "nbf": NOW + skew }), skew_ms), Ok(()));
            assert_eq!(
                verdict(&json!({ "exp": NOW + 90, "nbf": NOW + skew + 1 }), skew_ms),
                Err(Reason::TokenNotActiveYet)
            );
            assert_eq!(verdict(&json!({ "exp": NOW + 60, "iat": NOW + skew }), skew_ms), Ok(()));
            assert_eq!(
                verdict(&json!({ "exp": NOW + 90, "iat": NOW + skew + 1 }), skew_ms),
                Err(Reason::TokenIatInTheFuture)
            );
        }
    }

    #[test]
    fn exp_is_judged_before_nbf_and_nbf_before_iat() {
        let late = NOW + 1_000;
        assert_eq!(verdict(&json!({ "exp": NOW - 60, "nbf": "x", "iat": late }), SKEW_MS), Err(Reason::TokenExpired));
        assert_eq!(verdict(&json!({ "exp": late, "nbf": late, "iat": "x" }), SKEW_MS), Err(Reason::TokenNotActiveYet));
        assert_eq!(
            verdict(&json!({ "exp": late, "nbf": NOW, "iat": late }), SKEW_MS),
            Err(Reason::TokenIatInTheFuture)
        );
    }

    #[test]
    fn wrong_types_are_refused_in_both_modes() {
        for wrong in [json!("1767225700"), json!(null), json!([NOW]), json!({}), json!(true)] {
            let refused = Err(Reason::TokenVerificationFailed);
            assert_eq!(verdict(&json!({ "exp": wrong }), SKEW_MS), refused, "{wrong}");
            assert_eq!(verdict(&json!({ "exp": NOW + 60, "nbf": wrong }), SKEW_MS), refused, "{wrong}");
            assert_eq!(verdict(&json!({ "exp": NOW + 60, "iat": wrong }), SKEW_MS), refused, "{wrong}");
        }
        assert_eq!(verdict(&json!({}), SKEW_MS), Err(Reason::TokenVerificationFailed));
    }

    #[test]
    fn whole_seconds_of_any_spelling_pass_and_dates_after_2038_too() {
        for exp in [
            json!(NOW + 60),
            json!(1_767_225_660.0),
            json!(1.767_225_66e9),
            json!(4_102_444_800_i64),
            json!(LAST_SECOND),
        ] {
            assert_eq!(verdict(&json!({ "exp": exp }), SKEW_MS), Ok(()), "{exp}");
        }
        assert_eq!(verdict(&json!({ "exp": 0 }), SKEW_MS), Err(Reason::TokenExpired));
        assert_eq!(verdict(&json!({ "exp": -0.0 }), SKEW_MS), Err(Reason::TokenExpired));
    }

    #[test]
    fn fractions_negatives_and_numbers_beyond_any_date_are_refused_only_in_strict() {
        let refused = Err(Reason::TokenVerificationFailed);
        for odd in
            [json!(1_767_225_660.5), json!(-1), json!(u64::MAX), json!(i64::MAX), json!(1e300), json!(LAST_SECOND + 1)]
        {
            for claims in
                [json!({ "exp": odd }), json!({ "exp": NOW + 60, "nbf": odd }), json!({ "exp": NOW + 60, "iat": odd })]
            {
                assert_eq!(judge(&claims, SKEW_MS, true), refused, "{claims}");
            }
        }
        let exact = |claims: Value| judge(&claims, SKEW_MS, false).map(|times| times.expires_at.unix_seconds());
        assert_eq!(exact(json!({ "exp": 1_767_225_660.9 })), Ok(NOW + 60));
        assert_eq!(exact(json!({ "exp": -1 })), Err(Reason::TokenExpired));
        assert_eq!(exact(json!({ "exp": u64::MAX, "nbf": -1e300, "iat": 1e300 })), Ok(LAST_SECOND));
        assert_eq!(exact(json!({ "exp": NOW + 60, "nbf": LAST_SECOND + 1 })), Err(Reason::TokenNotActiveYet));
        assert_eq!(exact(json!({ "exp": NOW + 60, "iat": -8e12 })), Ok(NOW + 60));
    }

    #[test]
    fn the_window_equals_the_verdict_at_every_edge() {
        for (nbf, iat) in [(NOW - 10, NOW - 3), (NOW - 3, NOW - 10)] {
            let claims = json!({ "exp": NOW + 60, "nbf": nbf, "iat": iat });
            let claims = claims.as_object().unwrap();
            let window = check(claims, NOW * 1_000, SKEW_MS, true).unwrap().window;
            for now_ms in [window.from - 1, window.from, window.until - 1, window.until] {
                assert_eq!(window.contains(now_ms), check(claims, now_ms, SKEW_MS, true).is_ok(), "{now_ms}");
            }
        }
    }

    #[test]
    fn dates_read_as_in_javascript() {
        assert_eq!(utc_string(NOW * 1_000 + 999), "Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(utc_string(i64::MAX), "Invalid Date");
    }
}
