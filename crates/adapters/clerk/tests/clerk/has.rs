//! Clerk's `has`, asked what the corpus asks (`tests/conformance/`, cases of the kind `has`).

use std::collections::BTreeMap;

use portal_clerk::{Has, Reverification, ReverificationLevel, StrictChoices};
use serde_json::{Value, json};

use crate::conformance::{assert_listed, read};
use crate::minting::{KEY, header};
use crate::setup::{Setup, with_public_key};

/// A rule; none for what no caller can write here.
fn reverification(value: &Value) -> Option<Reverification> {
    let presets = [Reverification::StrictMfa, Reverification::Strict, Reverification::Moderate, Reverification::Lax];
    if let Some(name) = value.as_str() {
        return presets.into_iter().find(|preset| preset.preset() == Some(name));
    }
    let levels =
        [ReverificationLevel::FirstFactor, ReverificationLevel::SecondFactor, ReverificationLevel::MultiFactor];
    let level = levels.into_iter().find(|level| Some(level.as_str()) == value.get("level").and_then(Value::as_str))?;
    let after_minutes = u32::try_from(value.get("afterMinutes")?.as_u64()?).ok()?;
    Some(Reverification::Custom { level, after_minutes })
}

/// The question; none if it is one that does not compile here.
fn question(params: &Value) -> Option<Has<'_>> {
    let text = |name: &str| match params.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    };
    let known = ["role", "permission", "feature", "plan", "reverification"];
    params.as_object()?.keys().all(|name| known.contains(&name.as_str())).then_some(())?;
    Some(Has {
        role: text("role")?,
        permission: text("permission")?,
        feature: text("feature")?,
        plan: text("plan")?,
        reverification: match params.get("reverification") {
            None => None,
            Some(rule) => Some(reverification(rule)?),
        },
    })
}

#[tokio::test]
async fn the_answers_are_those_of_clerks_sdk() {
    let mut options = with_public_key();
    options.choices = StrictChoices::exact();
    let setup = Setup::new(options);
    let corpus = read("cases.json");
    let (mut asked, mut different) = (0, BTreeMap::new());
    // Where the SDK throws there is no answer to compare.
    let is_asked = |case: &&Value| case["kind"] == "has" && case["expect"].get("throws").is_none();
    for case in corpus["cases"].as_array().unwrap().iter().filter(is_asked) {
        let name = case["name"].as_str().unwrap();
        let Some(question) = question(&case["params"]) else { continue };
        let auth = setup.verify(&KEY.token(&header(&json!({})), &case["claims"])).await;
        let answer = auth.is_ok_and(|auth| auth.has(&question));
        asked += 1;
        if answer != case["expect"]["has"] {
            different.insert(name.to_owned(), answer.to_string());
        }
    }
    assert!(asked >= 380, "{asked}");
    assert_listed(&different, "has.json");
}
