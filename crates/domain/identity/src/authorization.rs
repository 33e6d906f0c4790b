//! What somebody may do, asked of the auth object: Clerk's `has` (`clerk.md` §5).

use crate::{ActiveOrganization, Auth, Reverification, ScopedSlug, SessionAuth, SlugScope};

/// A question to an auth object. Everything that is asked must hold; asking nothing is answered with no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Has<'a> {
    /// A role in the active organization, with or without `org:`.
    pub role: Option<&'a str>,
    /// A custom permission in the active organization, with or without `org:`. System permissions (`org:sys_…`) are never
    /// in a token, so nobody has them.
    pub permission: Option<&'a str>,
    /// A feature, by its slug alone or with its scope: `org:` or `user:`, or the first letter of either.
    pub feature: Option<&'a str>,
    /// A plan, written as a feature is.
    pub plan: Option<&'a str>,
    /// A recent proof of who they are. Ages are as of the minting of the token, which lives for about a minute.
    pub reverification: Option<Reverification>,
}

impl SessionAuth {
    /// Clerk's `has`: true if something was asked and all of it holds. What is missing or cannot be read does not hold, and
    /// for a pending session nothing does. Nor does what is asked without a name: an empty role, or a scope alone (`o:`), which
    /// counts for a name only with [`SessionAuth::lenient_questions`].
    pub fn has(&self, asked: &Has<'_>) -> bool {
        let lenient = self.lenient_questions;
        let checks = [
            asked.role.map(|role| self.has_role(role)),
            asked.permission.map(|permission| self.has_permission(permission)),
            asked.feature.map(|feature| includes(&self.features, feature, lenient)),
            asked.plan.map(|plan| includes(&self.plans, plan, lenient)),
            asked.reverification.map(|rule| self.factor_verification_age.is_some_and(|age| rule.is_met_by(age))),
        ];
        let is_somebody = !self.is_pending() && !self.user_id.as_str().is_empty();
        is_somebody && checks.contains(&Some(true)) && !checks.contains(&Some(false))
    }

    /// Where roles and permissions come from; none without an id.
    fn named_organization(&self) -> Option<&ActiveOrganization> {
        self.organization.as_ref().filter(|organization| !organization.id.as_str().is_empty())
    }

    fn has_role(&self, asked: &str) -> bool {
        let role = self.named_organization().and_then(|organization| organization.role.as_deref());
        let counts = |role: &str| !(if self.lenient_questions { role } else { bare(role) }).is_empty();
        role.is_some_and(|role| counts(role) && bare(role) == bare(asked))
    }

    /// Only the question is normalised: a permission is what the provider wrote.
    fn has_permission(&self, asked: &str) -> bool {
        let asked = bare(asked);
        let granted = self.named_organization().map(|organization| organization.permissions.as_slice());
        (self.lenient_questions || !asked.is_empty())
            && granted.is_some_and(|granted| granted.iter().any(|name| name.strip_prefix("org:") == Some(asked)))
    }
}

impl Auth {
    /// [`SessionAuth::has`]; for a machine always false: authorize it by its scopes.
    pub fn has(&self, asked: &Has<'_>) -> bool {
        match self {
            Self::Session(session) => session.has(asked),
            Self::Machine(_) => false,
        }
    }
}

/// Without any leading `org:`.
fn bare(name: &str) -> &str {
    name.trim_start_matches("org:")
}

