//! People and their organizations, read from Clerk's Backend API.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use portal_identity::{
    DirectoryError, IdentityDirectory, ProviderMembership, ProviderMembershipId, ProviderOrganization,
    ProviderOrganizationId, ProviderUser, ProviderUserId,
};
use portal_kernel::{BoxError, Timestamp};
use serde_json::Value;

use crate::http::{Answer, BackendApi};
use crate::times::from_millis;
use crate::{ClerkSettings, ClientError};

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
    async fn read(api: &BackendApi, path: &str) -> Result<Option<Value>, DirectoryError> {
        let answer = api.get(path, LARGEST_BODY).await.map_err(|error| DirectoryError::Unavailable(error.into()))?;
        match answer.status {
            200..300 => {
                serde_json::from_slice(&answer.body).map(Some).map_err(|error| DirectoryError::Malformed(error.into()))
            }
            404 => Ok(None),
            status => Err(refusal(status, &answer)),
        }
    }

    async fn all_memberships(api: &BackendApi, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for page in 0..MAX_PAGES {
            let path = format!("/users/{id}/organization_memberships?limit={PAGE_SIZE}&offset={}", page * PAGE_SIZE);
            let Some(body) = Self::read(api, &path).await? else { return Ok(Vec::new()) };
            let data = body.get("data").and_then(Value::as_array).ok_or_else(|| malformed("no list of memberships"))?;
            for entry in data {
                let membership = membership(entry, id)?;
                // Pages shift when memberships change meanwhile.
                if seen.insert(membership.id.clone()) {
                    found.push(membership);
                }
            }
            let total = body.get("total_count").and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
            if data.is_empty() || total.map_or(data.len() < PAGE_SIZE, |total| (page + 1) * PAGE_SIZE >= total) {
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
                Some(body) => user(&body, &id).map(Some),
                None => Ok(None),
            }
        };
        self.api.run(work).await.unwrap_or_else(|| Err(unavailable("the program is stopping")))
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
        self.api.run(work).await.unwrap_or_else(|| Err(unavailable("the program is stopping")))
    }
}

fn refusal(status: u16, answer: &Answer) -> DirectoryError {
    match status {
        429 => DirectoryError::RateLimited { retry_after: answer.retry_after },
        401 => DirectoryError::SecretKeyInvalid,
        _ if answer.has_error("clerk_key_invalid") => DirectoryError::SecretKeyInvalid,
        _ => unavailable(format!("the Backend API answers with status {status}")),
    }
}

fn unavailable(why: impl Into<BoxError>) -> DirectoryError {
    DirectoryError::Unavailable(why.into())
}

fn malformed(why: &'static str) -> DirectoryError {
    DirectoryError::Malformed(why.into())
}

/// What is missing or of another type counts as unknown, except for the id and the version of the record.
fn user(body: &Value, asked: &ProviderUserId) -> Result<ProviderUser, DirectoryError> {
    if body.get("id").and_then(Value::as_str) != Some(asked.as_str()) {
        return Err(malformed("a user without the id that was asked for"));
    }
    let email = primary_email(body);
    let address = email.and_then(|email| text(email, "email_address"));
    Ok(ProviderUser {
        id: asked.clone(),
        email_verified: address.is_some() && email.is_some_and(is_verified),
        email: address,
        first_name: text(body, "first_name"),
        last_name: text(body, "last_name"),
        image_url: text(body, "image_url"),
        updated_at: updated_at(body).ok_or_else(|| malformed("a user without the time of the last change"))?,
    })
}

fn primary_email(user: &Value) -> Option<&Value> {
    let primary = text(user, "primary_email_address_id")?;
    user.get("email_addresses")?
        .as_array()?
        .iter()
        .find(|email| email.get("id").and_then(Value::as_str) == Some(&primary))
}

/// A missing verification is none.
fn is_verified(email: &Value) -> bool {
    email.pointer("/verification/status").and_then(Value::as_str) == Some("verified")
}

/// A membership that cannot be read must not look like one that ended.
fn membership(entry: &Value, user: &ProviderUserId) -> Result<ProviderMembership, DirectoryError> {
    let id = text(entry, "id").and_then(|id| ProviderMembershipId::parse(&id).ok());
    let organization = entry.get("organization").ok_or_else(|| malformed("a membership without organization"))?;
    Ok(ProviderMembership {
        id: id.ok_or_else(|| malformed("a membership without id"))?,
        organization: self::organization(organization)?,
        user: user.clone(),
        role: text(entry, "role").ok_or_else(|| malformed("a membership without role"))?,
        updated_at: updated_at(entry).ok_or_else(|| malformed("a membership without the time of the last change"))?,
    })
}

fn organization(record: &Value) -> Result<ProviderOrganization, DirectoryError> {
    let id = text(record, "id").and_then(|id| ProviderOrganizationId::parse(&id).ok());
    Ok(ProviderOrganization {
        id: id.ok_or_else(|| malformed("an organization without id"))?,
        name: text(record, "name").unwrap_or_default(),
        created_by: text(record, "created_by").and_then(|id| ProviderUserId::parse(&id).ok()),
        updated_at: updated_at(record)
            .ok_or_else(|| malformed("an organization without the time of the last change"))?,
    })
}

fn updated_at(record: &Value) -> Option<Timestamp> {
    record.get("updated_at").and_then(Value::as_i64).and_then(from_millis)
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
