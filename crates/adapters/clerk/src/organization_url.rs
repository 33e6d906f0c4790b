//! The organization that a URL names (`clerk.md` §3.13).

use portal_identity::SessionAuth;
use regex_lite::Regex;

use crate::InvalidClerkSetting;

/// Paths that name an organization, in the notation of `path-to-regexp`: `:id`, `:slug`, `(.*)`, with `?`, `*` and `+` after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationSyncOptions {
    /// For example `/orgs/:slug` and `/orgs/:slug/(.*)`. A path with `:id` or `:slug` names the organization by it.
    pub organization_patterns: Vec<String>,
    /// For example `/me` and `/me/(.*)`: pages of the personal account.
    pub personal_account_patterns: Vec<String>,
}

/// What should be active for a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Id(String),
    Slug(String),
    PersonalAccount,
}

impl Target {
    /// As the Frontend API wants it.
    pub(crate) fn as_parameter(&self) -> &str {
        match self {
            Self::Id(text) | Self::Slug(text) => text,
            Self::PersonalAccount => "",
        }
    }

    /// Whether something else is active.
    pub(crate) fn differs_from(&self, auth: &SessionAuth) -> bool {
        let active = auth.organization.as_ref();
        match self {
            Self::Id(id) => active.is_none_or(|active| active.id.as_str() != id),
            Self::Slug(slug) => active.and_then(|active| active.slug.as_ref()) != Some(slug),
            Self::PersonalAccount => active.is_some_and(|active| !active.id.as_str().is_empty()),
        }
    }
}

/// The patterns, compiled once.
#[derive(Clone, Default)]
pub(crate) struct OrganizationMatcher {
    organizations: Vec<Pattern>,
    personal: Vec<Pattern>,
}

impl OrganizationMatcher {
    pub(crate) fn read(options: &OrganizationSyncOptions) -> Result<Self, InvalidClerkSetting> {
        let compile =
            |patterns: &[String]| -> Result<Vec<_>, _> { patterns.iter().map(|text| Pattern::read(text)).collect() };
        Ok(Self {
            organizations: compile(&options.organization_patterns)?,
            personal: compile(&options.personal_account_patterns)?,
        })
    }

    /// Organizations before the personal account, `:id` before `:slug`; the path as it is in the URL, escapes included.
    pub(crate) fn target(&self, path: &str) -> Option<Target> {
        let organization = self.organizations.iter().find_map(|pattern| pattern.captures(path)).and_then(|found| {
            let value = |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            value("id").map(Target::Id).or_else(|| value("slug").map(Target::Slug))
        });
        let personal = || self.personal.iter().any(|pattern| pattern.captures(path).is_some());
        organization.or_else(|| personal().then_some(Target::PersonalAccount))
    }
}

#[derive(Clone)]
struct Pattern {
    regex: Regex,
    names: Vec<String>,
}

impl Pattern {
    fn read(text: &str) -> Result<Self, InvalidClerkSetting> {
        let invalid = || InvalidClerkSetting::OrganizationPattern(text.to_owned());
        let (source, names) = translate(text).ok_or_else(invalid)?;
        let regex = Regex::new(&format!("(?i)^{source}[/#?]?$")).map_err(|_| invalid())?;
        Ok(Self { regex, names })
    }

