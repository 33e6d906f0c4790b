//! Sessions that ended, and whose tokens verify for a while all the same.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_identity::ProviderSessionId;
use portal_kernel::{Change, ChangeFeed, ChangeListener, Clock, StoreError, Timestamp};

use crate::ports::EndedSessionReader;

/// How long an ended session is remembered once the provider knows of the end: it makes no token after that, and hardly any lasts longer.
/// For one that does, the store is asked. Until the provider knows, the time of the end lies ahead, so that nobody forgets it.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How long a list is used before it is read anew, so that it does not grow forever.
const LIST_LIFE: Duration = Duration::from_hours(1);

/// Answers from memory while the change feed is current, and from the store otherwise.
pub struct EndedSessions {
    store: Arc<dyn EndedSessionReader>,
    feed: Arc<dyn ChangeFeed>,
    memory: Arc<Memory>,
}

struct Memory {
    list: RwLock<List>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct List {
    /// With the time at which they were heard of.
    ended: HashMap<String, Timestamp>,
    /// When all that had ended was read; none before that, and after changes were missed.
    read_at: Option<Timestamp>,
    /// How often changes were missed.
    missed: u64,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, List> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, List> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndedSessions {
    /// Nothing is read yet: the first question does.
    pub fn new(store: Arc<dyn EndedSessionReader>, feed: Arc<dyn ChangeFeed>, clock: Arc<dyn Clock>) -> Self {
        let memory = Arc::new(Memory { list: RwLock::default(), clock });
        feed.subscribe(memory.clone());
        Self { store, feed, memory }
    }

    /// Whether the session is over, whatever its token says, which was made at `issued_at`.
    pub async fn contains(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        session: &ProviderSessionId,
        issued_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let now = self.memory.clock.now();
        let outlives_memory = issued_at.is_none_or(|issued_at| now.since(issued_at) >= REMEMBERED);
        let missed = {
            let list = self.memory.read();
            if list.ended.contains_key(session.as_str()) {
                return Ok(true);
            }
            if !outlives_memory && self.feed.is_current() && list.read_at.is_some_and(|at| now.since(at) < LIST_LIFE) {
                return Ok(false);
            }
            list.missed
        };
        if outlives_memory || !self.feed.is_current() {
            return self.store.has_ended(cleared, session.clone()).await;
        }
        let ended = self.store.ended_since(cleared, now.minus(REMEMBERED)).await?;
        let found = ended.iter().any(|id| id == session.as_str());
        let mut list = self.memory.write();
        // Unless something was missed meanwhile, what was read and what was told are all there is.
        if list.missed == missed {
            list.ended.retain(|_, heard| now.since(*heard) < REMEMBERED);
            list.ended.extend(ended.into_iter().map(|id| (id, now)));
            list.read_at = Some(now);
        }
        Ok(found || list.ended.contains_key(session.as_str()))
    }

    /// The same from memory alone, for answers that ask no store. False for a session whose end is not known here yet.
    pub fn remembers(&self, session: &ProviderSessionId) -> bool {
        self.memory.read().ended.contains_key(session.as_str())
    }
}

impl ChangeListener for Memory {
    fn changed(&self, change: &Change) {
        if let Change::Session(id) = change {
            let now = self.clock.now();
            self.write().ended.insert(id.clone(), now);
        }
    }

    fn missed(&self) {
        let mut list = self.write();
        list.read_at = None;
        list.missed += 1;
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Job, Principal, Unchecked};
    use portal_testkit::{FixedClock, SteeredFeed};

    use super::*;
    use crate::MockEndedSessionReader;

    fn cleared() -> Authorized<BuildPrincipal, Platform> {
        Unchecked::new(Platform).authorize(&Principal::System(Job::SignIn)).unwrap()
    }

    fn session(number: u8) -> ProviderSessionId {
        ProviderSessionId::parse(&format!("sess_{number}")).unwrap()
    }

    fn sessions(reader: MockEndedSessionReader, feed: &Arc<SteeredFeed>, clock: &Arc<FixedClock>) -> EndedSessions {
        EndedSessions::new(Arc::new(reader), feed.clone(), clock.clone())
    }

    #[tokio::test]
    async fn the_list_is_read_once_and_what_is_told_is_added() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let mut reader = MockEndedSessionReader::new();
        reader.expect_ended_since().times(1).returning(|_, _| Ok(vec!["sess_1".to_owned()]));
        let sessions = sessions(reader, &feed, &clock);
        assert!(!sessions.remembers(&session(1)), "nothing was read");
        assert!(sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap());
        assert!(!sessions.contains(&cleared(), &session(2), Some(clock.now())).await.unwrap());
        feed.tell(&Change::Session("sess_2".to_owned()));
        assert!(sessions.contains(&cleared(), &session(2), Some(clock.now())).await.unwrap());
        assert!(sessions.remembers(&session(2)));
    }

    #[tokio::test]
    async fn the_store_is_asked_while_the_feed_is_behind() {
        let (feed, clock) = (SteeredFeed::behind(), Arc::new(FixedClock::default()));
        let mut reader = MockEndedSessionReader::new();
        reader.expect_has_ended().times(2).returning(|_, id| Ok(id == session(1)));
        let sessions = sessions(reader, &feed, &clock);
        assert!(sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap());
        assert!(!sessions.contains(&cleared(), &session(2), Some(clock.now())).await.unwrap());
    }

    #[tokio::test]
    async fn the_list_is_read_anew_after_an_hour_and_when_changes_were_missed() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let mut reader = MockEndedSessionReader::new();
        reader.expect_ended_since().times(3).returning(|_, _| Ok(Vec::new()));
        let sessions = sessions(reader, &feed, &clock);
        sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap();
        clock.advance(LIST_LIFE);
        sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap();
        feed.miss();
        sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap();
        sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap();
    }

    #[tokio::test]
    async fn an_end_is_forgotten_after_a_day_and_not_before() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let mut reader = MockEndedSessionReader::new();
        reader.expect_ended_since().returning(|_, _| Ok(Vec::new()));
        let sessions = sessions(reader, &feed, &clock);
        feed.tell(&Change::Session("sess_1".to_owned()));
        clock.advance(REMEMBERED.saturating_sub(Duration::from_secs(1)));
        sessions.contains(&cleared(), &session(2), Some(clock.now())).await.unwrap();
        assert!(sessions.remembers(&session(1)));
        clock.advance(LIST_LIFE);
        sessions.contains(&cleared(), &session(2), Some(clock.now())).await.unwrap();
        assert!(!sessions.remembers(&session(1)));
    }

    #[tokio::test]
    async fn the_store_is_asked_about_a_token_that_is_older_than_the_memory() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let issued_at = clock.now();
        let mut reader = MockEndedSessionReader::new();
        reader.expect_has_ended().times(2).returning(|_, _| Ok(true));
        reader.expect_ended_since().times(1).returning(|_, _| Ok(Vec::new()));
        let sessions = sessions(reader, &feed, &clock);
        clock.advance(REMEMBERED);
        assert!(sessions.contains(&cleared(), &session(1), Some(issued_at)).await.unwrap());
        assert!(sessions.contains(&cleared(), &session(1), None).await.unwrap());
        assert!(!sessions.contains(&cleared(), &session(1), Some(clock.now())).await.unwrap());
    }
}
