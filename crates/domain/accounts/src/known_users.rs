//! People who were looked up a moment ago.

use std::sync::Arc;

use async_trait::async_trait;
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Platform};
use portal_identity::{ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Change, ChangeFeed, StoreError, UserId};
use portal_memory::{Memory, Remembered};

use crate::{KnownUser, SignInReader, Standing};

/// A [`SignInReader`] that remembers, and answers from memory while the change feed is current.
pub struct KnownUsers {
    store: Arc<dyn SignInReader>,
    people: Memory<KnownUser>,
}

/// What a known person depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The person.
    User(UserId),
    /// An account they belong to.
    Account(AccountId),
}

impl Remembered for KnownUser {
    type Key = ProviderUserId;
    type Topic = Topic;

    fn topics(&self) -> Vec<Topic> {
        let accounts = self.memberships.iter().map(|member| Topic::Account(member.account));
        std::iter::once(Topic::User(self.user.id)).chain(accounts).collect()
    }

    fn topics_of(change: &Change) -> Vec<Topic> {
        match change {
            Change::User(user) => vec![Topic::User(*user)],
            Change::Account(account) => vec![Topic::Account(*account)],
            Change::Key(_) | Change::ServiceToken(_) | Change::Session(_) | Change::Tokens { .. } => Vec::new(),
        }
    }
}

impl KnownUsers {
    /// Remembers so many people at most.
    pub fn new(store: Arc<dyn SignInReader>, feed: Arc<dyn ChangeFeed>, most: usize) -> Self {
        Self { store, people: Memory::new(feed, most) }
    }
}

#[async_trait]
impl SignInReader for KnownUsers {
    async fn find(
        &self,
        cleared: &Authorized<BuildPrincipal, Platform>,
        id: ProviderUserId,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        if let Some(known) = self.people.get(&id) {
            return Ok(Some(known));
        }
        let since = self.people.now();
        let found = self.store.find(cleared, id.clone()).await?;
        if let Some(known) = &found {
            self.people.remember(id, known.clone(), since);
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
