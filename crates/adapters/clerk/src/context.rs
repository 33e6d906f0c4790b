//! What one request says, taken apart once (`clerk.md` §3.1 to §3.3).

use std::borrow::Cow;

use portal_identity::{AuthenticateRequestOptions, RequestParts};
use serde_json::Value;
use url::Url;

use crate::cookies::Cookies;
use crate::json::Members;
use crate::loose::{is_truthy, number, to_number};
use crate::token::DecodedToken;
use crate::{ClerkSettings, StrictChoices};

const SESSION: &str = "__session";
const CLIENT_UAT: &str = "__client_uat";
const REFRESH: &str = "__refresh";
const REDIRECT_COUNT: &str = "__clerk_redirect_count";
/// The browser token of a development instance, in a cookie or in the query string.
pub(crate) const DEV_BROWSER: &str = "__clerk_db_jwt";
pub(crate) const HANDSHAKE: &str = "__clerk_handshake";
pub(crate) const HANDSHAKE_NONCE: &str = "__clerk_handshake_nonce";
/// How often a browser may be sent through a handshake in a row.
pub(crate) const MOST_REDIRECTS: f64 = 3.0;

/// One request, with the cookies that count for this instance.
pub(crate) struct Context<'r> {
    pub(crate) settings: &'r ClerkSettings,
    pub(crate) request: &'r RequestParts<'r>,
    /// As the browser sees it.
    pub(crate) url: Url,
    /// Whether the names of the cookies carry the suffix of this instance.
    pub(crate) suffixed: bool,
    pub(crate) session: Option<Cow<'r, str>>,
    /// Second of the last sign-in or sign-out of this browser; 0 for signed out.
    pub(crate) client_uat: f64,
    pub(crate) refresh: Option<Cow<'r, str>>,
    pub(crate) dev_browser: Option<Cow<'r, str>>,
    pub(crate) handshake: Option<HandshakeResult<'r>>,
    pub(crate) redirects: Redirects,
    handshakes: bool,
}

/// What the Frontend API gave the browser to bring along.
pub(crate) enum HandshakeResult<'r> {
    /// To be exchanged at the Backend API, once.
    Nonce(Cow<'r, str>),
    /// A signed list of cookies.
    Token(Cow<'r, str>),
}

/// How often this browser was just sent through a handshake.
#[derive(Clone, Copy)]
pub(crate) struct Redirects {
    pub(crate) count: f64,
    /// No further one.
    pub(crate) exhausted: bool,
}

impl<'r> Context<'r> {
    /// None if the URL cannot be read.
    pub(crate) fn read(
        request: &'r RequestParts<'r>,
        settings: &'r ClerkSettings,
        options: &AuthenticateRequestOptions,
        now_ms: i64,
    ) -> Option<Self> {
        let url = Url::parse(request.url()).ok().filter(|url| url.host().is_some())?;
        let cookies = Cookies::read(request.all("cookie"));
        let suffix = settings.publishable_key().cookie_suffix();
        let suffixed = uses_suffixed(&cookies, settings, now_ms);
        let get = |name| if suffixed { cookies.get_suffixed(name, suffix) } else { cookies.get(name) };
        let handshake_in_query = !(settings.is_production() && settings.choices().no_handshake_in_query);
        let query = |name: &str| query(&url, name).map(Cow::Owned);
        let brought = |name| query(name).filter(|_| handshake_in_query).or_else(|| cookies.get(name));
        let handshake = match brought(HANDSHAKE_NONCE) {
            _ if !options.handshakes => None,
            Some(nonce) => Some(HandshakeResult::Nonce(nonce)),
            None => brought(HANDSHAKE).map(HandshakeResult::Token),
        };
        Some(Self {
            suffixed,
            session: get(SESSION),
            client_uat: get(CLIENT_UAT).map_or(0.0, |text| leading_integer(&text)),
            refresh: cookies.get_suffixed(REFRESH, suffix),
            dev_browser: query(DEV_BROWSER).or_else(|| get(DEV_BROWSER)),
            handshake,
            redirects: Redirects::read(cookies.get(REDIRECT_COUNT).as_deref(), settings.choices().count_redirects),
            handshakes: options.handshakes,
            settings,
            request,
            url,
        })
    }

    /// `scheme://host[:port]` of the public URL.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(crate) fn is_get(&self) -> bool {
        self.request.method() == "GET"
    }

    /// Whether the browser itself asks for a page, as opposed to a frame, a script or an image.
    pub(crate) fn is_document(&self) -> bool {
        self.is_get() && self.destination().as_deref() == Some("document")
    }

    /// Whether the browser can be sent away and come back without losing anything (`clerk.md` §3.5).
    pub(crate) fn can_handshake(&self) -> bool {
        let accepts_html = || self.request.value("accept").is_some_and(|accept| accept.starts_with("text/html"));
        self.handshakes
            && self.is_get()
            && match self.destination() {
                Some(destination) => matches!(destination.as_ref(), "document" | "iframe"),
                None => accepts_html(),
            }
    }

    fn destination(&self) -> Option<Cow<'_, str>> {
        self.request.value("sec-fetch-dest")
    }

    /// The first parameter by this name; an empty one is as good as none.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        query(&self.url, name)
    }

    /// The public URL without these parameters.
    pub(crate) fn url_without(&self, names: &[&str]) -> Url {
        let mut url = self.url.clone();
        let kept = self.url.query_pairs().filter(|(name, _)| !names.contains(&name.as_ref()));
        let kept = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
        url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
        url
    }
}

