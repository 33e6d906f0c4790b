//! Sessions that ended, and moments before which tokens count no more: what they ended verifies for a while all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::lock::Mutex as Turnstile;
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_identity::{ProviderUserId, SessionAuth};
use portal_kernel::{Change, ChangeFeed, ChangeListener, Clock, StoreError, Timestamp};

use crate::ports::EndedSessionReader;

/// How long an ended session is remembered once the provider knows of the end: it makes no token after that, and hardly any lasts longer.
/// For one that does, the store is asked. Until the provider knows, the time of the end lies ahead, so that nobody forgets it.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How long a list is used before it is read anew, so that it does not grow forever.
const LIST_LIFE: Duration = Duration::from_hours(1);

/// How often the list is read at most before it is given up.
const READS: usize = 3;

/// A moment before which tokens count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Whose tokens; none for everybody's.
    pub person: Option<ProviderUserId>,
    /// The moment.
    pub before: Timestamp,
}

/// Whether a token was made before an epoch. Tokens tell no more than the second in which they were made. One of the epoch's own second
/// counts: it may be that of a new session, whose person would otherwise be signed out until the next token. The price is that a token
/// that was made in that second, and before the epoch, lives out its minute unless its session ended by name. A token that does not tell
/// when it was made is older than any epoch.
pub(crate) fn is_older(issued_at: Option<Timestamp>, epoch: Timestamp) -> bool {
    issued_at.is_none_or(|issued_at| issued_at.unix_seconds() < epoch.unix_seconds())
}

/// Answers from memory while the change feed is current, and from the store otherwise.
pub struct EndedSessions {
    store: Arc<dyn EndedSessionReader>,
    feed: Arc<dyn ChangeFeed>,
    memory: Arc<Memory>,
    /// Held by whoever reads the list.
    reading: Turnstile<()>,
    /// How often the list was read in vain.
    in_vain: AtomicU64,
}

struct Memory {
    list: RwLock<List>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct List {
    /// With the time at which they were heard of.
    ended: HashMap<String, Timestamp>,
    /// The epoch of each person, by the provider's id.
    people: HashMap<String, Timestamp>,
    /// The epoch of everybody.
    everybody: Option<Timestamp>,
    /// When all that had ended was read; none before that, and after changes were missed.
    read_at: Option<Timestamp>,
    /// How often changes were missed.
    missed: u64,
}

impl List {
    fn ends(&self, auth: &SessionAuth) -> bool {
        let session = auth.session_id.as_ref();
        // The later one of two epochs ends whatever the other one does.
        let epoch = self.people.get(auth.user_id.as_str()).copied().max(self.everybody);
        session.is_some_and(|session| self.ended.contains_key(session.as_str()))
            || epoch.is_some_and(|epoch| is_older(auth.issued_at, epoch))
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.read_at.is_some_and(|at| now.since(at) < LIST_LIFE)
    }

    fn advance(&mut self, person: Option<&str>, before: Timestamp) {
        match person {
            None => self.everybody = self.everybody.max(Some(before)),
            Some(person) => {
                let known = self.people.entry(person.to_owned()).or_insert(before);
                *known = before.max(*known);
            }
        }
    }

    fn forget_before(&mut self, now: Timestamp) {
        self.ended.retain(|_, heard| now.since(*heard) < REMEMBERED);
        self.people.retain(|_, before| now.since(*before) < REMEMBERED);
    }
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
    /// Nothing is read yet: [`Self::refresh`] does, or the first question.
    pub fn new(store: Arc<dyn EndedSessionReader>, feed: Arc<dyn ChangeFeed>, clock: Arc<dyn Clock>) -> Self {
        let memory = Arc::new(Memory { list: RwLock::default(), clock });
        feed.subscribe(memory.clone());
        Self { store, feed, memory, reading: Turnstile::default(), in_vain: AtomicU64::new(0) }
    }

    /// Whether a session is over, or its token too old, whatever the token says.
    pub async fn contains(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        auth: &SessionAuth,
    ) -> Result<bool, StoreError> {
        let now = self.memory.clock.now();
        let outlives_memory = auth.issued_at.is_none_or(|issued_at| now.since(issued_at) >= REMEMBERED);
        {
            let list = self.memory.read();
            if list.ends(auth) {
                return Ok(true);
            }
            if !outlives_memory && self.feed.is_current() && list.is_fresh(now) {
                return Ok(false);
            }
        }
        if outlives_memory || !self.feed.is_current() || !self.load(cleared).await? {
            return self.ask(cleared, auth).await;
        }
        Ok(self.memory.read().ends(auth))
    }

