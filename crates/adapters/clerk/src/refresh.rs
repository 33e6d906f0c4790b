//! Exchanging what a browser has for fresh cookies at the Backend API (`clerk.md` §3.9 step 1, §3.11).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use percent_encoding::percent_decode_str;
use portal_identity::{ProviderSessionId, Refresh, RefreshFailure};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use url::{Url, form_urlencoded};

use crate::StrictChoices;
use crate::authenticate::ClerkAuthenticator;
use crate::cache::TokenDigest;
use crate::context::Context;
use crate::handshake::Cookies;
use crate::http::{Answer, BackendApi, CallError, Content, NO_CONTENT};
use crate::loose::{is_truthy, to_text};
use crate::token::DecodedToken;

/// Bytes of an answer that holds a handful of cookies.
const LARGEST_ANSWER: usize = 64 * 1_024;
/// Longest error code of the provider that becomes part of a reason.
const LONGEST_CODE: usize = 64;
/// How many layers of escapes are looked through.
const MOST_DECODES: u32 = 10;
/// What the provider is told about the browser. Cookies and credentials stay here.
const FORWARDED: [&str; 5] = ["accept", "host", "origin", "referer", "sec-fetch-dest"];

type Outcome = Arc<Result<Cookies, Refresh>>;

/// Exchanges that are under way: a browser opens several requests at once, and a refresh token is good for one.
#[derive(Default)]
pub(crate) struct Refreshes(Mutex<HashMap<TokenDigest, Weak<OnceCell<Outcome>>>>);

impl Refreshes {
    /// The exchange of this pair of tokens, shared by all who want it now.
    fn join(&self, expired: &str, refresh_token: &str) -> Arc<OnceCell<Outcome>> {
        let key = TokenDigest::of(&[expired, refresh_token].join("\n"));
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, cell| cell.strong_count() > 0);
        if let Some(cell) = running.get(&key).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(OnceCell::new());
        running.insert(key, Arc::downgrade(&cell));
        cell
    }
}

impl ClerkAuthenticator {
    /// Fresh cookies for an expired token. `is_signed`: it verifies but for its age.
    pub(crate) async fn refresh(
        &self,
        context: &Context<'_>,
        expired: &str,
        is_signed: bool,
        refresh_token: &str,
    ) -> Result<Cookies, Refresh> {
        let api = self.api().ok_or(Refresh::Failed(RefreshFailure::MissingApiClient))?;
        let decoded = DecodedToken::read(expired, self.settings().choices())
            .map_err(|_| Refresh::Failed(RefreshFailure::ExpiredSessionTokenDecodeFailed))?;
        let choices = self.settings().choices();
        let session_id = session_segment(decoded.claims.get("sid"), is_signed, choices).map_err(Refresh::Failed)?;
        let url = refresh_url(api, &session_id, context.suffixed);
        let url = url.ok_or(Refresh::Failed(RefreshFailure::FetchError))?;
        let headers: Map<String, Value> = FORWARDED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), json!([context.request.value(name)?]))))
            .collect();
        let body = json!({
            "format": "cookie",
            "expired_token": expired,
            "refresh_token": refresh_token,
            "request_origin": context.origin(),
            "request_headers": headers,
        });
        let choices = *choices;
        let exchange = self.refreshes().join(expired, refresh_token);
        let (running, asking) = (Arc::clone(&exchange), api.clone());
        // To its end, even if the request that began it goes away: the others wait for this very answer.
        api.run(async move {
            running.get_or_init(|| async { Arc::new(exchange_once(&asking, url, &body, &choices).await) }).await;
        })
        .await;
        match exchange.get().map(|outcome| &**outcome) {
            Some(Ok(cookies)) => Ok(cookies.clone()),
            Some(Err(why)) => Err(why.clone()),
            None => Err(Refresh::Failed(RefreshFailure::FetchError)),
        }
    }

    /// The cookies behind a nonce.
    pub(crate) async fn handshake_payload(&self, nonce: &str) -> Payload {
        let Some(api) = self.api() else { return Payload::Directives(Vec::new()) };
        let nonce: String = form_urlencoded::byte_serialize(nonce.as_bytes()).collect();
        let path = format!("/clients/handshake_payload?nonce={nonce}");
        let tries = if self.settings().choices().retry_handshake_payload { 2 } else { 1 };
        let asking = api.clone();
        let answer = api.run(async move { ask(&asking, &path, tries).await }).await.flatten();
        let Some(answer) = answer else {
            tracing::error!("the result of a handshake could not be fetched: the Backend API does not answer");
            return Payload::Outage;
        };
        match answer.content(!self.settings().choices().judge_answers_by_content) {
            Content::Json(body) if answer.is_success() && body.get("directives").is_some_and(Value::is_array) => {
                strings(&body, "directives").map_or(Payload::Unusable, Payload::Directives)
            }
            Content::Json(body) if answer.is_success() && body.get("directives").is_some_and(Value::is_string) => {
                tracing::warn!(
                    "the result of a handshake is a text, of which Clerk's SDK takes each letter for a cookie"
                );
                let letters = body["directives"].as_str().into_iter().flat_map(str::chars);
                Payload::Directives(letters.map(String::from).collect())
            }
            _ => {
                tracing::warn!(http.status = answer.status, "the Backend API gives no result for a handshake");
                Payload::Directives(Vec::new())
            }
        }
    }
}

