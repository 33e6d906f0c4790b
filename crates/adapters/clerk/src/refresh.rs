//! Exchanging what a browser has for fresh cookies at the Backend API (`clerk.md` §3.9 step 1, §3.11).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portal_identity::{ProviderSessionId, Refresh, RefreshFailure};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use url::form_urlencoded;

use crate::authenticate::ClerkAuthenticator;
use crate::cache::TokenDigest;
use crate::context::Context;
use crate::handshake::Cookies;
use crate::http::{Answer, BackendApi, CallError};
use crate::token::DecodedToken;

/// Bytes of an answer that holds a handful of cookies.
const LARGEST_ANSWER: usize = 64 * 1_024;
/// Longest error code of the provider that becomes part of a reason.
const LONGEST_CODE: usize = 64;
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
    /// Fresh cookies for an expired token.
    pub(crate) async fn refresh(
        &self,
        context: &Context<'_>,
        expired: &str,
        refresh_token: &str,
    ) -> Result<Cookies, Refresh> {
        let api = self.api().ok_or(Refresh::Failed(RefreshFailure::MissingApiClient))?;
        let decoded = DecodedToken::read(expired, self.settings().choices())
            .map_err(|_| Refresh::Failed(RefreshFailure::ExpiredSessionTokenDecodeFailed))?;
        let session_id = decoded.claims.get("sid").and_then(Value::as_str);
        let session_id = session_id
            .and_then(|sid| ProviderSessionId::parse(sid).ok())
            .ok_or(Refresh::Failed(RefreshFailure::ExpiredSessionTokenMissingSidClaim))?;
        let query = if context.suffixed { "?suffixed_cookies=true" } else { "" };
        let path = format!("/sessions/{session_id}/refresh{query}");
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
        let own_only = self.settings().choices().own_cookies_only;
        let exchange = self.refreshes().join(expired, refresh_token);
        let (running, asking) = (Arc::clone(&exchange), api.clone());
        // To its end, even if the request that began it goes away: the others wait for this very answer.
        api.run(async move {
            running.get_or_init(|| async { Arc::new(exchange_once(&asking, &path, &body, own_only).await) }).await;
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
        let body = Some(&answer).filter(|answer| answer.is_success());
        let body = body.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        let Some(body) = body.filter(|body| body.get("directives").is_some_and(Value::is_array)) else {
            tracing::warn!(http.status = answer.status, "the Backend API gives no result for a handshake");
            return Payload::Directives(Vec::new());
        };
        strings(&body, "directives").map_or(Payload::Unusable, Payload::Directives)
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

async fn exchange_once(api: &BackendApi, path: &str, body: &Value, own_only: bool) -> Result<Cookies, Refresh> {
    let failed = |why| Err(Refresh::Failed(why));
    match api.post(path, body, LARGEST_ANSWER).await {
        Err(CallError::Network(_) | CallError::TimedOut) => failed(RefreshFailure::FetchError),
        Err(CallError::TooLarge) => failed(RefreshFailure::UnexpectedBapiError),
        Ok(answer) if !answer.is_success() => match answer.error_code() {
            Some(code) if code.is_empty() => failed(RefreshFailure::UnexpectedSdkError),
            Some(code) if code == "unexpected_error" => failed(RefreshFailure::FetchError),
            Some(code) if is_code(&code) => Err(Refresh::Refused(code.into())),
            _ => failed(RefreshFailure::UnexpectedBapiError),
        },
        Ok(answer) if answer.body.is_empty() => failed(RefreshFailure::UnexpectedBapiError),
        Ok(answer) => match serde_json::from_slice::<Value>(&answer.body) {
            Err(_) => failed(RefreshFailure::FetchError),
            Ok(body) => match strings(&body, "cookies").map(|cookies| Cookies::take(cookies, own_only)) {
                Some(Some(cookies)) if !cookies.directives.is_empty() => Ok(cookies),
                _ => failed(RefreshFailure::UnexpectedSdkError),
            },
        },
    }
}

/// It becomes part of a header and of log lines.
fn is_code(code: &str) -> bool {
    code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A list of nothing but texts.
fn strings(body: &Value, name: &str) -> Option<Vec<String>> {
    body.get(name)?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
