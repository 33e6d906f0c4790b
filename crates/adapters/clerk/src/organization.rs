//! The active organization of a token, in either version of Clerk's claims.
//!
//! Whatever cannot be read gives less, never more: no organization, no role or no permissions.

use portal_identity::{ActiveOrganization, ProviderOrganizationId};
use serde_json::Value;

use crate::StrictChoices;
use crate::json::Members;
use crate::loose::{is_truthy, to_text};

/// The organization of the claims; none without one, and in strict none if the version of the claims is unknown.
pub(crate) fn read(claims: &Members, choices: &StrictChoices) -> Option<ActiveOrganization> {
    match claims.get("v") {
        Some(v) if v.as_f64() == Some(2.0) => second_version(claims, choices),
        None => first_version(claims, choices),
        Some(v) if v.as_f64() == Some(1.0) || !choices.known_claim_versions_only => first_version(claims, choices),
        Some(_) => {
            if ["o", "org_id"].into_iter().any(|name| claims.contains_key(name)) {
                tracing::warn!("a session token has claims of an unknown version: its organization is ignored");
            }
            None
        }
    }
}

/// Whether Clerk's SDK can spell out the permissions, and does not stumble over them.
pub(crate) fn is_readable(claims: &Members, choices: &StrictChoices) -> bool {
    match (claims.get("v").and_then(Value::as_f64), claims.get("o")) {
        (Some(2.0), Some(Value::Object(organization))) => granted(claims, organization, choices).is_some(),
        _ => true,
    }
}

fn first_version(claims: &Members, choices: &StrictChoices) -> Option<ActiveOrganization> {
    let permissions = match claims.get("org_permissions") {
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        None | Some(Value::Null) => Some(Vec::new()),
        Some(_) => None,
    };
    Some(ActiveOrganization {
        id: id(claims.get("org_id"), choices)?,
        slug: text(claims.get("org_slug")),
        role: if choices.mend_organizations { role(claims.get("org_role")) } else { text(claims.get("org_role")) },
        permissions: permissions.unwrap_or_else(malformed),
    })
}

fn second_version(claims: &Members, choices: &StrictChoices) -> Option<ActiveOrganization> {
    let organization = match claims.get("o")? {
        Value::Object(organization) => organization,
        Value::Null => return None,
        _ => return malformed(),
    };
    let rol = organization.get("rol");
    let role = if choices.mend_organizations {
        role(rol)
    } else {
        rol.filter(|rol| is_truthy(rol)).map(|rol| format!("org:{}", to_text(rol)))
    };
    Some(ActiveOrganization {
        id: id(organization.get("id"), choices)?,
        slug: text(organization.get("slg")),
        role,
        permissions: granted(claims, organization, choices).unwrap_or_else(malformed),
    })
}

/// None if they cannot be read.
fn granted(claims: &Members, organization: &Members, choices: &StrictChoices) -> Option<Vec<String>> {
    let features = claims.get("fea").filter(|features| is_truthy(features));
    let features = features.map_or(Some(""), Value::as_str)?;
    match (organization.get("per"), organization.get("fpm")) {
        (Some(verbs), Some(masks)) if is_truthy(verbs) && is_truthy(masks) => {
            permissions(features, Some((verbs.as_str()?, masks.as_str()?)), choices)
        }
        _ => permissions(features, None, choices),
    }
}

fn malformed<T: Default>() -> T {
    tracing::warn!("a session token has organization claims that cannot be read: that part is ignored");
    T::default()
}

