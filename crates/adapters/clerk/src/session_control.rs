//! Sessions at Clerk.

use async_trait::async_trait;
use portal_identity::{
    DirectoryError, ProviderSession, ProviderSessionId, ProviderUserId, SessionActivity, SessionControl,
};
use serde_json::{Value, json};
use url::Url;

use crate::http::BackendApi;
use crate::records::text;
use crate::times::from_millis;
use crate::{ClerkDirectory, ClerkSettings, ClientError, directory};

/// In one answer: a person with more sessions ends the newest first.
const MOST_SESSIONS: usize = 500;
const LARGEST_BODY: usize = 64 * 1_024;

/// A session in any other state may make tokens.
const OVER: [&str; 6] = ["abandoned", "ended", "expired", "removed", "replaced", "revoked"];

/// Lists and ends sessions at Clerk. Calls are not repeated: the caller knows whether the answer is worth waiting for.
#[derive(Debug)]
pub struct ClerkSessions {
    api: BackendApi,
}

impl ClerkSessions {
    /// Needs a secret key. Made inside a Tokio runtime, it calls on that runtime, which must outlive it.
    pub fn new(settings: &ClerkSettings) -> Result<Self, ClientError> {
        Ok(Self { api: BackendApi::new(settings)? })
    }
}

#[async_trait]
impl SessionControl for ClerkSessions {
    async fn sessions(&self, user: &ProviderUserId) -> Result<Vec<ProviderSession>, DirectoryError> {
        let (api, path) = (self.api.clone(), format!("/sessions?user_id={user}&limit={MOST_SESSIONS}"));
        let work = async move { ClerkDirectory::read(&api, &path).await };
        let body = self.api.run(work).await.unwrap_or_else(|| Err(directory::stopping()))?;
        let list = body.as_ref().and_then(Value::as_array).ok_or(DirectoryError::Malformed("no list".into()))?;
        // Lists without this filter would tell of others' sessions.
        let own = list.iter().filter(|record| record.get("user_id").and_then(Value::as_str) == Some(user.as_str()));
        Ok(own.filter_map(session).collect())
    }

    async fn revoke(&self, id: &ProviderSessionId) -> Result<(), DirectoryError> {
        // Clerk made no other ids, and whatever stands in them must not become a path.
        if !id.is_well_formed() {
            return Ok(());
        }
        let url = Url::parse(&self.api.address_of(&format!("/sessions/{id}/revoke")));
        let (api, url) = (self.api.clone(), url.map_err(|error| DirectoryError::Unavailable(error.into()))?);
        let work = async move { api.post(url, &json!({}), LARGEST_BODY).await };
        let answer = self.api.run(work).await.ok_or_else(directory::stopping)?;
        let answer = answer.map_err(|error| DirectoryError::Unavailable(error.into()))?;
        // One that is gone needs no end.
        if matches!(answer.status, 200..300 | 404) {
            return Ok(());
        }
        let error = directory::refusal(answer.status, &answer);
        let is_refused = matches!(error, DirectoryError::Unavailable(_)) && (400..500).contains(&answer.status);
        // Neither does one that is over, whatever Clerk has against ending it.
        if is_refused && self.is_over(id).await? { Ok(()) } else { Err(error) }
    }
}

impl ClerkSessions {
    async fn is_over(&self, id: &ProviderSessionId) -> Result<bool, DirectoryError> {
        let (api, path) = (self.api.clone(), format!("/sessions/{id}"));
        let work = async move { ClerkDirectory::read(&api, &path).await };
        let record = self.api.run(work).await.unwrap_or_else(|| Err(directory::stopping()))?;
        let Some(record) = record else { return Ok(true) };
        let status = record.get("status").and_then(Value::as_str);
        Ok(record.get("id").and_then(Value::as_str) == Some(id.as_str()) && status.is_some_and(|it| OVER.contains(&it)))
    }
}

/// None without an id: there is nothing to call it by.
fn session(record: &Value) -> Option<ProviderSession> {
    let time = |name: &str| record.get(name).and_then(Value::as_i64).and_then(from_millis);
    Some(ProviderSession {
        id: text(record, "id").and_then(|id| ProviderSessionId::parse(&id).ok())?,
        // A pending one becomes active when its person has done what is outstanding.
        is_active: matches!(record.get("status").and_then(Value::as_str), Some("active" | "pending")),
        created_at: time("created_at"),
        last_active_at: time("last_active_at"),
        expires_at: time("expire_at"),
        activity: record.get("latest_activity").map(activity).unwrap_or_default(),
    })
}

fn activity(record: &Value) -> SessionActivity {
    let browser = [text(record, "browser_name"), text(record, "browser_version")];
    let browser: Vec<_> = browser.into_iter().flatten().collect();
    SessionActivity {
        device: text(record, "device_type"),
        browser: (!browser.is_empty()).then(|| browser.join(" ")),
        address: text(record, "ip_address").and_then(|address| address.parse().ok()),
        city: text(record, "city"),
        country: text(record, "country"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clerk_tells_of_a_session_is_read_and_what_is_missing_is_unknown() {
        let whole = json!({
            "id": "sess_1", "status": "active", "created_at": 1_000, "last_active_at": 2_000, "expire_at": 3_000,
            "latest_activity": {
                "device_type": "Macintosh", "browser_name": "Firefox", "browser_version": "140.0",
                "ip_address": "198.51.100.7", "city": "Utrecht", "country": "NL",
            },
        });
        let found = session(&whole).unwrap();
        assert!(found.is_active);
        assert_eq!(found.last_active_at.map(portal_kernel::Timestamp::unix_millis), Some(2_000));
        assert_eq!(found.activity.browser.as_deref(), Some("Firefox 140.0"));
        assert_eq!(found.activity.address, "198.51.100.7".parse().ok());
        let bare = session(&json!({ "id": "sess_2", "status": "ended", "latest_activity": null })).unwrap();
        assert!(!bare.is_active);
        assert_eq!((bare.created_at, bare.activity), (None, SessionActivity::default()));
        assert_eq!(session(&json!({ "id": "../sess_3" })), None);
    }
}
