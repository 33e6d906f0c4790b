//! Everybody and everything, listed by Clerk's Backend API.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use portal_identity::{
    DirectoryError, DirectoryListing, LONGEST_QUESTION, Listed, ProviderMembership, ProviderOrganization,
    ProviderOrganizationId, ProviderUser, ProviderUserId,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::http::{BackendApi, CallError};
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

/// How many records are asked for at once.
#[derive(Debug)]
struct PageSize {
    most: usize,
    now: AtomicUsize,
}

impl PageSize {
    const fn new(most: usize) -> Self {
        Self { most, now: AtomicUsize::new(most) }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// False if there is no less to ask for.
    fn halve(&self, asked: usize) -> bool {
        self.now.store((asked / 2).max(1), Ordering::Relaxed);
        asked > 1
    }

    /// What was too much for one part of the list need not be for the next.
    fn double(&self, asked: usize) {
        self.now.store((asked * 2).min(self.most), Ordering::Relaxed);
    }
}

/// Lists what Clerk knows. Waits as long as Clerk asks to, for [`LONGEST_QUESTION`] at most.
#[derive(Debug)]
pub struct ClerkListing {
    api: BackendApi,
    people: PageSize,
    organizations: PageSize,
    members: PageSize,
}

impl ClerkListing {
    /// Needs a secret key. Made inside a Tokio runtime, it calls on that runtime, which must outlive it.
    pub fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        let [people, organizations, members] = [PAGE_SIZE, ORGANIZATIONS, PAGE_SIZE].map(PageSize::new);
        Ok(Self { api: BackendApi::new(settings)?, people, organizations, members })
    }

    /// The body of a successful answer; none for 404.
    async fn read(&self, path: String) -> Result<Option<Value>, DirectoryError> {
        let until = Instant::now() + LONGEST_QUESTION;
        self.ask((Patience::Full, until), move |api| {
            let path = path.clone();
            async move { ClerkDirectory::read(&api, &path).await }
        })
        .await
    }

    /// The same for a part of a list, with the number of records that was asked for.
    async fn page(
        &self,
        size: &PageSize,
        most: usize,
        path: impl Fn(usize) -> String,
    ) -> Result<Option<(Value, usize)>, DirectoryError> {
        let until = Instant::now() + LONGEST_QUESTION;
        loop {
            let asked = size.now().min(most).max(1);
            let path = path(asked);
            let answer = self.ask((Patience::ForLess, until), move |api| {
                let path = path.clone();
                async move { ClerkDirectory::read(&api, &path).await }
            });
            match answer.await {
                Err(error) if is_too_much(&error) && Instant::now() < until && size.halve(asked) => {
                    tracing::warn!(asked, "an answer of Clerk's is too large or too slow; asking for half as much");
                }
                answer => {
                    let body = answer?;
                    if asked < most {
                        size.double(asked);
                    }
                    return Ok(body.map(|body| (body, asked)));
                }
            }
        }
    }