    /// The named parts that are not empty; none if the path is another one.
    fn captures(&self, path: &str) -> Option<Vec<(String, String)>> {
        let found = self.regex.captures(path)?;
        let value = |(index, name): (usize, &String)| Some((name.clone(), found.get(index + 1)?.as_str().to_owned()));
        Some(self.names.iter().enumerate().filter_map(value).filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// One segment of a path.
const SEGMENT: &str = "[^/#?]+?";

/// A regular expression with one capture per name.
fn translate(text: &str) -> Option<(String, Vec<String>)> {
    let (mut source, mut names) = (String::new(), Vec::new());
    let mut rest = text;
    let mut prefix = "";
    while let Some(next) = rest.chars().next() {
        let (name, group, after) = match next {
            ':' => {
                let name = identifier(&rest[1..]);
                let after = &rest[1 + name.len()..];
                let (group, after) = if after.starts_with('(') { group(after)? } else { (SEGMENT, after) };
                (Some(name).filter(|name| !name.is_empty())?.to_owned(), group, after)
            }
            '(' => {
                let (group, after) = group(rest)?;
                (names.len().to_string(), group, after)
            }
            '{' | '}' | '?' | '*' | '+' | ')' => return None,
            _ => {
                source.push_str(prefix);
                (prefix, rest) = literal(rest, &mut source)?;
                continue;
            }
        };
        let modifier = after.chars().next().filter(|c| matches!(c, '?' | '*' | '+'));
        let piece = match modifier {
            None => format!("{prefix}({group})"),
            Some('?') => format!("(?:{prefix}({group}))?"),
            Some(many) => {
                let optional = if many == '*' { "?" } else { "" };
                format!("(?:{prefix}((?:{group})(?:{prefix}(?:{group}))*)){optional}")
            }
        };
        source += &piece;
        names.push(name);
        prefix = "";
        rest = &after[modifier.map_or(0, char::len_utf8)..];
    }
    source.push_str(prefix);
    Some((source, names))
}

/// Takes one character. A slash or a dot waits: it belongs to a name that follows.
fn literal<'t>(rest: &'t str, source: &mut String) -> Option<(&'static str, &'t str)> {
    let mut characters = rest.chars();
    match characters.next()? {
        '/' => return Some(("/", characters.as_str())),
        '.' => return Some(("\\.", characters.as_str())),
        '\\' => source.push_str(&regex_lite::escape(characters.next()?.encode_utf8(&mut [0; 4]))),
        plain => source.push_str(&regex_lite::escape(plain.encode_utf8(&mut [0; 4]))),
    }
    Some(("", characters.as_str()))
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// What stands between parentheses, which may hold others as long as they capture nothing.
fn group(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' if depth > 0 && !text[at + 1..].starts_with('?') => return None,
            '(' => depth += 1,
            ')' if depth == 1 => {
                let inner = &text[1..at];
                return (!inner.is_empty() && !inner.starts_with('?')).then_some((inner, &text[at + 1..]));
            }
            ')' => depth -= 1,
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher() -> OrganizationMatcher {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        OrganizationMatcher::read(&OrganizationSyncOptions {
            organization_patterns: own(&["/orgs/:slug", "/orgs/:slug/(.*)", "/by-id/:id(org_\\w+)", "/both/:slug/:id"]),
            personal_account_patterns: own(&["/me", "/me/(.*)", "/orgs/(.*)"]),
        })
        .unwrap()
    }

    #[test]
    fn a_path_names_an_organization_or_the_personal_account() {
        let (id, slug) = (|text: &str| Some(Target::Id(text.into())), |text: &str| Some(Target::Slug(text.into())));
        for (path, target) in [
            ("/orgs/one", slug("one")),
            ("/orgs/one/", slug("one")),
            ("/ORGS/One/a/b", slug("One")),
            ("/orgs/a%20b", slug("a%20b")),
            ("/by-id/org_1", id("org_1")),
            ("/by-id/one", None),
            ("/both/one/org_1", id("org_1")),
            ("/me", Some(Target::PersonalAccount)),
            ("/me/x", Some(Target::PersonalAccount)),
            ("/orgs/", Some(Target::PersonalAccount)),
            ("/mex", None),
            ("/x/me", None),
            ("/", None),
        ] {
            assert_eq!(matcher().target(path), target, "{path}");
        }
    }

    #[test]
    fn modifiers_repeat_a_name_with_its_slash() {
        let target = |pattern: &str, path: &str| Pattern::read(pattern).unwrap().captures(path);
        assert_eq!(target("/a/:b?", "/a"), Some(vec![]));
        assert_eq!(target("/a/:b?", "/a/x"), Some(vec![("b".into(), "x".into())]));
        assert_eq!(target("/a/:b+", "/a/x/y"), Some(vec![("b".into(), "x/y".into())]));
        assert_eq!(target("/a/:b+", "/a"), None);
        assert_eq!(target("/a/:b*", "/a"), Some(vec![]));
        assert_eq!(target("/a.:b", "/a.x"), Some(vec![("b".into(), "x".into())]));
        assert_eq!(target("/a\\:b", "/a:b"), Some(vec![]));
    }

    #[test]
    fn patterns_that_mean_nothing_stop_the_start() {
        for text in ["/a/:slug(", "/a/(", "/a/()", "/a/:", "/a/(?:x)", "/a/((x))", "/{a}", "/a?", "/a/*", "\\"] {
            assert!(Pattern::read(text).is_err(), "{text}");
        }
    }
}
