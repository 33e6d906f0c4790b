//! Everybody and everything, listed by Clerk's Backend API.

use std::time::Duration;

use async_trait::async_trait;
use portal_identity::{
    DirectoryError, DirectoryListing, Listed, ProviderMembership, ProviderOrganization, ProviderOrganizationId,
    ProviderUser, ProviderUserId,
};
use serde_json::Value;

use crate::http::BackendApi;
use crate::{ClerkDirectory, ClerkSettings, ClientError, directory, records};

/// Records in one answer; people have kilobytes each.
const PAGE_SIZE: usize = 100;

/// Organizations in one answer: the members of each are a question of their own.
const ORGANIZATIONS: usize = 20;

/// An organization with more members than that is listed in part.
const MOST_MEMBERS: usize = 50_000;

/// The wait before a question is repeated, where Clerk does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait that is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a question is asked that Clerk asks to put off.
const TRIES: u32 = 20;

/// Lists what Clerk knows. Waits as long as Clerk asks to, several minutes in all.
#[derive(Debug)]
pub struct ClerkListing {
    api: BackendApi,
}

impl ClerkListing {
    /// Needs a secret key. Made inside a Tokio runtime, it calls on that runtime, which must outlive it.
    pub fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        Ok(Self { api: BackendApi::new(settings)? })
    }

    /// The body of a successful answer; none for 404.
    async fn read(&self, path: String) -> Result<Option<Value>, DirectoryError> {
        let api = self.api.clone();
        let work = async move {
            let mut tries = 1;
            loop {
                let wait = match ClerkDirectory::read(&api, &path).await {
                    Err(DirectoryError::RateLimited { retry_after }) if tries < TRIES => retry_after,
                    // Answers get lost among thousands.
                    Err(DirectoryError::Unavailable(_)) if tries < 3 => None,
                    outcome => return outcome,
                };
                tokio::time::sleep(wait.unwrap_or(PAUSE).min(LONGEST_PAUSE)).await;
                tries += 1;
            }
        };
        self.api.run(work).await.unwrap_or_else(|| Err(directory::stopping()))
    }
}

fn malformed() -> DirectoryError {
    DirectoryError::Malformed("no list".into())
}

/// Reads each record by itself, so that one that cannot be read hides no other.
fn listed<T>(
    (records, offset, most): (&[Value], usize, usize),
    read: impl Fn(&Value) -> Result<T, &'static str>,
) -> Listed<T> {
    let mut unreadable = 0;
    let mut items = Vec::with_capacity(records.len());
    for record in records {
        match read(record) {
            Ok(item) => items.push(item),
            Err(reason) => {
                tracing::error!(id = records::text(record, "id"), reason, "a record of Clerk's cannot be read");
                unreadable += 1;
            }
        }
    }
    Listed { items, unreadable, next: (records.len() >= most).then_some(offset + records.len()) }
}

fn data(body: &Value) -> Result<&[Value], DirectoryError> {
    body.get("data").and_then(Value::as_array).map(Vec::as_slice).ok_or_else(malformed)
}

fn user(record: &Value) -> Result<ProviderUser, &'static str> {
    let id = records::text(record, "id").and_then(|id| ProviderUserId::parse(&id).ok());
    records::user(record, &id.ok_or("a user without id")?)
}

fn member(record: &Value) -> Result<ProviderMembership, &'static str> {
    let user = record.pointer("/public_user_data/user_id").and_then(Value::as_str);
    let user = user.and_then(|id| ProviderUserId::parse(id).ok()).ok_or("a membership of nobody")?;
    records::membership(record, &user)
}

#[async_trait]
impl DirectoryListing for ClerkListing {
    async fn users(&self, offset: usize) -> Result<Listed<ProviderUser>, DirectoryError> {
        // The oldest first: whoever comes meanwhile is at the end.
        let path = format!("/users?limit={PAGE_SIZE}&offset={offset}&order_by=%2Bcreated_at");
        let body = self.read(path).await?.ok_or_else(malformed)?;
        Ok(listed((body.as_array().ok_or_else(malformed)?, offset, PAGE_SIZE), user))
    }

    async fn organizations(&self, offset: usize) -> Result<Listed<ProviderOrganization>, DirectoryError> {
        let path = format!("/organizations?limit={ORGANIZATIONS}&offset={offset}&order_by=%2Bcreated_at");
        // An instance that has no organizations has no such list.
        let Some(body) = self.read(path).await? else {
            return Ok(Listed { items: Vec::new(), unreadable: 0, next: None });
        };
        Ok(listed((data(&body)?, offset, ORGANIZATIONS), records::organization))
    }

    async fn members(&self, id: &ProviderOrganizationId) -> Result<Listed<ProviderMembership>, DirectoryError> {
        let mut all = Listed { items: Vec::new(), unreadable: 0, next: Some(0) };
        while let Some(offset) = all.next.filter(|offset| *offset < MOST_MEMBERS) {
            let path = format!("/organizations/{id}/memberships?limit={PAGE_SIZE}&offset={offset}");
            // An organization that was deleted meanwhile has no members.
            let Some(body) = self.read(path).await? else { return Ok(Listed { next: None, ..all }) };
            let page = listed((data(&body)?, offset, PAGE_SIZE), member);
            all.items.extend(page.items);
            (all.unreadable, all.next) = (all.unreadable + page.unreadable, page.next);
        }
        // What was not listed may be there all the same.
        all.unreadable += usize::from(all.next.is_some());
        Ok(all)
    }

    async fn organization(&self, id: &ProviderOrganizationId) -> Result<Option<ProviderOrganization>, DirectoryError> {
        let body = self.read(format!("/organizations/{id}")).await?;
        let organization =
            |body: Value| records::organization(&body).map_err(|why| DirectoryError::Malformed(why.into()));
        body.map(organization).transpose()
    }
}
