//! The portal over HTTP.

use std::time::Duration;

use portal_api_keys::{FeedHead, FeedPosition, KeyUse};
use portal_kernel::{BoxError, ExposeSecret, SecretString};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use crate::follow::{Changes, FetchError, Page, Source};
use crate::record::{BadAnswer, WireAccount, WireChanges, WirePage, WireVerdict, answer};
use crate::verdict::{Holder, Refusal, Verdict};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Of a page of the longest records there are.
const PAGE_LIMIT: Duration = Duration::from_secs(20);
/// Beyond the wait.
const CHANGES_LIMIT: Duration = Duration::from_secs(3);
const VERIFY_LIMIT: Duration = Duration::from_secs(2);

const GONE: u16 = 410;

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start")]
pub struct StartError(#[source] BoxError);

/// Clones share connections.
#[derive(Clone)]
pub(crate) struct Portal {
    client: Client,
    base: String,
    token: SecretString,
}

impl Portal {
    pub(crate) fn new(base: String, token: SecretString) -> Result<Self, StartError> {
        // A redirect would take the token elsewhere.
        let client = Client::builder().connect_timeout(CONNECT_LIMIT).redirect(redirect::Policy::none());
        let client = client.user_agent(concat!("portal-gateway/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|error| StartError(error.into()))?;
        Ok(Self { client, base, token })
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder, limit: Duration) -> Result<T, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Failed(error.without_url().into());
        let request = request.bearer_auth(self.token.expose_secret()).timeout(limit);
        let response = request.send().await.map_err(failed)?;
        match response.status().as_u16() {
            200 => response.json().await.map_err(failed),
            GONE => Err(FetchError::PositionTooOld),
            status => Err(FetchError::Refused { status, retry_after: retry_after(&response) }),
        }
    }

    /// What the portal says of a presented text.
    pub(crate) async fn verify(&self, presented: &str, wanted: &KeyUse<'_>) -> Verdict {
        let mut body = Map::new();
        body.insert("key".to_owned(), json!(presented));
        let members =
            [("model", wanted.model.map(|model| json!(model))), ("scope", wanted.scope.map(|scope| json!(scope)))];
        let members = members.into_iter().chain([("ip", wanted.ip.map(|ip| json!(ip)))]);
        body.extend(members.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let request = self.client.post(format!("{}/v1/keys/verify", self.base)).json(&body);
        match self.read::<WireVerdict>(request, VERIFY_LIMIT).await {
            Ok(told) => verdict(told),
            Err(error) => {
                tracing::debug!(%error, "the portal was asked about an API key in vain");
                Verdict::Unavailable
            }
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn verdict(told: WireVerdict) -> Verdict {
    let WireVerdict { decision, code, key_id, account_id, revision } = told;
    let known = key_id.and_then(|key| key.parse().ok()).zip(account_id.and_then(|account| account.parse().ok()));
    let holder = known.map(|(key, account)| Holder { key, account, revision });
    match (decision.as_str(), holder) {
        ("allow", Some(holder)) => Verdict::Allow(holder),
        ("deny", holder) => Verdict::Deny(Refusal { code: code.into(), holder }),
        _ => Verdict::Unavailable,
    }
}

fn bad<E>(_: E) -> FetchError {
    FetchError::Failed(BadAnswer.into())
}

impl Source for Portal {
    async fn page(&self, cursor: Option<&str>) -> Result<Page, FetchError> {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let request = self.client.get(format!("{}/v1/keys/snapshot{query}", self.base));
        let WirePage { data, next_cursor, position } = self.read(request, PAGE_LIMIT).await?;
        let keys = data.iter().map(answer).collect::<Result<_, _>>().map_err(bad)?;
        let position = position.map(|position| position.parse()).transpose().map_err(bad)?;
        Ok(Page { keys, next: next_cursor, position })
    }

    async fn changes(&self, since: &FeedPosition, wait: Duration) -> Result<Changes, FetchError> {
        let query = format!("after={since}&wait_ms={}", wait.as_millis());
        let request = self.client.get(format!("{}/v1/keys/changes?{query}", self.base));
        let told: WireChanges = self.read(request, wait + CHANGES_LIMIT).await?;
        let position = told.position.parse().map_err(bad)?;
        let at = told.database_time.parse().map_err(bad)?;
        Ok(Changes {
            keys: told.keys.iter().map(answer).collect::<Result<_, _>>().map_err(bad)?,
            accounts: told.accounts.iter().map(WireAccount::read).collect::<Result<_, _>>().map_err(bad)?,
            head: FeedHead { position, at },
            waited: Duration::from_millis(told.waited_ms),
        })
    }
}
