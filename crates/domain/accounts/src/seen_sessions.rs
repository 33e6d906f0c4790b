//! Which sessions signed in before: the first sign-in of each goes into the trail, and no request after it asks anybody.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portal_identity::ProviderSessionId;
use quick_cache::sync::Cache;

/// What this process knows of it. The store decides; a session that was forgotten here is merely asked about once more.
pub struct SeenSessions {
    /// Bounded in number; keeps what is used.
    seen: Cache<ProviderSessionId, ()>,
    /// Those that a request is at work on. The others do not wait for it.
    at_work: Mutex<HashSet<ProviderSessionId>>,
}

/// Held by the request that writes the first sign-in of a session down.
pub(crate) struct FirstSight<'a> {
    of: &'a SeenSessions,
    session: &'a ProviderSessionId,
}

impl SeenSessions {
    /// Remembers so many sessions at most.
    pub fn new(most: usize) -> Self {
        Self { seen: Cache::new(most), at_work: Mutex::default() }
    }

    /// None if the session was seen, or somebody is at work on it.
    pub(crate) fn look<'a>(&'a self, session: &'a ProviderSessionId) -> Option<FirstSight<'a>> {
        if self.seen.get(session).is_some() || !self.at_work().insert(session.clone()) {
            return None;
        }
        Some(FirstSight { of: self, session })
    }

    fn at_work(&self) -> MutexGuard<'_, HashSet<ProviderSessionId>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FirstSight<'_> {
    /// It was written down. Dropped without this, the next request tries.
    pub(crate) fn written(self) {
        self.of.seen.insert(self.session.clone(), ());
    }
}

impl Drop for FirstSight<'_> {
    fn drop(&mut self) {
        self.of.at_work().remove(self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_at_work_on_a_session_until_it_was_written_down() {
        let (seen, [one, other]) =
            (SeenSessions::new(10), ["sess_1", "sess_2"].map(|id| ProviderSessionId::parse(id).unwrap()));
        let sight = seen.look(&one).unwrap();
        assert!(seen.look(&one).is_none(), "somebody is at work");
        assert!(seen.look(&other).is_some(), "on another one");
        drop(sight);
        seen.look(&one).unwrap().written();
        assert!(seen.look(&one).is_none(), "it was seen");
        assert!(seen.look(&other).is_some());
        assert!(seen.at_work().is_empty());
    }
}