    /// The same for answers that ask no store: from memory, however old, once the list was read. It is read by the first question, and
    /// anew after changes were missed; while it cannot be, the answer is an error. May be false for a token that is older than the
    /// memory.
    pub async fn recalls(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        auth: &SessionAuth,
    ) -> Result<bool, StoreError> {
        if let Some(is_over) = self.recalled(auth) {
            return Ok(is_over);
        }
        // Nearly every question is answered above: whoever asks does not carry what the rest would need.
        Box::pin(self.load(cleared)).await?;
        let unknown = || StoreError::Unavailable("the list of ended sessions was not read".into());
        self.recalled(auth).ok_or_else(unknown)
    }

    /// As [`Self::recalls`], without a wait; none while the list was not read.
    pub(crate) fn recalled(&self, auth: &SessionAuth) -> Option<bool> {
        let list = self.memory.read();
        if list.ends(auth) { Some(true) } else { list.read_at.map(|_| false) }
    }

    /// Reads the list if it is missing or old and changes are heard of, so that nobody has to wait for it.
    pub async fn refresh(&self, cleared: &Authorized<BuildPrincipal, Platform>) -> Result<(), StoreError> {
        if !self.feed.is_current() || self.memory.read().is_fresh(self.memory.clock.now()) {
            return Ok(());
        }
        self.load(cleared).await.map(drop)
    }

    /// Reads the list, and answers whether it is there now. One does so at a time, and whoever waited for one who failed does not try
    /// again: a thousand requests would otherwise wait for a store that is away, one after the other.
    async fn load(&self, cleared: &Authorized<BuildPrincipal, Platform>) -> Result<bool, StoreError> {
        let failures = self.in_vain.load(Ordering::Acquire);
        let _turn = self.reading.lock().await;
        let now = self.memory.clock.now();
        if self.memory.read().is_fresh(now) {
            return Ok(true);
        }
        if self.in_vain.load(Ordering::Acquire) != failures {
            return Ok(false);
        }
        let outcome = self.read(cleared, now).await;
        if !matches!(outcome, Ok(true)) {
            self.in_vain.fetch_add(1, Ordering::AcqRel);
        }
        outcome
    }

