//! Sending a browser to the Frontend API and taking what it brings back (`clerk.md` §3.8, §3.9).

use portal_identity::{AuthReason, StateHeaders};
use url::Url;

use crate::context::{Context, DEV_BROWSER, HANDSHAKE, HANDSHAKE_NONCE};
use crate::loose::number_text;

/// An older name of [`DEV_BROWSER`].
const LEGACY_DEV_BROWSER: &str = "__dev_session";
const HANDSHAKE_HELP: &str = "__clerk_help";

/// The headers of a redirect to a URL of the caller's choice.
pub(crate) fn redirect_to(location: &Url) -> StateHeaders {
    vec![("location".to_owned(), location.as_str().to_owned()), ("cache-control".to_owned(), "no-store".to_owned())]
}

/// The headers that send the browser to the Frontend API; none if its address cannot be built. `header_token` is the token in
/// `Authorization`, if any.
pub(crate) fn redirect(context: &Context<'_>, reason: &AuthReason, header_token: Option<&str>) -> Option<StateHeaders> {
    let settings = context.settings;
    let base = settings.deployment().frontend_api(&context.origin());
    let mut url = Url::parse(&format!("{base}/v1/client/handshake")).ok()?;
    let back = context.url_without(&[DEV_BROWSER, LEGACY_DEV_BROWSER]);
    url.query_pairs_mut()
        .append_pair("redirect_url", back.as_str())
        .append_pair("__clerk_api_version", settings.api_version())
        .append_pair("suffixed_cookies", if context.suffixed { "true" } else { "false" })
        .append_pair("__clerk_hs_reason", &reason.as_str())
        .append_pair("format", "nonce");
    if let Some(token) = context.session.as_deref().or(header_token) {
        url.query_pairs_mut().append_pair("__session", token);
    }
    if let Some(dev_browser) = context.dev_browser.as_deref().filter(|_| !settings.is_production()) {
        url.query_pairs_mut().append_pair(DEV_BROWSER, dev_browser);
    }
    if let Some(target) = settings.organizations().target(context.url.path()) {
        url.query_pairs_mut().append_pair("organization_id", target.as_parameter());
    }
    Some(redirect_to(&url))
}

/// Counts this redirect in the browser.
pub(crate) fn count_redirect(context: &Context<'_>, headers: &mut StateHeaders) {
    let next = number_text(context.redirects.count + 1.0);
    let cookie = format!("__clerk_redirect_count={next}; SameSite=Lax; HttpOnly; Max-Age=2");
    headers.push(("set-cookie".to_owned(), cookie));
}

/// The headers of a resolved handshake, and the session token among its cookies.
pub(crate) struct Resolved {
    pub(crate) headers: StateHeaders,
    pub(crate) session: Option<String>,
}

/// Takes the cookies over; none if that is not possible. A browser at a development instance is sent on to the same URL without the
/// parameters that brought them.
pub(crate) fn resolve(context: &Context<'_>, directives: Vec<String>) -> Option<Resolved> {
    let mut headers = vec![
        ("access-control-allow-origin".to_owned(), "null".to_owned()),
        ("access-control-allow-credentials".to_owned(), "true".to_owned()),
    ];
    let Cookies { directives, session } = Cookies::take(directives, context.settings.choices().own_cookies_only)?;
    headers.extend(directives.into_iter().map(|directive| ("set-cookie".to_owned(), directive)));
    if !context.settings.is_production() {
        headers.extend(redirect_to(&context.url_without(&[HANDSHAKE, HANDSHAKE_HELP, DEV_BROWSER, HANDSHAKE_NONCE])));
    }
    Some(Resolved { headers, session })
}

/// `Set-Cookie` lines from the provider.
#[derive(Clone)]
pub(crate) struct Cookies {
    pub(crate) directives: Vec<String>,
    /// Of the last one that names a session; an empty one signs out.
    pub(crate) session: Option<String>,
}

impl Cookies {
    /// None if one of the lines would break the response. With `own_only` such lines are dropped, and those of cookies that are not
    /// Clerk's.
    pub(crate) fn take(directives: Vec<String>, own_only: bool) -> Option<Self> {
        let (mut kept, mut session) = (Vec::new(), None);
        for directive in directives {
            let pair = directive.split(';').next().unwrap_or_default();
            let mut parts = pair.split('=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next());
            let line = directive.trim_matches([' ', '\t', '\r', '\n']);
            let sendable = line.chars().all(|c| is_sendable(c, own_only));
            let names_session = name.starts_with("__session");
            if !own_only && (!sendable || (names_session && value.is_none())) {
                return None;
            }
            if !sendable || (own_only && !is_clerks(name)) {
                tracing::warn!("the provider set a cookie that is not taken over");
                continue;
            }
            if names_session {
                session = value.map(str::to_owned);
            }
            kept.push(line.to_owned());
        }
        Some(Self { directives: kept, session: session.filter(|session| !session.is_empty()) })
    }
}

/// A byte of a header; with `ascii_only` of those that mean the same everywhere.
fn is_sendable(c: char, ascii_only: bool) -> bool {
    matches!(c, '\t' | ' '..='~') || (!ascii_only && matches!(c, '\u{80}'..='\u{ff}'))
}

fn is_clerks(name: &str) -> bool {
    ["__session", "__client_uat", "__refresh", "__clerk_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(directives: &[&str], own_only: bool) -> (Vec<String>, Option<String>) {
        let cookies = Cookies::take(directives.iter().map(|text| (*text).to_owned()).collect(), own_only).unwrap();
        (cookies.directives, cookies.session)
    }

    #[test]
    fn the_last_session_cookie_counts_and_a_deletion_signs_out() {
        let session = |directives: &[&str]| take(directives, true).1;
        assert_eq!(session(&["__session=a.b.c; Path=/", "__session_abc=d.e.f; Path=/"]).as_deref(), Some("d.e.f"));
        assert_eq!(session(&["__session=a.b.c; Path=/", "__session=; Max-Age=0"]), None);
        assert_eq!(session(&["__client_uat=1"]), None);
    }

    #[test]
    fn numbers_are_written_as_in_javascript() {
        for (value, text) in [
            (3.0, "3"),
            (-0.5, "-0.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(number_text(value), text);
        }
    }

    #[test]
    fn foreign_and_broken_cookies_are_dropped() {
        let lines = ["__session=a; Path=/\n", "other=1", "__client_uat=1"];
        assert_eq!(take(&lines, true).0, ["__session=a; Path=/", "__client_uat=1"]);
        assert_eq!(take(&lines, false).0, ["__session=a; Path=/", "other=1", "__client_uat=1"]);
        let broken = || vec!["__session=a".to_owned(), "__clerk_x=1\r\nX-Evil: 1".to_owned()];
        assert_eq!(Cookies::take(broken(), true).unwrap().directives, ["__session=a"]);
        assert!(Cookies::take(broken(), false).is_none());
    }

    #[test]
    fn letters_of_latin_1_are_bytes_and_others_are_none() {
        let line = |text: &str| vec![format!("__clerk_x={text}")];
        assert_eq!(Cookies::take(line("\u{fc}"), false).unwrap().directives, ["__clerk_x=\u{fc}"]);
        assert!(Cookies::take(line("\u{20ac}"), false).is_none());
        assert_eq!(take(&["__clerk_x=\u{fc}"], true).0, [""; 0]);
    }
}
