//! People and their organizations, read from Clerk's Backend API.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use portal_identity::{DirectoryError, IdentityDirectory, ProviderMembership, ProviderUser, ProviderUserId};
use portal_kernel::BoxError;
use serde_json::Value;

use crate::http::{Answer, BackendApi};
use crate::{ClerkSettings, ClientError, records};

const LARGEST_BODY: usize = 2 * 1_024 * 1_024;
const PAGE_SIZE: usize = 100;
const MAX_PAGES: usize = 50;
/// For all pages together.
const MEMBERSHIPS_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads people from Clerk. Calls are not repeated: the caller knows whether the answer is worth waiting for.
#[derive(Debug)]
pub struct ClerkDirectory {
    api: BackendApi,
}

impl ClerkDirectory {
    /// Needs a secret key. Made inside a Tokio runtime, it calls on that runtime, which must outlive it.
    pub fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        Ok(Self { api: BackendApi::new(settings)? })
    }

    /// The body of a successful answer; none for 404.
    pub(crate) async fn read(api: &BackendApi, path: &str) -> Result<Option<Value>, DirectoryError> {
        let answer = api.get(path, LARGEST_BODY).await.map_err(|error| DirectoryError::Unavailable(error.into()))?;
        match answer.status {
            200..300 => {
                serde_json::from_slice(&answer.body).map(Some).map_err(|error| DirectoryError::Malformed(error.into()))
            }
            404 => Ok(None),
            status => Err(refusal(status, &answer)),
        }
    }

    pub(crate) async fn all_memberships(
        api: &BackendApi,
        id: &ProviderUserId,
    ) -> Result<Vec<ProviderMembership>, DirectoryError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for page in 0..MAX_PAGES {
            let path = format!("/users/{id}/organization_memberships?limit={PAGE_SIZE}&offset={}", page * PAGE_SIZE);
            let Some(body) = Self::read(api, &path).await? else { return Ok(Vec::new()) };
            let data = body.get("data").and_then(Value::as_array).ok_or_else(|| malformed("no list of memberships"))?;
            for entry in data {
                let membership = records::membership(entry, id).map_err(malformed)?;
                // Pages shift when memberships change meanwhile.
                if seen.insert(membership.id.clone()) {
                    found.push(membership);
                }
            }
            let total = body.get("total_count").and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
            let is_end =
                data.is_empty() || total.map_or(data.len() < PAGE_SIZE, |total| (page + 1) * PAGE_SIZE >= total);
            if is_end && total.is_some_and(|total| found.len() < total) {
                // One that ended between two pages hid another one.
                return Err(malformed("memberships that changed while they were read"));
            }
            if is_end {
                return Ok(found);
            }
        }
        Err(malformed("more memberships than can be read"))
    }
}

#[async_trait]
impl IdentityDirectory for ClerkDirectory {
    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError> {
        // Clerk has nobody by an id that it does not make, and the path might be another.
        if !id.is_well_formed() {
            return Ok(None);
        }
        let (api, id) = (self.api.clone(), id.clone());
        let work = async move {
            match Self::read(&api, &format!("/users/{id}")).await? {
                Some(body) => records::user(&body, &id).map(Some).map_err(malformed),
                None => Ok(None),
            }
        };
        self.api.run(work).await.unwrap_or_else(|| Err(stopping()))
    }

    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
        if !id.is_well_formed() {
            return Ok(Vec::new());
        }
        let (api, id) = (self.api.clone(), id.clone());
        let work = async move {
            let all = Self::all_memberships(&api, &id);
            tokio::time::timeout(MEMBERSHIPS_TIMEOUT, all)
                .await
                .unwrap_or_else(|_| Err(unavailable("no complete answer in time")))
        };
        self.api.run(work).await.unwrap_or_else(|| Err(stopping()))
    }
}

pub(crate) fn refusal(status: u16, answer: &Answer) -> DirectoryError {
    match status {
        429 => DirectoryError::RateLimited { retry_after: answer.retry_after },
        401 => DirectoryError::SecretKeyInvalid,
        _ if answer.has_error("clerk_key_invalid") => DirectoryError::SecretKeyInvalid,
        _ => unavailable(format!("the Backend API answers with status {status}")),
    }
}

/// No call can be made any more.
pub(crate) fn stopping() -> DirectoryError {
    unavailable("the program is stopping")
}

fn unavailable(why: impl Into<BoxError>) -> DirectoryError {
    DirectoryError::Unavailable(why.into())
}

fn malformed(why: &'static str) -> DirectoryError {
    DirectoryError::Malformed(why.into())
}