    /// Anew if changes were missed meanwhile, as they are once when the feed begins.
    async fn read(&self, cleared: &Authorized<BuildPrincipal, Platform>, now: Timestamp) -> Result<bool, StoreError> {
        for _ in 0..READS {
            let (missed, since) = (self.memory.read().missed, now.minus(REMEMBERED));
            let ended = self.store.ended_since(cleared, since).await?;
            let epochs = self.store.epochs_since(cleared, since).await?;
            let mut list = self.memory.write();
            list.forget_before(now);
            list.ended.extend(ended.into_iter().map(|id| (id, now)));
            for Epoch { person, before } in epochs {
                list.advance(person.as_ref().map(ProviderUserId::as_str), before);
            }
            // Unless something was missed meanwhile, what was read and what was told are all there is.
            if list.missed == missed {
                list.read_at = Some(now);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The store itself, about this one.
    async fn ask(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        auth: &SessionAuth,
    ) -> Result<bool, StoreError> {
        if let Some(session) = &auth.session_id
            && self.store.has_ended(cleared, session.clone()).await?
        {
            return Ok(true);
        }
        let epoch = self.store.epoch_of(cleared, auth.user_id.clone()).await?;
        Ok(epoch.is_some_and(|epoch| is_older(auth.issued_at, epoch)))
    }
}

impl ChangeListener for Memory {
    fn changed(&self, change: &Change) {
        match change {
            Change::Session(id) => {
                let now = self.clock.now();
                self.write().ended.insert(id.clone(), now);
            }
            Change::Tokens { of, before } => self.write().advance(of.as_deref(), *before),
            Change::User(_) | Change::Account(_) | Change::Key(_) | Change::ServiceToken(_) => {}
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
    use futures_util::future::join_all;
    use portal_authz::{Job, Principal, Unchecked};
    use portal_identity::ProviderSessionId;
    use portal_testkit::{FixedClock, SteeredFeed};

    use super::*;
    use crate::MockEndedSessionReader;
    use crate::testing::SlowEndings;

    fn cleared() -> Authorized<BuildPrincipal, Platform> {
        Unchecked::new(Platform).authorize(&Principal::System(Job::SignIn)).unwrap()
    }

    /// A token of alice's, by the number of the session.
    fn token(number: u8, issued_at: Option<Timestamp>) -> SessionAuth {
        let session_id = ProviderSessionId::parse(&format!("sess_{number}")).ok();
        SessionAuth { session_id, issued_at, ..crate::testing::session() }
    }

    fn alice() -> ProviderUserId {
        crate::testing::session().user_id
    }

    fn at(second: u64) -> Timestamp {
        FixedClock::default().now().plus(Duration::from_secs(second))
    }

    fn sessions(reader: MockEndedSessionReader, feed: &Arc<SteeredFeed>, clock: &Arc<FixedClock>) -> EndedSessions {
        EndedSessions::new(Arc::new(reader), feed.clone(), clock.clone())
    }

    /// With lists that are read so often.
    fn listing(times: usize, ended: &'static [&str], epochs: &[Epoch]) -> MockEndedSessionReader {
        let (mut reader, epochs) = (MockEndedSessionReader::new(), epochs.to_vec());
        let ended: Vec<_> = ended.iter().map(ToString::to_string).collect();
        reader.expect_ended_since().times(times).returning(move |_, _| Ok(ended.clone()));
        reader.expect_epochs_since().times(times).returning(move |_, _| Ok(epochs.clone()));
        reader
    }

    fn gone() -> StoreError {
        StoreError::Unavailable("gone".into())
    }

    #[tokio::test]
    async fn the_list_is_read_once_and_what_is_told_is_added() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let sessions = sessions(listing(1, &["sess_1"], &[]), &feed, &clock);
        let is_over = async |number| {
            let token = token(number, Some(clock.now()));
            let over = sessions.contains(&cleared(), &token).await.unwrap();
            assert_eq!(sessions.recalls(&cleared(), &token).await.unwrap(), over);
            over
        };
        assert!(is_over(1).await);
        assert!(!is_over(2).await);
        feed.tell(&Change::Session("sess_2".to_owned()));
        assert!(is_over(2).await);
    }

    #[tokio::test]
    async fn the_store_is_asked_while_the_feed_is_behind() {
        let (feed, clock) = (SteeredFeed::behind(), Arc::new(FixedClock::default()));
        let mut reader = MockEndedSessionReader::new();
        reader.expect_has_ended().times(3).returning(|_, id| Ok(id.as_str() == "sess_1"));
        reader.expect_epoch_of().times(2).returning(|_, _| Ok(Some(at(100))));
        let sessions = sessions(reader, &feed, &clock);
        clock.advance(Duration::from_secs(100));
        assert!(sessions.contains(&cleared(), &token(1, Some(at(100)))).await.unwrap());
        assert!(!sessions.contains(&cleared(), &token(2, Some(at(100)))).await.unwrap());
        assert!(sessions.contains(&cleared(), &token(2, Some(at(99)))).await.unwrap());
    }

    #[tokio::test]
    async fn the_list_is_read_anew_after_an_hour_and_when_changes_were_missed() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let sessions = sessions(listing(4, &[], &[]), &feed, &clock);
        let ask = async || sessions.contains(&cleared(), &token(1, Some(clock.now()))).await.unwrap();
        ask().await;
        clock.advance(LIST_LIFE);
        ask().await;
        feed.miss();
        ask().await;
        ask().await;
        feed.miss();
        sessions.refresh(&cleared()).await.unwrap();
        sessions.refresh(&cleared()).await.unwrap();
        ask().await;
    }

    #[tokio::test]
    async fn an_end_is_forgotten_after_a_day_and_not_before() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let sessions = sessions(listing(3, &[], &[]), &feed, &clock);
        feed.tell(&Change::Session("sess_1".to_owned()));
        feed.tell(&Change::Tokens { of: Some("user_bob".to_owned()), before: clock.now() });
        let known = || (sessions.memory.read().ended.len(), sessions.memory.read().people.len());
        for (later, expected) in
            [(Duration::ZERO, (1, 1)), (REMEMBERED.saturating_sub(Duration::from_secs(1)), (1, 1)), (LIST_LIFE, (0, 0))]
        {
            clock.advance(later);
            sessions.contains(&cleared(), &token(2, Some(clock.now()))).await.unwrap();
            assert_eq!(known(), expected);
        }
    }

    #[tokio::test]
    async fn the_store_is_asked_about_a_token_that_is_older_than_the_memory() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let mut reader = listing(1, &[], &[]);
        reader.expect_has_ended().times(2).returning(|_, _| Ok(true));
        let sessions = sessions(reader, &feed, &clock);
        clock.advance(REMEMBERED);
        assert!(sessions.contains(&cleared(), &token(1, Some(at(0)))).await.unwrap());
        assert!(sessions.contains(&cleared(), &token(1, None)).await.unwrap());
        assert!(!sessions.contains(&cleared(), &token(1, Some(clock.now()))).await.unwrap());
    }

    #[test]
    fn a_token_of_the_second_of_an_epoch_counts_and_one_that_tells_no_time_does_not() {
        let epoch = at(10).plus(Duration::from_millis(900));
        for (issued_at, expected) in [
            (None, true),
            (Some(at(9)), true),
            (Some(at(10)), false),
            (Some(at(10).plus(Duration::from_millis(950))), false),
            (Some(at(11)), false),
        ] {
            assert_eq!(is_older(issued_at, epoch), expected, "{issued_at:?}");
        }
    }

    #[tokio::test]
    async fn each_epoch_ends_by_itself_and_the_later_one_counts() {
        let everybody = |second| Epoch { person: None, before: at(second) };
        let hers = |second| Epoch { person: Some(alice()), before: at(second) };
        let bobs = Epoch { person: ProviderUserId::parse("user_bob").ok(), before: at(90) };
        for (epochs, older, as_new) in [
            (vec![everybody(20)], 19, 20),
            (vec![hers(20)], 19, 20),
            (vec![hers(20), everybody(30)], 29, 30),
            (vec![hers(30), everybody(20), bobs.clone()], 29, 30),
            (vec![hers(30), hers(20)], 29, 30),
            (vec![everybody(30), everybody(20)], 29, 30),
        ] {
            for told in [false, true] {
                let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
                let read = if told { &[] } else { epochs.as_slice() };
                let sessions = sessions(listing(1, &[], read), &feed, &clock);
                clock.advance(Duration::from_secs(100));
                sessions.refresh(&cleared()).await.unwrap();
                for Epoch { person, before } in epochs.iter().filter(|_| told) {
                    feed.tell(&Change::Tokens { of: person.as_ref().map(ToString::to_string), before: *before });
                }
                for (issued_at, expected) in [(Some(at(older)), true), (Some(at(as_new)), false), (None, true)] {
                    let token = SessionAuth { session_id: None, ..token(1, issued_at) };
                    let over = sessions.memory.read().ends(&token);
                    assert_eq!(over, expected, "{epochs:?} {told} {issued_at:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn many_questions_read_the_list_once() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let slow = SlowEndings::new(|| Ok(vec!["sess_1".to_owned()]));
        let sessions = EndedSessions::new(slow.clone(), feed, clock.clone());
        let ask = || async { sessions.contains(&cleared(), &token(1, Some(clock.now()))).await.unwrap() };
        assert_eq!(join_all((0..100).map(|_| ask())).await, [true; 100]);
        assert_eq!(slow.lists.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn whoever_waited_for_a_list_that_was_not_read_does_not_read_it_again() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let slow = SlowEndings::new(|| Err(gone()));
        let sessions = EndedSessions::new(slow.clone(), feed, clock.clone());
        let ask = || async { sessions.contains(&cleared(), &token(1, Some(clock.now()))).await };
        let answers = join_all((0..100).map(|_| ask())).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1, "the others asked about theirs alone");
        let recalled = sessions.recalls(&cleared(), &token(1, Some(clock.now()))).await;
        assert!(matches!(recalled, Err(StoreError::Unavailable(_))), "nobody is called signed in before it is known");
        assert_eq!(slow.lists.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_list_is_read_anew_if_changes_were_missed_meanwhile() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let (mut reader, news, mut reads) = (MockEndedSessionReader::new(), feed.clone(), 0);
        reader.expect_ended_since().times(2).returning(move |_, _| {
            reads += 1;
            if reads == 1 {
                news.miss();
            }
            Ok(Vec::new())
        });
        reader.expect_epochs_since().times(2).returning(|_, _| Ok(Vec::new()));
        let sessions = sessions(reader, &feed, &clock);
        assert!(!sessions.recalls(&cleared(), &token(1, Some(clock.now()))).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_recalled_is_not_read_again_until_changes_were_missed() {
        let (feed, clock) = (SteeredFeed::current(), Arc::new(FixedClock::default()));
        let sessions = sessions(listing(2, &["sess_1"], &[]), &feed, &clock);
        let recall = async |number| sessions.recalls(&cleared(), &token(number, Some(clock.now()))).await.unwrap();
        assert!(recall(1).await);
        feed.set_current(false);
        clock.advance(LIST_LIFE);
        assert!(!recall(2).await, "an outage signs nobody out");
        feed.miss();
        assert!(!recall(2).await);
    }
}
