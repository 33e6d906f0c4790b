//! Sessions that begin, are used and end.

use super::Changes;
use crate::error::ApiError;
use crate::people::Person;
use crate::sessions::{Session, SessionStatus};
use crate::shapes;
use crate::token::random_hex;

impl Changes<'_> {
    pub(crate) fn sign_in(&mut self, name: &str) -> Option<Person> {
        let mut person = self.world.named(name)?.clone();
        if !self.touch_session(&person.session_id, &person.user_id) {
            person.session_id = self.begin_session(new_id(), &person.user_id).id;
            self.world.person_mut(&person.user_id)?.session_id.clone_from(&person.session_id);
        }
        Some(person)
    }

    /// Another device of the same person.
    pub(crate) fn create_session(&mut self, user_id: &str) -> Result<Session, ApiError> {
        self.world.person(user_id).ok_or_else(|| ApiError::user_not_found(user_id))?;
        Ok(self.begin_session(new_id(), user_id))
    }

    /// A session begins with its first token. Whether it is one that tokens may be made for.
    pub(crate) fn touch_session(&mut self, id: &str, user_id: &str) -> bool {
        if self.world.person(user_id).is_none() {
            return false;
        }
        let now = self.now();
        let Some(session) = self.world.sessions.iter_mut().find(|session| session.id == id) else {
            self.begin_session(id.to_owned(), user_id);
            return true;
        };
        if session.user_id != user_id || session.at(now).status != SessionStatus::Active {
            return false;
        }
        session.last_active_at = now.max(session.last_active_at);
        session.updated_at = now.max(session.updated_at);
        true
    }

    /// One that has ended before stays as it is.
    pub(crate) fn end_session(&mut self, id: &str, status: SessionStatus) -> Result<Session, ApiError> {
        let now = self.now();
        let session = self.world.session(id).ok_or_else(|| ApiError::session_not_found(id))?;
        if session.at(now).status != SessionStatus::Active {
            return Ok(session.at(now));
        }
        let ended = Session { status, updated_at: self.after(session.updated_at), ..session.clone() };
        if let Some(place) = self.world.sessions.iter_mut().find(|session| session.id == id) {
            place.clone_from(&ended);
        }
        let kind = if status == SessionStatus::Revoked { "session.revoked" } else { "session.ended" };
        self.event(kind, shapes::session_event(self.world, &ended, now));
        Ok(ended)
    }

    fn begin_session(&mut self, id: String, user_id: &str) -> Session {
        let session = Session::new(id, user_id, self.now);
        self.world.sessions.push(session.clone());
        self.event("session.created", shapes::session_event(self.world, &session, self.now()));
        session
    }
}

fn new_id() -> String {
    format!("sess_{}", random_hex::<14>())
}