/// What a handshake brought.
pub(crate) enum Payload {
    /// These cookies, or none.
    Directives(Vec<String>),
    /// Something else, which counts for nothing.
    Unusable,
    /// Nobody answered.
    Outage,
}

/// None if no try brought an answer that says anything.
async fn ask(api: &BackendApi, path: &str, tries: u32) -> Option<Answer> {
    for _ in 0..tries {
        match api.get(path, LARGEST_ANSWER).await {
            Ok(answer) if answer.status < 500 && answer.status != 429 => return Some(answer),
            Ok(_) | Err(_) => (),
        }
    }
    None
}

async fn exchange_once(api: &BackendApi, url: Url, body: &Value, choices: &StrictChoices) -> Result<Cookies, Refresh> {
    let failed = |why| Err(Refresh::Failed(why));
    let answer = match api.post(url, body, LARGEST_ANSWER).await {
        Ok(answer) => answer,
        Err(CallError::Network(_) | CallError::TimedOut) => return failed(RefreshFailure::FetchError),
        Err(CallError::TooLarge) => return failed(RefreshFailure::UnexpectedBapiError),
    };
    let by_type = !choices.judge_answers_by_content;
    let is_empty = if by_type { answer.status == NO_CONTENT } else { answer.body.is_empty() };
    match answer.content(by_type) {
        Content::Json(_) if !answer.is_success() => match answer.error_code() {
            Some(code) if code.is_empty() => failed(RefreshFailure::UnexpectedSdkError),
            Some(code) if code == "unexpected_error" => failed(RefreshFailure::FetchError),
            Some(code) if is_code(&code, choices) => Err(Refresh::Refused(code.into())),
            _ => failed(RefreshFailure::UnexpectedBapiError),
        },
        Content::Broken if !answer.is_success() && by_type => failed(RefreshFailure::FetchError),
        _ if !answer.is_success() || is_empty => failed(RefreshFailure::UnexpectedBapiError),
        Content::Broken => failed(RefreshFailure::FetchError),
        Content::Text => failed(RefreshFailure::UnexpectedSdkError),
        Content::Json(body) => {
            match strings(&body, "cookies").map(|cookies| Cookies::take(cookies, choices.own_cookies_only)) {
                Some(Some(cookies)) if !cookies.directives.is_empty() => Ok(cookies),
                _ => failed(RefreshFailure::UnexpectedSdkError),
            }
        }
    }
}

/// It becomes part of a reason, and so of log lines.
fn is_code(code: &str, choices: &StrictChoices) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !choices.plain_error_codes || (code.len() <= LONGEST_CODE && code.chars().all(is_plain))
}

/// The session of an expired token as it stands in a path. What nobody signed stays a segment whatever it says: whoever may write a
/// cookie could otherwise have any call made in the name of this service.
fn session_segment(sid: Option<&Value>, is_signed: bool, choices: &StrictChoices) -> Result<String, RefreshFailure> {
    let missing = RefreshFailure::ExpiredSessionTokenMissingSidClaim;
    if choices.require_session_id_in_path {
        let id = sid.and_then(Value::as_str).and_then(|sid| ProviderSessionId::parse(sid).ok());
        return id.map(|id| id.to_string()).ok_or(missing);
    }
    let text = sid.filter(|sid| is_truthy(sid)).map(to_text).ok_or(missing)?;
    if has_dot_segment(&text) {
        return Err(RefreshFailure::UnexpectedBapiError);
    }
    let leaves = |c: char| matches!(c, '/' | '\\' | '?' | '#' | '%') || c.is_control();
    if !is_signed && text.contains(leaves) { Err(missing) } else { Ok(text.into_owned()) }
}

/// Where fresh cookies are asked for, as browsers read such a text: a question mark in the id begins the query, and a number sign ends
/// the address.
fn refresh_url(api: &BackendApi, session_id: &str, suffixed: bool) -> Option<Url> {
    let mut path = String::new();
    for c in format!("/sessions/{session_id}/refresh").chars() {
        // Several slashes are one, except that a colon keeps the first to itself.
        let repeats = c == '/' && path.ends_with('/') && !path.ends_with(":/");
        path.extend((!repeats).then_some(c));
    }
    let mut url = Url::parse(&api.address_of(&path)).ok()?;
    url.set_fragment(None);
    if suffixed {
        let kept: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.query_pairs_mut().clear().extend_pairs(kept).append_pair("suffixed_cookies", "true");
    }
    Some(url)
}

