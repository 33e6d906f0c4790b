//! The auth object: what verified claims mean.

use portal_identity::{
    Actor, ActorKind, FactorVerificationAge, ProviderSessionId, ProviderUserId, ScopedSlug, SessionAuth, SessionStatus,
    SlugScope,
};
use serde_json::Value;

use crate::StrictChoices;
use crate::error::TokenVerificationError;
use crate::json::{INFINITE, Members};
use crate::organization;
use crate::times::Times;

/// Builds the auth object of claims that passed every check.
pub(crate) fn read(
    claims: &Members,
    user_id: ProviderUserId,
    session_id: Option<ProviderSessionId>,
    times: Times,
    choices: &StrictChoices,
) -> Result<SessionAuth, TokenVerificationError> {
    let actor = match claims.get("act") {
        None | Some(Value::Null) => None,
        Some(act) => Some(match (actor(act), choices.reject_malformed_actor) {
            (Some(actor), _) => actor,
            (None, false) => Actor { subject: "unknown".to_owned(), kind: ActorKind::Impersonator },
            (None, true) => {
                return Err(TokenVerificationError::claim(
                    "Invalid JWT actor claim (act). Expected an object with sub.",
                ));
            }
        }),
    };
    Ok(SessionAuth {
        user_id,
        session_id,
        session_status: status(claims.get("sts"), choices.unknown_status_is_pending),
        actor,
        organization: organization::read(claims, choices),
        factor_verification_age: factor_verification_age(claims.get("fva")),
        features: scoped_slugs(claims.get("fea")),
        plans: scoped_slugs(claims.get("pla")),
        issued_at: times.issued_at,
        expires_at: times.expires_at,
        lenient_questions: !choices.strict_questions,
    })
}

/// A state that is not known is none, or counts as pending, which is signed out for every purpose.
fn status(sts: Option<&Value>, unknown_is_pending: bool) -> Option<SessionStatus> {
    match sts? {
        Value::Null => None,
        Value::String(text) if text == "active" => Some(SessionStatus::Active),
        Value::String(text) if text == "pending" => Some(SessionStatus::Pending),
        _ => unknown_is_pending.then_some(SessionStatus::Pending),
    }
}

fn actor(act: &Value) -> Option<Actor> {
    let subject = act.get("sub")?.as_str().filter(|subject| !subject.is_empty())?.to_owned();
    let agent = act.get("type").and_then(Value::as_str) == Some("agent");
    Some(Actor { subject, kind: if agent { ActorKind::Agent } else { ActorKind::Impersonator } })
}

/// Exactly two ages; anything else is unknown, which no step-up accepts.
fn factor_verification_age(fva: Option<&Value>) -> Option<FactorVerificationAge> {
    let [first, second] = fva?.as_array()?.as_slice() else { return None };
    Some(FactorVerificationAge { first: minutes(age(first)?), second: minutes(age(second)?) })
}

/// One element without a scope spoils the whole list: what is listed can then not be trusted to mean what it seems to.
fn scoped_slugs(list: Option<&Value>) -> Vec<ScopedSlug> {
    let Some(text) = list.and_then(Value::as_str).filter(|text| !text.is_empty()) else { return Vec::new() };
    let mut found = Vec::new();
    for element in text.split(',') {
        let Some((scope, slug)) = element.trim().split_once(':') else {
            tracing::warn!("a session token lists features or plans without scope: that list is ignored");
            return Vec::new();
        };
        let scope = match scope {
            "o" => SlugScope::Organization,
            "u" => SlugScope::User,
            "ou" | "uo" => SlugScope::Both,
            _ => continue,
        };
        found.push(ScopedSlug { scope, slug: slug.to_owned() });
    }
    found
}

/// −1 says that the factor is not available; other negative numbers mean nothing.
fn age(value: &Value) -> Option<f64> {
    value.as_f64().filter(|age| (0.0..INFINITE).contains(age) || age.to_bits() == (-1.0_f64).to_bits())
}

/// A fraction of a minute counts as a whole one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
fn minutes(age: f64) -> Option<u32> {
    (age >= 0.0).then_some(age.ceil() as u32)
}

#[cfg(test)]
mod tests {
    use portal_kernel::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::times::Window;