/// Without [`StrictChoices::mend_organizations`] any value is one, and what counts for nothing is an empty one.
fn id(value: Option<&Value>, choices: &StrictChoices) -> Option<ProviderOrganizationId> {
    match value? {
        Value::Null => None,
        value if choices.mend_organizations => {
            value.as_str().and_then(|text| ProviderOrganizationId::parse(text).ok()).or_else(malformed)
        }
        value if is_truthy(value) => Some(ProviderOrganizationId::as_written(&to_text(value))),
        _ => Some(ProviderOrganizationId::as_written("")),
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// With exactly one leading `org:`; the two versions of the claims differ in it.
fn role(value: Option<&Value>) -> Option<String> {
    let bare = value?.as_str()?.trim_start_matches("org:");
    (!bare.is_empty()).then(|| format!("org:{bare}"))
}

/// Spells out `org:<feature>:<verb>` from the compact claims `fea`, `per` and `fpm`; none if an element of `fea` has no
/// scope.
///
/// `fpm` has one number per feature, whose lowest bit stands for the first verb of `per`. Published descriptions
/// disagree on whether features of the user alone are counted. With `count_user_features` they are if there are as many numbers as
/// features in all.
fn permissions(features: &str, granted: Option<(&str, &str)>, choices: &StrictChoices) -> Option<Vec<String>> {
    if features.is_empty() {
        return Some(Vec::new());
    }
    let mut all = Vec::new();
    for element in features.split(',') {
        let (scope, feature) = element.trim().split_once(':')?;
        all.push((matches!(scope, "o" | "ou" | "uo"), feature));
    }
    let Some((verbs, masks)) = granted else { return Some(Vec::new()) };
    let verbs: Vec<&str> = verbs.split(',').map(str::trim).collect();
    let masks: Vec<&str> = masks.split(',').map(str::trim).collect();
    if !choices.count_user_features || masks.len() != all.len() {
        all.retain(|(organization, _)| *organization);
    }

    let mut found = Vec::new();
    for ((organization, feature), mask) in all.into_iter().zip(masks) {
        let Some(mask) = Mask::read(mask, verbs.len()).filter(|_| organization) else { continue };
        let granted = verbs
            .iter()
            .enumerate()
            .filter(|(bit, verb)| mask.has(*bit) && !(choices.mend_organizations && verb.is_empty()));
        found.extend(granted.map(|(_, verb)| format!("org:{feature}:{verb}")));
    }
    Some(found)
}

/// The lowest bits of a decimal number of any length.
struct Mask(Vec<u8>);

impl Mask {
    /// None if the text is anything but digits.
    fn read(decimal: &str, bits: usize) -> Option<Self> {
        if decimal.is_empty() {
            return None;
        }
        let mut bytes = vec![0_u8; bits.div_ceil(8)];
        for digit in decimal.bytes() {
            let mut carry = digit.is_ascii_digit().then(|| digit - b'0')?;
            for byte in &mut bytes {
                [*byte, carry] = (u16::from(*byte) * 10 + u16::from(carry)).to_le_bytes();
            }
        }
        Some(Self(bytes))
    }

    fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn organization(claims: &Value) -> Option<ActiveOrganization> {
        read(claims.as_object().unwrap(), &StrictChoices::strict())
    }

    fn granted(features: &str, verbs: &str, masks: &str) -> Vec<String> {
        let claims = json!({ "v": 2, "fea": features, "o": { "id": "org_1", "per": verbs, "fpm": masks } });
        organization(&claims).unwrap().permissions
    }

    #[test]
    fn the_worked_example_gives_its_published_permissions() {
        assert_eq!(
            granted("o:repositories,o:projects", "read,create,update,delete,revoke", "7,21"),
            [
                "org:repositories:read",
                "org:repositories:create",
                "org:repositories:update",
                "org:projects:read",
                "org:projects:update",
                "org:projects:revoke",
            ]
        );
    }

    #[test]
    fn masks_above_2_to_the_53_keep_every_bit() {
        let verbs: Vec<String> = (0..130).map(|bit| format!("v{bit}")).collect();
        let verbs = verbs.join(",");
        // 2^53 + 1, which no double holds; 2^64 + 2^0; 2^128 + 2^65.
        assert_eq!(granted("o:f", &verbs, "9007199254740993"), ["org:f:v0", "org:f:v53"]);
        assert_eq!(granted("o:f", &verbs, "18446744073709551617"), ["org:f:v0", "org:f:v64"]);
        assert_eq!(granted("o:f", &verbs, "340282366920938463500268095579187314688"), ["org:f:v65", "org:f:v128"]);
        // Bits beyond the list are dropped.
        assert_eq!(granted("o:f", "read", "18446744073709551617"), ["org:f:read"]);
        assert_eq!(granted("o:f", "read", "18446744073709551616"), [""; 0]);
    }

    #[test]
    fn in_exact_users_features_are_never_counted_and_every_other_version_is_the_first() {
        let exact = |claims: Value| read(claims.as_object().unwrap(), &StrictChoices::exact());
        let claims = json!({ "v": 2, "fea": "u:mail,o:repos,ou:wiki", "o": { "id": "org_1", "per": "read,write", "fpm": "3,1,2" } });
        assert_eq!(exact(claims).unwrap().permissions, ["org:repos:read", "org:repos:write", "org:wiki:read"]);
        for v in [json!(3), json!("2"), json!(null), json!(true)] {
            let found = exact(json!({ "v": v, "org_id": "org_1", "org_role": "org:admin" })).unwrap();
            assert_eq!(found.role.as_deref(), Some("org:admin"), "{v}");
        }
    }

    #[test]
    fn the_number_of_masks_decides_which_features_they_belong_to() {
        // As many masks as organization features: the feature of the user is not counted.
        assert_eq!(granted("u:mail,o:repos,uo:wiki", "read,write", "1,2"), ["org:repos:read", "org:wiki:write"]);
        // As many masks as features in all: it is counted, and gives nothing.
        assert_eq!(granted("u:mail,o:repos,ou:wiki", "read,write", "3,1,2"), ["org:repos:read", "org:wiki:write"]);
        // Neither: the first organization features, and nothing for the rest.
        assert_eq!(granted("u:mail,o:repos,o:wiki", "read", "1"), ["org:repos:read"]);
        assert_eq!(granted("o:repos", "read", "1,1,1"), ["org:repos:read"]);
        assert_eq!(granted("x:odd,o:repos", "read", "1"), ["org:repos:read"]);
    }

    #[test]
    fn elements_that_are_not_only_digits_give_no_bits() {
        assert_eq!(granted("o:a,o:b", "read,write", "x,3"), ["org:b:read", "org:b:write"]);
        assert_eq!(granted("o:a,o:b", "read", "-1, 1 "), ["org:b:read"]);
        assert_eq!(granted("o:a,o:b", "read", ",1"), ["org:b:read"]);
        assert_eq!(granted("o:a", "read", "1e1"), [""; 0]);
        assert_eq!(granted("o:a", "read,,write", "7"), ["org:a:read", "org:a:write"]);
    }

    #[test]
    fn missing_or_malformed_parts_leave_the_organization_without_permissions() {
        for claims in [
            json!({ "v": 2, "o": { "id": "org_1", "rol": "admin" } }),
            json!({ "v": 2, "fea": "o:a", "o": { "id": "org_1", "rol": "admin", "per": "read" } }),
            json!({ "v": 2, "fea": "o:a", "o": { "id": "org_1", "rol": "admin", "fpm": "1" } }),
            json!({ "v": 2, "fea": "o:a,broken", "o": { "id": "org_1", "rol": "admin", "per": "read", "fpm": "1,1" } }),
            json!({ "v": 2, "fea": ["o:a"], "o": { "id": "org_1", "rol": "admin", "per": "read", "fpm": "1" } }),
            json!({ "v": 2, "fea": "o:a", "o": { "id": "org_1", "rol": "admin", "per": "read", "fpm": 1 } }),
            json!({ "org_id": "org_1", "org_role": "org:admin" }),
            json!({ "v": 1, "org_id": "org_1", "org_role": "org:admin", "org_permissions": "org:a:read" }),
            json!({ "org_id": "org_1", "org_role": "admin", "org_permissions": ["org:a:read", 1] }),
        ] {
            let found = organization(&claims).unwrap();
            assert_eq!((found.id.as_str(), found.role.as_deref()), ("org_1", Some("org:admin")), "{claims}");
            assert_eq!(found.permissions, [""; 0], "{claims}");
        }
    }

    #[test]
    fn in_exact_nothing_is_mended() {
        let exact = |claims: &Value| {
            let claims = claims.as_object().unwrap();
            let choices = StrictChoices::exact();
            (is_readable(claims, &choices), read(claims, &choices).unwrap())
        };
        let second = |fea: Value, per: Value, fpm: Value| {
            exact(&json!({ "v": 2, "fea": fea, "o": { "id": "org_1", "rol": "org:admin", "per": per, "fpm": fpm } }))
        };
        for (fea, per, fpm) in [
            (json!("o:a,b"), json!("read"), json!("1")),
            (json!(["o:a"]), json!(null), json!(null)),
            (json!(5), json!("read"), json!("1")),
            (json!("o:a"), json!(["read"]), json!("1")),
            (json!("o:a"), json!("read"), json!(1)),
        ] {
            let (readable, found) = second(fea, per, fpm);
            assert_eq!((readable, found.permissions.len()), (false, 0));
        }
        for (fea, per, fpm) in [
            (json!(0), json!("read"), json!("1")),
            (json!("o:a"), json!(["read"]), json!("")),
            (json!("o:a"), json!(null), json!(1)),
        ] {
            let (readable, found) = second(fea, per, fpm);
            assert_eq!((readable, found.permissions.len()), (true, 0));
            assert_eq!(found.role.as_deref(), Some("org:org:admin"));
        }
        let (_, found) = second(json!("o:a"), json!("read,,write"), json!("7"));
        assert_eq!(found.permissions, ["org:a:read", "org:a:", "org:a:write"]);
        for (rol, role) in
            [(json!(""), None), (json!(0), None), (json!(5), Some("org:5")), (json!(["a", "b"]), Some("org:a,b"))]
        {
            let (_, found) = exact(&json!({ "v": 2, "o": { "id": "org_1", "rol": rol } }));
            assert_eq!(found.role.as_deref(), role, "{rol}");
        }
        for (id, written) in [(json!("team"), "team"), (json!(5), "5"), (json!(0), ""), (json!(""), "")] {
            let (_, found) = exact(&json!({ "v": 2, "o": { "id": id } }));
            assert_eq!(found.id.as_str(), written);
        }
        let (_, found) = exact(&json!({ "org_id": "org_1", "org_role": "admin" }));
        assert_eq!(found.role.as_deref(), Some("admin"));
    }

    #[test]
    fn no_organization_in_the_token_means_no_role_and_no_permissions() {
        for claims in [
            json!({}),
            json!({ "v": 2 }),
            json!({ "v": 2, "o": null, "fea": "o:a" }),
            json!({ "v": 2, "o": "org_1" }),
            json!({ "v": 2, "o": { "rol": "admin" } }),
            json!({ "v": 2, "o": { "id": "../org_1", "rol": "admin" } }),
            json!({ "v": 2, "o": { "id": 1 } }),
            json!({ "org_role": "org:admin", "org_permissions": ["org:a:read"] }),
            json!({ "org_id": "org_" }),
        ] {
            assert_eq!(organization(&claims), None, "{claims}");
        }
    }

    #[test]
    fn claims_of_another_version_give_no_organization() {
        for v in [json!(3), json!(0), json!("2"), json!(null), json!([2]), json!(2.5)] {
            let claims =
                json!({ "v": v, "o": { "id": "org_1", "rol": "admin" }, "org_id": "org_1", "org_role": "org:admin" });
            assert_eq!(organization(&claims), None, "{claims}");
        }
    }

    #[test]
    fn both_versions_read_alike_and_roles_have_one_prefix() {
        let first = json!({ "org_id": "org_1", "org_slug": "acme", "org_role": "org:admin", "org_permissions": ["org:repos:read"] });
        let second = json!({
            "v": 2, "fea": "o:repos", "o": { "id": "org_1", "slg": "acme", "rol": "admin", "per": "read", "fpm": "1" },
        });
        assert_eq!(organization(&first), organization(&second));
        for (rol, role) in [
            ("admin", Some("org:admin")),
            ("org:admin", Some("org:admin")),
            ("org:org:x", Some("org:x")),
            ("", None),
            ("org:", None),
        ] {
            let found = organization(&json!({ "v": 2, "o": { "id": "org_1", "rol": rol } })).unwrap();
            assert_eq!(found.role.as_deref(), role, "{rol:?}");
        }
        assert_eq!(organization(&json!({ "v": 2, "o": { "id": "org_1", "rol": 7 } })).unwrap().role, None);
    }
}
