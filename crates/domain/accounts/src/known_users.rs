//! People who were looked up a moment ago.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_identity::{ProviderOrganizationId, ProviderUserId};
use portal_kernel::{Change, ChangeFeed, ChangeListener, StoreError, UserId};
use quick_cache::sync::Cache;

use crate::{KnownUser, SignInReader, Standing};

/// A [`SignInReader`] that remembers, and answers from memory while the change feed is current.
pub struct KnownUsers {
    store: Arc<dyn SignInReader>,
    feed: Arc<dyn ChangeFeed>,
    memory: Arc<Memory>,
}

struct Memory {
    /// Bounded in number; keeps what is used.
    people: Cache<ProviderUserId, Arc<KnownUser>>,
    /// Counts what was heard of. Held for writing while something is forgotten, so that nothing is put in meanwhile.
    heard: RwLock<u64>,
}

impl KnownUsers {
    /// Remembers so many people at most.
    pub fn new(store: Arc<dyn SignInReader>, feed: Arc<dyn ChangeFeed>, most: usize) -> Self {
        let memory = Arc::new(Memory { people: Cache::new(most), heard: RwLock::new(0) });
        feed.subscribe(memory.clone());
        Self { store, feed, memory }
    }
}

#[async_trait]
impl SignInReader for KnownUsers {
    async fn find(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        if self.feed.is_current()
            && let Some(known) = self.memory.people.get(&id)
        {
            return Ok(Some(known));
        }
        let before = *self.memory.heard.read().unwrap_or_else(PoisonError::into_inner);
        let found = self.store.find(cleared, id.clone()).await?;
        if let Some(known) = &found {
            self.memory.remember(id, known, before);
        }
        Ok(found)
    }

    async fn standing(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        user: UserId,
        organization: ProviderOrganizationId,
    ) -> Result<Option<Standing>, StoreError> {
        self.store.standing(cleared, user, organization).await
    }
}

impl Memory {
    /// Not if anything was heard of since the look-up began: it might have been this.
    fn remember(&self, id: ProviderUserId, known: &Arc<KnownUser>, before: u64) {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        if *heard == before {
            self.people.insert(id, known.clone());
        }
    }

    fn forget(&self, meant: impl Fn(&KnownUser) -> bool) {
        let mut heard = self.heard.write().unwrap_or_else(PoisonError::into_inner);
        *heard += 1;
        self.people.retain(|_, known| !meant(known));
    }
}

impl ChangeListener for Memory {
    fn changed(&self, change: &Change) {
        match change {
            Change::User(user) => self.forget(|known| known.user.id == *user),
            Change::Account(account) => {
                self.forget(|known| known.memberships.iter().any(|member| member.account == *account));
            }
            Change::Key(_) | Change::ServiceToken(_) | Change::Session(_) | Change::Tokens { .. } => {}
        }
    }

    fn missed(&self) {
        self.forget(|_| true);
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Job, Principal, Unchecked};
    use portal_testkit::SteeredFeed;

    use super::*;
    use crate::MockSignInReader;
    use crate::testing::{known, session};

    fn store(reads: usize) -> Arc<MockSignInReader> {
        let mut store = MockSignInReader::new();
        store.expect_find().times(reads).returning(|_, _| Ok(Some(Arc::new(known(true)))));
        Arc::new(store)
    }

    async fn find(users: &KnownUsers) -> Option<Arc<KnownUser>> {
        let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::SignIn)).unwrap();
        users.find(&cleared, session().user_id).await.unwrap()
    }

    #[tokio::test]
    async fn a_person_is_read_once() {
        let users = KnownUsers::new(store(1), SteeredFeed::current(), 10);
        for _ in 0..3 {
            assert_eq!(find(&users).await.as_deref(), Some(&known(true)));
        }
    }

    #[tokio::test]
    async fn nothing_is_answered_from_memory_while_the_feed_is_behind() {
        let feed = SteeredFeed::current();
        let users = KnownUsers::new(store(3), feed.clone(), 10);
        find(&users).await;
        feed.set_current(false);
        find(&users).await;
        find(&users).await;
        feed.set_current(true);
        find(&users).await;
    }

    #[tokio::test]
    async fn a_change_of_the_person_or_of_an_account_of_theirs_is_forgotten_and_no_other() {
        let person = known(true);
        let other = "usr_00000000000000000000000099".parse().unwrap();
        for (change, reads) in [
            (Change::User(person.user.id), 2),
            (Change::Account(person.user.personal_account), 2),
            (Change::User(other), 1),
            (Change::Session("sess_1".to_owned()), 1),
            (Change::Tokens { of: Some("user_alice".to_owned()), before: person.user.created_at }, 1),
        ] {
            let feed = SteeredFeed::current();
            let users = KnownUsers::new(store(reads), feed.clone(), 10);
            find(&users).await;
            feed.tell(&change);
            find(&users).await;
        }
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_was_heard_of_is_not_remembered() {
        let feed = SteeredFeed::current();
        let mut store = MockSignInReader::new();
        let (heard, person) = (feed.clone(), known(true).user.id);
        store.expect_find().times(2).returning(move |_, _| {
            // The look-up is under way when the news arrive.
            heard.tell(&Change::User(person));
            Ok(Some(Arc::new(known(true))))
        });
        let users = KnownUsers::new(Arc::new(store), feed, 10);
        find(&users).await;
        find(&users).await;
    }

    #[tokio::test]
    async fn nobody_is_remembered_as_unknown() {
        let mut store = MockSignInReader::new();
        store.expect_find().times(2).returning(|_, _| Ok(None));
        let users = KnownUsers::new(Arc::new(store), SteeredFeed::current(), 10);
        assert!(find(&users).await.is_none());
        assert!(find(&users).await.is_none());
    }
}