    fn session(claims: &Value, strict: bool) -> Result<SessionAuth, TokenVerificationError> {
        let expires_at = Timestamp::from_unix_seconds(60).unwrap();
        let times = Times { window: Window { from: 0, until: 60_000 }, expires_at, issued_at: None };
        let choices = if strict { StrictChoices::strict() } else { StrictChoices::exact() };
        read(claims.as_object().unwrap(), ProviderUserId::parse("user_1").unwrap(), None, times, &choices)
    }

    #[test]
    fn only_an_active_session_or_one_without_status_is_not_pending() {
        for (sts, pending) in [
            (json!({}), false),
            (json!({ "sts": null }), false),
            (json!({ "sts": "active" }), false),
            (json!({ "sts": "pending" }), true),
            (json!({ "sts": "Active" }), true),
            (json!({ "sts": "revoked" }), true),
            (json!({ "sts": 1 }), true),
        ] {
            assert_eq!(session(&sts, true).unwrap().is_pending(), pending, "{sts}");
            let named = sts["sts"] == json!("pending");
            assert_eq!(session(&sts, false).unwrap().is_pending(), named, "{sts}");
        }
    }

    #[test]
    fn somebody_else_at_the_wheel_is_never_forgotten() {
        let who = |act: Value, strict| session(&json!({ "act": act }), strict).map(|auth| auth.actor);
        let actor = |subject: &str, kind| Ok(Some(Actor { subject: subject.to_owned(), kind }));
        assert_eq!(who(json!({ "sub": "user_2" }), true), actor("user_2", ActorKind::Impersonator));
        assert_eq!(
            who(json!({ "sub": "user_2", "iss": "https://x", "sid": "sess_2" }), true),
            actor("user_2", ActorKind::Impersonator)
        );
        assert_eq!(who(json!({ "sub": "agent_2", "type": "agent" }), true), actor("agent_2", ActorKind::Agent));
        assert_eq!(who(json!({ "sub": "user_2", "type": "robot" }), true), actor("user_2", ActorKind::Impersonator));
        assert_eq!(who(json!({ "sub": "user_2", "type": ["agent"] }), true), actor("user_2", ActorKind::Impersonator));
        assert_eq!(who(json!(null), true), Ok(None));
        for act in [json!("user_2"), json!([]), json!({}), json!({ "sub": 2 }), json!({ "sub": "" }), json!(false)] {
            assert!(who(act.clone(), true).is_err(), "{act}");
            assert_eq!(who(act.clone(), false), actor("unknown", ActorKind::Impersonator), "{act}");
        }
    }

    #[test]
    fn factor_ages_are_two_numbers_or_unknown() {
        let ages = |fva: Value| session(&json!({ "fva": fva }), true).unwrap().factor_verification_age;
        let known = |first, second| Some(FactorVerificationAge { first, second });
        assert_eq!(ages(json!([5, 0])), known(Some(5), Some(0)));
        assert_eq!(ages(json!([5, -1])), known(Some(5), None));
        assert_eq!(ages(json!([-1, -1])), known(None, None));
        assert_eq!(ages(json!([4.2, 1e99])), known(Some(5), Some(u32::MAX)));
        for fva in [
            json!(null),
            json!([]),
            json!([1]),
            json!([1, 2, 3]),
            json!([1, "2"]),
            json!([1, -2]),
            json!([null, 1]),
            json!("1,2"),
        ] {
            assert_eq!(ages(fva.clone()), None, "{fva}");
        }
    }

    #[test]
    fn features_and_plans_keep_their_scope() {
        use SlugScope::{Both, Organization, User};
        let claims = json!({ "fea": "o:repos, u:mail,ou:wiki,uo:a:b,x:odd", "pla": "u:gold" });
        let auth = session(&claims, true).unwrap();
        let plain = |list: Vec<ScopedSlug>| list.into_iter().map(|item| (item.scope, item.slug)).collect::<Vec<_>>();
        let expected = [(Organization, "repos"), (User, "mail"), (Both, "wiki"), (Both, "a:b")];
        assert_eq!(plain(auth.features), expected.map(|(scope, slug)| (scope, slug.to_owned())));
        assert_eq!(plain(auth.plans), [(User, "gold".to_owned())]);
        for odd in [json!(null), json!(""), json!(1), json!(["o:repos"]), json!("o:repos,wiki"), json!("o:repos,")] {
            let auth = session(&json!({ "fea": odd, "pla": odd }), true).unwrap();
            assert!(auth.features.is_empty() && auth.plans.is_empty(), "{odd}");
        }
    }
}
