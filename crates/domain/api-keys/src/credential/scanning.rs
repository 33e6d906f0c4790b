//! The published rules of scanners, compared with the credentials that are made.

use portal_kernel::ExposeSecret;
use portal_testkit::CountingEntropy;
use regex_lite::Regex;

use super::{Brand, KeyEnvironment, SERVICE_PREFIX, mint};

const RULES: &str = include_str!("../../../../../docs/secret-scanning/gitleaks.toml");
const README: &str = include_str!("../../../../../docs/secret-scanning/README.md");

fn published() -> Vec<&'static str> {
    RULES.split("regex = '''").skip(1).map(|rest| rest.split("'''").next().unwrap()).collect()
}

/// What any rule finds in a text.
fn found(text: &str) -> Vec<String> {
    let rules = published().into_iter().map(|rule| Regex::new(rule).unwrap());
    rules.flat_map(|rule| rule.find_iter(text).map(|one| one.as_str().to_owned()).collect::<Vec<_>>()).collect()
}

fn made() -> Vec<String> {
    let (brand, entropy) = (Brand::default(), CountingEntropy::default());
    let prefixes = KeyEnvironment::ALL.map(|environment| brand.prefix(environment).to_owned());
    let prefixes: Vec<_> = prefixes.into_iter().chain([SERVICE_PREFIX.to_owned()]).collect();
    let mint = |number: usize| mint(&prefixes[number % 3], &entropy).text.expose_secret().to_owned();
    (0..300).map(mint).collect()
}

#[test]
fn every_credential_that_is_made_is_found_wherever_it_stands() {
    for text in made() {
        for surroundings in ["#", "KEY=#", "\"#\"", "'#',", "https://example.com/?key=#&x=1", "Bearer #\n", "(#)", "#."]
        {
            assert_eq!(found(&surroundings.replace('#', &text)), [text.as_str()], "{surroundings}");
        }
    }
}

#[test]
fn what_comes_close_is_not_found() {
    for text in made().into_iter().take(3) {
        let shorter = &text[..text.len() - 1];
        let (prefix, body) = text.split_at(text.rfind('_').unwrap());
        for miss in [
            shorter.to_owned(),
            format!("{text}0"),
            format!("x{text}"),
            format!("_{text}"),
            format!("{text}_"),
            text.to_uppercase(),
            text.replacen('_', "-", 1),
            format!("{prefix}s{body}"),
            format!("{shorter}-"),
            format!("{} {}", &text[..30], &text[30..]),
        ] {
            assert_eq!(found(&miss), Vec::<String>::new(), "{miss}");
        }
    }
}

#[test]
fn the_rules_are_the_ones_that_are_explained() {
    let rules = published();
    assert_eq!(rules.len(), 2);
    for rule in rules {
        assert!(README.contains(&format!("    {rule}\n")), "{rule}");
    }
    for keyword in ["cort_live_", "cort_test_", "portal_svc_"] {
        assert!(RULES.contains(&format!("\"{keyword}\"")), "{keyword}");
    }
}
