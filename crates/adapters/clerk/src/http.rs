//! Calls to Clerk's Backend API: bounded in time and size, never following a redirect.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portal_kernel::{BoxError, ExposeSecret, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, redirect, retry};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::runtime::Handle;
use url::Url;

use crate::ClerkSettings;

const USER_AGENT: &str = concat!("portal-clerk@", env!("CARGO_PKG_VERSION"));
/// Of a successful answer without a body.
pub(crate) const NO_CONTENT: u16 = 204;
const LONGEST_TRY: Duration = Duration::from_secs(2);

/// Bounds of calls to the Backend API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For one try from start to the last byte; 2 s at most.
    pub one_try: Duration,
    /// For all tries of one fetch and the pauses between them.
    pub total: Duration,
    /// Before the second try; doubles after each.
    pub first_pause: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            one_try: LONGEST_TRY,
            total: Duration::from_secs(3),
            first_pause: Duration::from_millis(100),
        }
    }
}

impl HttpTimeouts {
    pub(crate) fn are_usable(&self) -> bool {
        !self.connect.is_zero() && !self.one_try.is_zero() && self.one_try <= LONGEST_TRY && self.one_try <= self.total
    }
}

/// The HTTP client does not start, or the settings lack what it needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// TLS, mostly: no certificates of authorities on this machine.
    #[error("the HTTP client cannot start")]
    Client(#[source] BoxError),
    /// The Backend API cannot be called without it.
    #[error("clerk.secret_key is needed to call Clerk's Backend API")]
    NoSecretKey,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<Duration>,
    /// The content type is that of JSON and nothing else.
    pub(crate) declares_json: bool,
    pub(crate) body: Vec<u8>,
}

/// What an answer holds.
pub(crate) enum Content {
    Json(Value),
    /// Something that should be JSON.
    Broken,
    /// A text of which nothing is known.
    Text,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// With `by_type` only what the answer calls JSON is read as such.
    pub(crate) fn content(&self, by_type: bool) -> Content {
        if by_type && !self.declares_json {
            return Content::Text;
        }
        serde_json::from_slice(&self.body).map_or(Content::Broken, Content::Json)
    }

    /// Whether one of the errors in the body has this code.
    pub(crate) fn has_error(&self, code: &str) -> bool {
        self.errors().iter().any(|known| known == code)
    }

    /// The code of the first error in the body, empty where it has none; none without an error.
    pub(crate) fn error_code(&self) -> Option<String> {
        self.errors().into_iter().next()
    }

    /// The parameter that the first error in the body is about.
    pub(crate) fn error_parameter(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.pointer("/errors/0/meta/param_name").and_then(Value::as_str).map(str::to_owned)
    }

    fn errors(&self) -> Vec<String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let errors = body.get("errors").and_then(Value::as_array);
        let code = |error: &Value| error.get("code").and_then(Value::as_str).unwrap_or_default().to_owned();
        errors.into_iter().flatten().map(code).collect()
    }
}

/// No answer, or none that may be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection, or it broke")]
    Network(#[source] BoxError),
    #[error("no complete answer in time")]
    TimedOut,
    #[error("the answer is too large")]
    TooLarge,
}

/// The Backend API of one instance. Clones share connections.
#[derive(Clone)]
pub(crate) struct BackendApi(Arc<Inner>);

struct Inner {
    client: Client,
    root: String,
    base: String,
    timeouts: HttpTimeouts,
    runtime: Option<Handle>,
}