/// Only the first two parts of the question count, as in Clerk's SDK; a scope that is not known holds nothing.
fn includes(list: &[ScopedSlug], asked: &str, lenient: bool) -> bool {
    let mut parts = asked.split(':');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (scope, slug) = match (first, second) {
        (slug, None) => (SlugScope::Both, slug),
        ("o" | "org" | "organization", Some(slug)) => (SlugScope::Organization, slug),
        ("u" | "user", Some(slug)) => (SlugScope::User, slug),
        _ => return false,
    };
    let slug = if lenient && slug.is_empty() { first } else { slug };
    let in_scope = |held: SlugScope| held == scope || held == SlugScope::Both || scope == SlugScope::Both;
    (lenient || !slug.is_empty()) && list.iter().any(|held| held.slug == slug && in_scope(held.scope))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_kernel::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        FactorVerificationAge, MachineAuth, ProviderOrganizationId, ProviderUserId, ReverificationLevel, SessionStatus,
        TokenType,
    };

    fn slug(scope: SlugScope, slug: &str) -> ScopedSlug {
        ScopedSlug { scope, slug: slug.to_owned() }
    }

    fn session() -> SessionAuth {
        SessionAuth {
            user_id: ProviderUserId::parse("user_1").unwrap(),
            session_id: None,
            session_status: None,
            actor: None,
            organization: Some(ActiveOrganization {
                id: ProviderOrganizationId::parse("org_1").unwrap(),
                slug: None,
                role: Some("org:admin".to_owned()),
                permissions: vec!["org:f1:read".to_owned(), "f2:read".to_owned(), "org:org:f3:read".to_owned()],
            }),
            factor_verification_age: Some(FactorVerificationAge { first: Some(5), second: Some(700) }),
            features: vec![
                slug(SlugScope::Organization, "repos"),
                slug(SlugScope::User, "mail"),
                slug(SlugScope::Both, "wiki"),
            ],
            plans: vec![slug(SlugScope::User, "gold"), slug(SlugScope::Organization, "")],
            issued_at: None,
            expires_at: Timestamp::from_unix_seconds(60).unwrap(),
            lenient_questions: false,
        }
    }

    const NOTHING: Has<'_> = Has { role: None, permission: None, feature: None, plan: None, reverification: None };

    fn role(role: &str) -> Has<'_> {
        Has { role: Some(role), ..NOTHING }
    }

    fn permission(permission: &str) -> Has<'_> {
        Has { permission: Some(permission), ..NOTHING }
    }

    fn feature(feature: &str) -> Has<'_> {
        Has { feature: Some(feature), ..NOTHING }
    }

    fn plan(plan: &str) -> Has<'_> {
        Has { plan: Some(plan), ..NOTHING }
    }

    fn proof(reverification: Reverification) -> Has<'static> {
        Has { reverification: Some(reverification), ..NOTHING }
    }

    #[test]
    fn everything_asked_must_hold_and_nothing_asked_is_no() {
        let everything = Has {
            role: Some("admin"),
            permission: Some("f1:read"),
            feature: Some("repos"),
            plan: Some("gold"),
            reverification: Some(Reverification::Lax),
        };
        assert!(!session().has(&NOTHING));
        assert!(session().has(&everything));
        for one_wrong in [
            Has { role: Some("member"), ..everything },
            Has { permission: Some("f1:write"), ..everything },
            Has { feature: Some("none"), ..everything },
            Has { plan: Some("none"), ..everything },
            Has { reverification: Some(Reverification::Strict), ..everything },
        ] {
            assert!(!session().has(&one_wrong), "{one_wrong:?}");
        }
    }

    #[test]
    fn a_pending_session_has_nothing() {
        let with = |status| SessionAuth { session_status: Some(status), ..session() };
        for asked in [role("admin"), permission("f1:read"), feature("repos"), plan("gold"), proof(Reverification::Lax)]
        {
            assert!(with(SessionStatus::Active).has(&asked), "{asked:?}");
            assert!(!with(SessionStatus::Pending).has(&asked), "{asked:?}");
        }
    }

    #[test]
    fn roles_compare_with_exactly_one_org_prefix_on_both_sides() {
        for (held, asked, expected) in [
            (Some("org:admin"), "admin", true),
            (Some("org:admin"), "org:admin", true),
            (Some("org:org:admin"), "org:org:org:admin", true),
            (Some("admin"), "admin", true),
            (Some("org:admin"), "Admin", false),
            (Some("org:admin"), "adm", false),
            (Some("org:admin"), "", false),
            (Some("org:"), "", false),
            (Some(""), "org:", false),
            (None, "admin", false),
        ] {
            let mut auth = session();
            auth.organization.as_mut().unwrap().role = held.map(str::to_owned);
            assert_eq!(auth.has(&role(asked)), expected, "{held:?} {asked:?}");
        }
    }

    #[test]
    fn permissions_are_exact_members_of_the_list() {
        for (asked, expected) in [
            ("org:f1:read", true),
            ("f1:read", true),
            ("org:org:f1:read", true),
            ("org:f1", false),
            ("f1", false),
            ("f1:read:x", false),
            ("f2:read", false),
            ("f3:read", false),
            ("", false),
            ("org:", false),
        ] {
            assert_eq!(session().has(&permission(asked)), expected, "{asked:?}");
        }
        let nowhere = SessionAuth { organization: None, ..session() };
        assert!(!nowhere.has(&permission("f1:read")) && !nowhere.has(&role("admin")));
    }

    #[test]
    fn features_and_plans_are_found_in_the_scope_that_is_asked_for() {
        for (asked, expected) in [
            ("repos", true),
            ("o:repos", true),
            ("org:repos", true),
            ("organization:repos", true),
            ("u:repos", false),
            ("user:repos", false),
            ("mail", true),
            ("u:mail", true),
            ("user:mail", true),
            ("o:mail", false),
            ("wiki", true),
            ("o:wiki", true),
            ("u:wiki", true),
            ("u:wiki:ignored", true),
            ("ou:wiki", false),
            ("x:wiki", false),
            ("O:wiki", false),
            (":wiki", false),
            ("wiki:", false),
            ("o:", false),
            ("", false),
            ("gold", false),
        ] {
            assert_eq!(session().has(&feature(asked)), expected, "{asked:?}");
        }
        assert!(session().has(&plan("gold")) && session().has(&plan("u:gold")));
        assert!(!session().has(&plan("o:gold")) && !session().has(&plan("repos")) && !session().has(&plan("")));
    }

    #[test]
    fn questions_without_a_name_count_only_where_they_are_said_to() {
        let mut auth = session();
        auth.features = vec![slug(SlugScope::Organization, ""), slug(SlugScope::User, "u")];
        let organization = auth.organization.as_mut().unwrap();
        (organization.role, organization.permissions) = (Some("org:".to_owned()), vec!["org:".to_owned()]);
        for (asked, in_lenient) in [
            (role(""), true),
            (role("org:org:"), true),
            (permission(""), true),
            (feature(""), true),
            (feature("u:"), true),
            (feature("o:"), false),
            (feature(":"), false),
            (feature("x:"), false),
            (plan(""), true),
            (plan("gold:"), false),
        ] {
            assert!(!auth.has(&asked), "{asked:?}");
            let lenient = SessionAuth { lenient_questions: true, ..auth.clone() };
            assert_eq!(lenient.has(&asked), in_lenient, "{asked:?}");
        }
        auth.organization.as_mut().unwrap().role = Some(String::new());
        assert!(!SessionAuth { lenient_questions: true, ..auth }.has(&role("")));
    }

    #[test]
    fn nobody_has_anything_and_no_organization_gives_anything() {
        let mut auth = session();
        assert!(auth.has(&role("admin")) && auth.has(&permission("f1:read")) && auth.has(&feature("mail")));
        auth.organization.as_mut().unwrap().id = ProviderOrganizationId::as_written("");
        assert!(!auth.has(&role("admin")) && !auth.has(&permission("f1:read")) && auth.has(&feature("mail")));
        auth.user_id = ProviderUserId::as_written("");
        assert!(!auth.has(&feature("mail")));
    }

    #[test]
    fn each_level_looks_at_the_factors_of_its_row() {
        // Within 10 minutes: 9 is fresh, 10 is not.
        for (first, second, for_first, for_second, for_multi) in [
            (Some(9), None, true, true, true),
            (Some(10), None, false, false, false),
            (None, Some(9), false, true, false),
            (None, Some(10), false, false, false),
            (Some(9), Some(9), true, true, true),
            (Some(9), Some(10), true, false, false),
            (Some(10), Some(9), false, true, false),
            (Some(10), Some(10), false, false, false),
            (Some(0), Some(u32::MAX), true, false, false),
            (None, None, false, false, false),
        ] {
            let age = Some(FactorVerificationAge { first, second });
            let auth = SessionAuth { factor_verification_age: age, ..session() };
            let has = |level| auth.has(&proof(Reverification::Custom { level, after_minutes: 10 }));
            assert_eq!(has(ReverificationLevel::FirstFactor), for_first, "{age:?}");
            assert_eq!(has(ReverificationLevel::SecondFactor), for_second, "{age:?}");
            assert_eq!(has(ReverificationLevel::MultiFactor), for_multi, "{age:?}");
            let never = Reverification::Custom { level: ReverificationLevel::FirstFactor, after_minutes: 0 };
            assert!(!auth.has(&proof(never)));
        }
        let unknown = SessionAuth { factor_verification_age: None, ..session() };
        assert!(!unknown.has(&proof(Reverification::Lax)));
    }

    #[test]
    fn a_machine_has_nothing_and_a_session_the_same_in_either_form() {
        let machine = MachineAuth {
            token_type: TokenType::ApiKey,
            id: "ak_1".to_owned(),
            subject: "user_1".to_owned(),
            user_id: ProviderUserId::parse("user_1").ok(),
            organization_id: None,
            machine_id: None,
            client_id: None,
            scopes: vec!["org:admin".to_owned(), "org:f1:read".to_owned()],
            claims: None,
            expires_at: None,
        };
        for asked in [role("admin"), permission("f1:read"), feature("repos"), plan("gold"), proof(Reverification::Lax)]
        {
            assert!(Auth::Session(Arc::new(session())).has(&asked), "{asked:?}");
            assert!(!Auth::Machine(Arc::new(machine.clone())).has(&asked), "{asked:?}");
        }
    }

    proptest! {
        #[test]
        fn any_question_to_any_session_has_an_answer(
            asked in "(o|u|org|user|x)?:?.{0,12}",
            held in "(org:){0,2}.{0,12}",
            first in any::<Option<u32>>(),
            second in any::<Option<u32>>(),
            after_minutes in any::<u32>(),
        ) {
            let mut auth = session();
            let organization = auth.organization.as_mut().unwrap();
            organization.role = Some(held.clone());
            organization.permissions = vec![held.clone()];
            auth.features = vec![slug(SlugScope::Both, &held)];
            auth.factor_verification_age = Some(FactorVerificationAge { first, second });
            let level = ReverificationLevel::MultiFactor;
            let rule = Reverification::Custom { level, after_minutes };
            for asked in [role(&asked), permission(&asked), feature(&asked), plan(&asked), proof(rule)] {
                let pending = SessionAuth { session_status: Some(SessionStatus::Pending), ..auth.clone() };
                let _ = auth.has(&asked);
                prop_assert!(!pending.has(&asked));
            }
        }
    }
}
