//! Permissions from the compact claims of an organization: `fea`, `per` and `fpm`, one line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portal_clerk::StrictChoices;
use portal_clerk::fuzzing::active_organization;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (features, verbs, masks) = (line(), line(), line());

    let claims = json!({ "v": 2, "fea": features, "o": { "id": "org_1", "per": verbs, "fpm": masks } });
    let claims = claims.as_object().expect("it is one");
    for choices in [StrictChoices::strict(), StrictChoices::exact()] {
        let found = active_organization(claims, &choices).expect("it has an id").permissions;
        assert_eq!(found, expected(features, verbs, masks, &choices));
    }
});

fn expected(features: &str, verbs: &str, masks: &str, choices: &StrictChoices) -> Vec<String> {
    let features: Vec<_> = features.split(',').map(str::trim).collect();
    if verbs.is_empty() || masks.is_empty() || features.iter().any(|feature| !feature.contains(':')) {
        return Vec::new();
    }
    let verbs: Vec<_> = verbs.split(',').map(str::trim).collect();
    let masks: Vec<_> = masks.split(',').map(str::trim).collect();
    let all_counted = choices.count_user_features && masks.len() == features.len();
    let mut place = 0;
    let mut permissions = Vec::new();
    for feature in &features {
        let (scope, name) = feature.split_once(':').expect("each has a colon");
        let of_organization = ["o", "ou", "uo"].contains(&scope);
        if of_organization && let Some(mask) = masks.get(place) {
            let set = bits(mask);
            // In exact a verb without a name is one, as in Clerk's SDK.
            let counts = |verb: &str| !(choices.mend_organizations && verb.is_empty());
            for (verb, _) in verbs.iter().zip(set).filter(|(verb, set)| *set && counts(verb)) {
                permissions.push(format!("org:{name}:{verb}"));
            }
        }
        place += usize::from(of_organization || all_counted);
    }
    permissions
}

/// The bits of a decimal number, lowest first, by halving it; none of what is no number.
fn bits(decimal: &str) -> Vec<bool> {
    if !decimal.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let mut digits: Vec<u8> = decimal.bytes().map(|byte| byte - b'0').collect();
    let mut bits = Vec::new();
    while digits.iter().any(|digit| *digit != 0) {
        let mut rest = 0;
        for digit in &mut digits {
            let value = rest * 10 + *digit;
            (*digit, rest) = (value / 2, value % 2);
        }
        bits.push(rest == 1);
    }
    bits
}