impl BackendApi {
    /// Calls run on the Tokio runtime on which this is called, if there is one: a runtime per server thread may stall,
    /// and would take shared connections with it.
    pub(crate) fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        let secret_key = settings.secret_key().ok_or(ClientError::NoSecretKey)?;
        Self::with_key(settings, secret_key.expose_secret())
    }

    /// As [`BackendApi::new`], in the name of this service as a machine; none without a machine secret key.
    pub(crate) fn of_machine(settings: &ClerkSettings) -> Result<Option<Self>, ClientError> {
        settings.machine_secret_key().map(|key| Self::with_key(settings, key.expose_secret())).transpose()
    }

    fn with_key(settings: &ClerkSettings, key: &str) -> Result<Self, ClientError> {
        let client = client(settings, key).map_err(ClientError::Client)?;
        let (root, base) = (settings.api_url().to_owned(), format!("{}/v1", settings.api_url()));
        let (timeouts, runtime) = (*settings.timeouts(), Handle::try_current().ok());
        Ok(Self(Arc::new(Inner { client, root, base, timeouts, runtime })))
    }

    pub(crate) fn timeouts(&self) -> &HttpTimeouts {
        &self.0.timeouts
    }

    /// One try. `path` is made of literals, well-formed ids and texts that cannot leave their segment, never of others from outside.
    pub(crate) async fn get(&self, path: &str, largest_body: usize) -> Result<Answer, CallError> {
        self.send(self.0.client.get(self.address_of(path)), largest_body).await
    }

    /// A path behind the version of the API, with the rest of its URL.
    pub(crate) fn address_of(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }

    /// One try, with a JSON body. `url` is an [address](BackendApi::address_of) of this API.
    pub(crate) async fn post(&self, url: Url, body: &Value, largest_body: usize) -> Result<Answer, CallError> {
        self.send(with_body(self.0.client.post(url), body), largest_body).await
    }

    /// One try with any method. `path` is made as for [`BackendApi::get`].
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        largest_body: usize,
    ) -> Result<Answer, CallError> {
        let request = self.0.client.request(method, self.address_of(path));
        let request = match body {
            Some(body) => with_body(request, body),
            None => request,
        };
        self.send(request, largest_body).await
    }

    /// As [`BackendApi::post`], with a path that does not begin behind the version of the API.
    pub(crate) async fn post_unversioned(
        &self,
        path: &str,
        body: &Value,
        largest_body: usize,
    ) -> Result<Answer, CallError> {
        let request = self.0.client.post(format!("{}{path}", self.0.root));
        self.send(with_body(request, body), largest_body).await
    }

    async fn send(&self, request: RequestBuilder, largest_body: usize) -> Result<Answer, CallError> {
        let whole = async {
            let response = request.send().await.map_err(network)?;
            read(response, largest_body).await
        };
        tokio::time::timeout(self.0.timeouts.one_try, whole).await.map_err(|_| CallError::TimedOut)?
    }

    /// Runs to its end even if the caller goes away. None outside of any runtime, or during its shutdown.
    pub(crate) async fn run<F>(&self, work: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = self.0.runtime.clone().or_else(|| Handle::try_current().ok())?;
        runtime.spawn(work).await.ok()
    }

    /// As [`BackendApi::run`], without waiting.
    pub(crate) fn start<F>(&self, work: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        if let Some(runtime) = self.0.runtime.clone().or_else(|| Handle::try_current().ok()) {
            runtime.spawn(work);
        }
    }
}

impl fmt::Debug for BackendApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendApi").field("base", &self.0.base).finish_non_exhaustive()
    }
}

fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

fn client(settings: &ClerkSettings, secret_key: &str) -> Result<Client, BoxError> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {secret_key}"))?;
    authorization.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization);
    headers.insert("clerk-api-version", HeaderValue::try_from(settings.api_version())?);
    let secure = settings.api_url().starts_with("https://");
    // Without TLS there is nobody to trust, and reading this machine's certificates takes its time.
    let builder = if secure { Client::builder() } else { Client::builder().tls_certs_only([]) };
    let client = builder
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(settings.timeouts().connect)
        .timeout(settings.timeouts().one_try)
        .https_only(secure)
        .build()?;
    Ok(client)
}

async fn read(mut response: Response, largest_body: usize) -> Result<Answer, CallError> {
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let date = header(DATE).and_then(|text| OffsetDateTime::parse(text, &Rfc2822).ok()).map(Timestamp::new);
    let retry_after = header(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let declares_json = header(CONTENT_TYPE) == Some("application/json");
    let status = response.status().as_u16();
    let mut answer = Answer { status, date, retry_after, declares_json, body: Vec::new() };
    while let Some(chunk) = response.chunk().await.map_err(network)? {
        if answer.body.len() + chunk.len() > largest_body {
            return Err(CallError::TooLarge);
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn network(error: reqwest::Error) -> CallError {
    if error.is_timeout() { CallError::TimedOut } else { CallError::Network(error.without_url().into()) }
}