    /// Repeats a question that Clerk asks to put off, and one whose answer got lost, until that moment at most.
    async fn ask<T, F>(
        &self,
        (patience, until): (Patience, Instant),
        question: impl Fn(BackendApi) -> F + Send + Sync + 'static,
    ) -> Result<T, DirectoryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DirectoryError>> + Send,
    {
        let api = self.api.clone();
        let work = async move {
            let mut tries = 1;
            loop {
                let outcome = question(api.clone()).await;
                let wait = match &outcome {
                    Err(DirectoryError::RateLimited { retry_after }) if tries < TRIES => *retry_after,
                    Err(error) if patience == Patience::ForLess && is_too_much(error) => return outcome,
                    // Answers get lost among thousands.
                    Err(DirectoryError::Unavailable(_)) if tries < 3 => None,
                    _ => return outcome,
                };
                let wait = wait.unwrap_or(PAUSE).min(LONGEST_PAUSE);
                if Instant::now() + wait >= until {
                    return outcome;
                }
                tokio::time::sleep(wait).await;
                tries += 1;
            }
        };
        self.api.run(work).await.unwrap_or_else(|| Err(directory::stopping()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Full,
    /// What is too large or too slow is not repeated as it is.
    ForLess,
}

/// Less at once may be answered.
fn is_too_much(error: &DirectoryError) -> bool {
    let DirectoryError::Unavailable(cause) = error else { return false };
    matches!(cause.downcast_ref(), Some(CallError::TooLarge | CallError::TimedOut))
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
    async fn users(&self, offset: usize, most: usize) -> Result<Listed<ProviderUser>, DirectoryError> {
        // The oldest first: whoever comes meanwhile is at the end.
        let path = |limit| format!("/users?limit={limit}&offset={offset}&order_by=%2Bcreated_at");
        let (body, asked) = self.page(&self.people, most, path).await?.ok_or_else(malformed)?;
        Ok(listed((body.as_array().ok_or_else(malformed)?, offset, asked), user))
    }

    async fn organizations(&self, offset: usize, most: usize) -> Result<Listed<ProviderOrganization>, DirectoryError> {
        let path = |limit| format!("/organizations?limit={limit}&offset={offset}&order_by=%2Bcreated_at");
        // An instance that has no organizations has no such list.
        let Some((body, asked)) = self.page(&self.organizations, most, path).await? else {
            return Ok(Listed { items: Vec::new(), unreadable: 0, next: None });
        };
        Ok(listed((data(&body)?, offset, asked), records::organization))
    }

    async fn members(
        &self,
        id: &ProviderOrganizationId,
        offset: usize,
    ) -> Result<Listed<ProviderMembership>, DirectoryError> {
        if offset >= MOST_MEMBERS {
            // What is not listed may be there all the same.
            return Ok(Listed { items: Vec::new(), unreadable: 1, next: None });
        }
        let path = |limit| format!("/organizations/{id}/memberships?limit={limit}&offset={offset}");
        // An organization that was deleted meanwhile has no members.
        let Some((body, asked)) = self.page(&self.members, usize::MAX, path).await? else {
            return Ok(Listed { items: Vec::new(), unreadable: 0, next: None });
        };
        Ok(listed((data(&body)?, offset, asked), member))
    }

    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError> {
        if !id.is_well_formed() {
            return Ok(None);
        }
        let body = self.read(format!("/users/{id}")).await?;
        let user = |body: Value| records::user(&body, id).map_err(|why| DirectoryError::Malformed(why.into()));
        body.map(user).transpose()
    }

    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
        if !id.is_well_formed() {
            return Ok(Vec::new());
        }
        let id = id.clone();
        self.ask((Patience::Full, Instant::now() + LONGEST_QUESTION), move |api| {
            let id = id.clone();
            async move { ClerkDirectory::all_memberships(&api, &id).await }
        })
        .await
    }

    async fn organization(&self, id: &ProviderOrganizationId) -> Result<Option<ProviderOrganization>, DirectoryError> {
        let body = self.read(format!("/organizations/{id}")).await?;
        let organization =
            |body: Value| records::organization(&body).map_err(|why| DirectoryError::Malformed(why.into()));
        body.map(organization).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_kernel::SecretString;

    use super::*;
    use crate::ClerkOptions;

    #[tokio::test]
    async fn nobody_waits_longer_for_an_answer_than_a_question_may_take() {
        let mut options = ClerkOptions::new("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_test_s3cret"));
        let listing = ClerkListing::new(&options.validate().unwrap()).unwrap();
        for patience in [Patience::Full, Patience::ForLess] {
            let asked = Arc::new(AtomicUsize::new(0));
            let question = {
                let asked = asked.clone();
                move |_| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    // The first wait ends before the time is over, and the second does not.
                    let retry_after =
                        Some(Duration::from_millis(if asked.load(Ordering::Relaxed) == 1 { 1 } else { 20_000 }));
                    async move { Err::<(), _>(DirectoryError::RateLimited { retry_after }) }
                }
            };
            let answer = listing.ask((patience, Instant::now() + Duration::from_secs(10)), question).await;
            assert!(
                matches!(answer, Err(DirectoryError::RateLimited { retry_after: Some(wait) }) if wait.as_secs() == 20)
            );
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }
}