/// As it is or behind escapes, however often these are escaped themselves.
fn has_dot_segment(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..=MOST_DECODES {
        if text.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
            return true;
        }
        match percent_decode_str(&text).decode_utf8() {
            Ok(decoded) if decoded != text => text = decoded.into_owned(),
            _ => return false,
        }
    }
    true
}

/// A list of nothing but texts.
fn strings(body: &Value, name: &str) -> Option<Vec<String>> {
    body.get(name)?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClerkOptions, SecretString};

    #[test]
    fn what_stands_in_sid_stays_in_its_segment() {
        let (missing, dots) =
            (Err(RefreshFailure::ExpiredSessionTokenMissingSidClaim), Err(RefreshFailure::UnexpectedBapiError));
        let exact = |sid: Value| session_segment(Some(&sid), false, &StrictChoices::exact());
        for text in ["sess_1", "user_1", "a b", "\u{e9}", "..."] {
            assert_eq!(exact(json!(text)), Ok(text.to_owned()));
        }
        assert_eq!(exact(json!(5)), Ok("5".to_owned()));
        assert_eq!(exact(json!(true)), Ok("true".to_owned()));
        for text in [".", "..", "a/../b", "a\\..", "%2e%2E", "%252e", "..%2fx", "x%255c.."] {
            assert_eq!(exact(json!(text)), dots, "{text}");
        }
        let twelve_layers = format!("%{}2e", "25".repeat(11));
        assert_eq!(exact(json!(twelve_layers)), dots);
        for text in ["", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a%", "a\tb", "a\nb"] {
            assert_eq!(exact(json!(text)), missing, "{text}");
        }
        assert_eq!(exact(json!(["sess_1"])), Ok("sess_1".to_owned()));
        for odd in [json!(0), json!(null), json!(["a/b"])] {
            assert_eq!(exact(odd), missing);
        }
        let signed = |sid: &str| session_segment(Some(&json!(sid)), true, &StrictChoices::exact());
        for text in ["a/b", "a\\b", "a?b", "a#b", "a%2fb", "a%", "a\nb"] {
            assert_eq!(signed(text), Ok(text.to_owned()));
        }
        for text in ["a/../b", "a?/../b", "%252e"] {
            assert_eq!(signed(text), dots, "{text}");
        }
        let strict = |sid: Value| session_segment(Some(&sid), true, &StrictChoices::strict());
        assert_eq!(strict(json!("sess_1")), Ok("sess_1".to_owned()));
        for odd in [json!("user_1"), json!("a b"), json!("sess_1?x"), json!(".."), json!(5)] {
            assert_eq!(strict(odd), missing);
        }
    }

    /// What Node says of the same texts.
    #[test]
    fn an_address_reads_as_in_a_browser() {
        let mut options = ClerkOptions::new("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_test_x"));
        let api = BackendApi::new(&options.validate().unwrap()).unwrap();
        for (id, plain, suffixed) in [
            ("sess_1", "sess_1/refresh", "sess_1/refresh?suffixed_cookies=true"),
            ("a b\u{e9}", "a%20b%C3%A9/refresh", "a%20b%C3%A9/refresh?suffixed_cookies=true"),
            ("a//b/", "a/b/refresh", "a/b/refresh?suffixed_cookies=true"),
            ("a:///b", "a://b/refresh", "a://b/refresh?suffixed_cookies=true"),
            ("a\\b\n", "a/b/refresh", "a/b/refresh?suffixed_cookies=true"),
            ("a%2Fb", "a%2Fb/refresh", "a%2Fb/refresh?suffixed_cookies=true"),
            ("sess_1#", "sess_1", "sess_1?suffixed_cookies=true"),
            ("sess_1?x=1", "sess_1?x=1/refresh", "sess_1?x=1%2Frefresh&suffixed_cookies=true"),
        ] {
            for (is_suffixed, expected) in [(false, plain), (true, suffixed)] {
                let url = refresh_url(&api, id, is_suffixed).unwrap();
                assert_eq!(url.as_str(), format!("https://api.clerk.com/v1/sessions/{expected}"), "{id:?}");
            }
        }
    }

    #[test]
    fn an_exchange_that_is_over_leaves_nothing_behind() {
        let refreshes = Refreshes::default();
        let first = refreshes.join("a", "b");
        assert!(Arc::ptr_eq(&first, &refreshes.join("a", "b")));
        let other = refreshes.join("a", "c");
        assert!(!Arc::ptr_eq(&first, &other));
        drop(first);
        let _third = refreshes.join("b", "b");
        assert_eq!(refreshes.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn error_codes_are_plain_words_is_a_strict_choice() {
        for (code, in_exact, in_strict) in [
            ("session_not_found", true, true),
            ("a b&c=\u{fc}", true, false),
            ("a\r\nb", true, false),
            ("a\u{85}b", true, false),
            (&"a".repeat(LONGEST_CODE + 1), true, false),
        ] {
            assert_eq!(is_code(code, &StrictChoices::exact()), in_exact, "{code:?}");
            assert_eq!(is_code(code, &StrictChoices::strict()), in_strict, "{code:?}");
        }
    }
}