impl Redirects {
    fn read(text: Option<&str>, strict: bool) -> Self {
        let Some(text) = text else { return Self { count: 0.0, exhausted: false } };
        let count = number(text.trim());
        let exhausted = match count {
            Some(count) if strict => !(0.0..MOST_REDIRECTS).contains(&count),
            Some(count) => count.total_cmp(&MOST_REDIRECTS).is_eq(),
            None => strict,
        };
        Self { count: if exhausted { MOST_REDIRECTS } else { count.unwrap_or_default() }, exhausted }
    }
}

fn query(url: &Url, name: &str) -> Option<String> {
    let (_, value) = url.query_pairs().find(|(known, _)| known == name)?;
    Some(value.into_owned()).filter(|value| !value.is_empty())
}

/// 0 where the text does not begin with a number.
fn leading_integer(text: &str) -> f64 {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    let digits = digits.chars().map_while(|c| c.to_digit(radix));
    sign * digits.fold(0.0, |number, digit| number * f64::from(radix) + f64::from(digit))
}

/// One decision for all cookies, by the first rule that applies (`clerk.md` §3.3). Nothing read here is verified: which cookies
/// count is no secret and no right.
fn uses_suffixed(cookies: &Cookies<'_>, settings: &ClerkSettings, now_ms: i64) -> bool {
    let suffix = settings.publishable_key().cookie_suffix();
    let claims = |token: &str| DecodedToken::read(token, settings.choices()).ok().map(|token| token.claims);
    let plain = cookies.get(SESSION);
    let plain_claims = plain.as_deref().and_then(claims);
    if plain.is_some() {
        match plain_claims.as_ref().and_then(|claims| claims.get("iss")).filter(|iss| is_truthy(iss)) {
            None => return false,
            Some(iss) if !is_ours(iss, settings) => return true,
            Some(_) => (),
        }
    }
    let (own, own_uat) = (cookies.get_suffixed(SESSION, suffix), cookies.get_suffixed(CLIENT_UAT, suffix));
    if own.is_none() && own_uat.is_none() {
        return false;
    }
    let plain_uat = cookies.get(CLIENT_UAT);
    let own_claims = own.as_deref().and_then(claims);
    let (own_is_out, plain_is_out) = (own_uat.as_deref() == Some("0"), plain_uat.as_deref() == Some("0"));
    if !own_is_out && !plain_is_out && is_later(plain_claims.as_ref(), own_claims.as_ref(), settings.choices()) {
        return false;
    }
    if own_is_out && !plain_is_out {
        return false;
    }
    if !settings.is_production()
        && !own_is_out
        && plain_is_out
        && is_expired(own_claims.as_ref(), now_ms, settings.choices())
    {
        return false;
    }
    own_uat.is_some() || own.is_none()
}

fn is_ours(iss: &Value, settings: &ClerkSettings) -> bool {
    let Some(iss) = iss.as_str() else { return false };
    let scheme = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ["https://", "http://"].iter().find(|scheme| lower.starts_with(**scheme)).map(|scheme| scheme.len())
    };
    let mut host = scheme(iss).map_or(iss, |length| &iss[length..]);
    while let Some(length) = scheme(host).filter(|_| !settings.choices().typed_cookie_claims) {
        host = &host[length..];
    }
    host == settings.deployment().original_host || settings.is_configured_issuer(iss)
}

/// Whether the first was issued after the second. Without a time it was issued at 0, and what is no number compares with nothing.
fn is_later(first: Option<&Members>, second: Option<&Members>, choices: &StrictChoices) -> bool {
    let issued_at = |claims: Option<&Members>| match claims.filter(|claims| claims.get("iat").is_some_and(is_truthy)) {
        None => Some(0.0),
        Some(claims) => seconds(claims, "iat", choices).or(choices.typed_cookie_claims.then_some(0.0)),
    };
    issued_at(first).zip(issued_at(second)).is_some_and(|(first, second)| first > second)
}

/// A time in claims that nobody has verified, to be compared with another; none if it is no number.
pub(crate) fn seconds(claims: &Members, name: &str, choices: &StrictChoices) -> Option<f64> {
    let value = claims.get(name)?;
    if choices.typed_cookie_claims { value.as_f64() } else { to_number(value) }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this era are exact in a double")]
fn is_expired(claims: Option<&Members>, now_ms: i64, choices: &StrictChoices) -> bool {
    let exp = claims.and_then(|claims| seconds(claims, "exp", choices));
    exp.is_some_and(|exp| exp <= now_ms.div_euclid(1_000) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_the_text_begins_with() {
        for (text, number) in [
            ("1767225600", 1_767_225_600.0),
            ("17s", 17.0),
            (" 5", 5.0),
            ("\u{a0}\n5", 5.0),
            ("\u{feff}5", 5.0),
            ("+5", 5.0),
            ("-5", -5.0),
            ("-+5", 0.0),
            ("0x1f", 31.0),
            ("0X1F", 31.0),
            ("-0x10", -16.0),
            ("0b1", 0.0),
            ("1e3", 1.0),
            ("x", 0.0),
            ("", 0.0),
        ] {
            assert!((leading_integer(text) - number).abs() < 0.5, "{text:?}");
        }
    }
}
