//! Sessions: what `sid` of a token names, and how they come and go.

use std::time::Duration;

use portal_kernel::Timestamp;

use crate::DevIdp;
use crate::error::{ApiError, DevIdpError};
use crate::people::Person;

/// As Clerk has it unless an instance is set up otherwise.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// When a session is forgotten that nobody used.
const ABANDONED_AFTER: Duration = Duration::from_hours(30 * 24);

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// Tokens are made for it.
    Active,
    /// The person signed out.
    Ended,
    /// Somebody ended it through the Backend API.
    Revoked,
    /// It came to its end by itself.
    Expired,
}

impl SessionStatus {
    /// As the Backend API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// A person's session on one device. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `sess_…`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// `client_…`: the device.
    pub client_id: String,
    /// As of the moment when this value was read.
    pub status: SessionStatus,
    /// When the last token was made for it.
    pub last_active_at: i64,
    /// When it ends by itself.
    pub expire_at: i64,
    /// When it counts as abandoned.
    pub abandon_at: i64,
    /// When it began.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

impl Session {
    pub(crate) fn new(id: String, user_id: &str, now: Timestamp) -> Self {
        let millis = now.unix_millis();
        Self {
            client_id: format!("client_{}", id.trim_start_matches("sess_")),
            id,
            user_id: user_id.to_owned(),
            status: SessionStatus::Active,
            last_active_at: millis,
            expire_at: now.plus(LIFETIME).unix_millis(),
            abandon_at: now.plus(ABANDONED_AFTER).unix_millis(),
            created_at: millis,
            updated_at: millis,
        }
    }

    /// The same session as it is seen at that moment.
    pub(crate) fn at(&self, now: i64) -> Self {
        let is_over = self.status == SessionStatus::Active && self.expire_at <= now;
        Self { status: if is_over { SessionStatus::Expired } else { self.status }, ..self.clone() }
    }
}

impl DevIdp {
    /// Signs somebody in by name: their session, which is a new one if the last has ended. The person that is returned
    /// carries its id.
    pub fn sign_in(&self, name: &str) -> Result<Person, DevIdpError> {
        self.write(|changes| changes.sign_in(name)).ok_or_else(|| DevIdpError::unknown_person(name))
    }

    /// Signs somebody in on another device. Tokens of the person go on naming the session they named.
    pub fn add_session(&self, user_id: &str) -> Result<Session, DevIdpError> {
        Ok(self.write(|changes| changes.create_session(user_id))?)
    }

    /// Ends a session as its person does by signing out.
    pub fn sign_out(&self, session_id: &str) -> Result<Session, DevIdpError> {
        Ok(self.write(|changes| changes.end_session(session_id, SessionStatus::Ended))?)
    }

    /// Ends a session as the Backend API does.
    pub fn revoke_session(&self, session_id: &str) -> Result<Session, DevIdpError> {
        Ok(self.write(|changes| changes.end_session(session_id, SessionStatus::Revoked))?)
    }

    /// The sessions of a person, oldest first.
    pub fn sessions(&self, user_id: &str) -> Vec<Session> {
        let now = self.now().unix_millis();
        let world = self.world();
        world.sessions.iter().filter(|session| session.user_id == user_id).map(|session| session.at(now)).collect()
    }

    /// A session token as [`DevIdp::fresh_session_token`] makes it, unless the person was deleted or the session has ended.
    pub fn live_session_token(&self, person: &Person, azp: &str) -> Result<String, DevIdpError> {
        if self.touch(person) {
            return Ok(self.mint().session_token(person, azp, self.now()));
        }
        Err(ApiError::session_over(&person.session_id).into())
    }

    /// Notes that a token is made for the person's session. Whether the person exists and the session is active.
    pub(crate) fn touch(&self, person: &Person) -> bool {
        self.write(|changes| changes.touch_session(&person.session_id, &person.user_id))
    }
}
