//! Doubles and samples of this crate's unit tests.

pub(crate) mod memory;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portal_audit::{AuditLog, Caller, MockAuditLog, Provenance};
use portal_authz::action::BuildPrincipal;
use portal_authz::{Authorized, Job, Platform, Principal, Role};
use portal_identity::{
    ActiveOrganization, ProviderOrganizationId, ProviderSessionId, ProviderUser, ProviderUserId, SessionAuth,
};
use portal_kernel::{Begin, Change, ChangeLog, Clock, Finish, StoreError, Timestamp};
use portal_testkit::FixedClock;

use crate::ports::{
    AccountRepository, AccountsTx, EndedSessionReader, Merging, ProviderIds, ScanCursors, SessionEpochs,
    SessionSightings, UnconfirmedEnds, UnconfirmedMembers, UserRepository, WebhookInbox,
};
use crate::{
    Epoch, KnownMembership, KnownUser, MockAccountRepository, MockProviderIds, MockScanCursors, MockSessionEpochs,
    MockSessionSightings, MockUnconfirmedEnds, MockUnconfirmedMembers, MockUserRepository, MockWebhookInbox,
    PersonalSettings, UnconfirmedEndCount, User, UserState, Versioned,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Committed,
    RolledBack,
}

#[derive(Default)]
pub(crate) struct MockTx {
    pub(crate) provider_ids: MockProviderIds,
    pub(crate) epochs: MockSessionEpochs,
    pub(crate) unconfirmed_ends: MockUnconfirmedEnds,
    pub(crate) sightings: MockSessionSightings,
    pub(crate) users: MockUserRepository,
    pub(crate) accounts: MockAccountRepository,
    pub(crate) unconfirmed: MockUnconfirmedMembers,
    pub(crate) scans: MockScanCursors,
    pub(crate) inbox: MockWebhookInbox,
    pub(crate) audit: MockAuditLog,
    pub(crate) changes: Vec<Change>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl AccountsTx for MockTx {
    fn provider_ids(&mut self) -> &mut dyn ProviderIds {
        &mut self.provider_ids
    }

    fn epochs(&mut self) -> &mut dyn SessionEpochs {
        &mut self.epochs
    }

    fn unconfirmed_ends(&mut self) -> &mut dyn UnconfirmedEnds {
        &mut self.unconfirmed_ends
    }

    fn sightings(&mut self) -> &mut dyn SessionSightings {
        &mut self.sightings
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        &mut self.users
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        &mut self.accounts
    }

    fn unconfirmed(&mut self) -> &mut dyn UnconfirmedMembers {
        &mut self.unconfirmed
    }

    fn scans(&mut self) -> &mut dyn ScanCursors {
        &mut self.scans
    }

    fn inbox(&mut self) -> &mut dyn WebhookInbox {
        &mut self.inbox
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        &mut self.audit
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

#[async_trait]
impl ChangeLog for MockTx {
    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.changes.push(change);
        Ok(())
    }
}

#[async_trait]
impl Finish for MockTx {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.endings.lock().unwrap().push(Ending::Committed);
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        self.endings.lock().unwrap().push(Ending::RolledBack);
        Ok(())
    }
}

/// Hands out the prepared transactions in order, and remembers how each ended.
pub(crate) struct MockAccountsStore {
    prepared: Mutex<VecDeque<MockTx>>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl MockAccountsStore {
    pub(crate) fn new(prepared: impl IntoIterator<Item = MockTx>) -> Self {
        Self { prepared: Mutex::new(prepared.into_iter().collect()), endings: Arc::default() }
    }

    pub(crate) fn endings(&self) -> Vec<Ending> {
        self.endings.lock().unwrap().clone()
    }
}

#[async_trait]
impl Begin<dyn AccountsTx> for MockAccountsStore {
    async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
        let mut tx = self.prepared.lock().unwrap().pop_front().expect("no further transaction was expected");
        tx.endings = self.endings.clone();
        Ok(Box::new(tx))
    }
}

/// The program itself, when somebody signs in.
pub(crate) fn signing_in() -> Caller {
    Caller { principal: Principal::System(Job::SignIn), provenance: Provenance::default() }
}

pub(crate) fn session() -> SessionAuth {
    SessionAuth {
        user_id: ProviderUserId::parse("user_alice").unwrap(),
        session_id: Some(ProviderSessionId::parse("sess_alice").unwrap()),
        session_status: None,
        actor: None,
        organization: None,
        factor_verification_age: None,
        features: Vec::new(),
        plans: Vec::new(),
        issued_at: Some(FixedClock::default().now()),
        expires_at: FixedClock::default().now(),
        lenient_questions: false,
    }
}

pub(crate) fn organization(role: &str) -> ActiveOrganization {
    ActiveOrganization {
        id: ProviderOrganizationId::parse("org_acme").unwrap(),
        slug: None,
        role: Some(role.to_owned()),
        permissions: Vec::new(),
    }
}

pub(crate) fn provider_user() -> ProviderUser {
    ProviderUser {
        id: session().user_id,
        email: Some("alice@example.test".to_owned()),
        email_verified: true,
        first_name: Some("Alice".to_owned()),
        last_name: None,
        image_url: None,
        banned: false,
        updated_at: FixedClock::default().now(),
    }
}

pub(crate) fn known(with_profile: bool) -> KnownUser {
    let personal_account = "acc_00000000000000000000000001".parse().unwrap();
    let now = FixedClock::default().now();
    KnownUser {
        user: User {
            id: "usr_00000000000000000000000001".parse().unwrap(),
            provider_id: session().user_id,
            personal_account,
            state: UserState::Active,
            copy: with_profile.then(|| Versioned { content: provider_user().into(), version: now, doubtful: false }),
            settings: PersonalSettings::default(),
            asked_at: None,
            memberships_asked_at: None,
            created_at: now,
        },
        memberships: vec![KnownMembership {
            account: personal_account,
            role: Some(Role::Owner),
            provider_role: None,
            provider_organization: None,
        }],
    }
}

/// A store that lets others go on while it answers.
pub(crate) struct SlowEndings {
    answer: fn() -> Result<Vec<String>, StoreError>,
    pub(crate) lists: AtomicU64,
}

impl SlowEndings {
    pub(crate) fn new(answer: fn() -> Result<Vec<String>, StoreError>) -> Arc<Self> {
        Arc::new(Self { answer, lists: AtomicU64::new(0) })
    }
}

#[async_trait]
impl EndedSessionReader for SlowEndings {
    async fn ended_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        (self.answer)()
    }

    async fn has_ended(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: ProviderSessionId,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn epochs_since(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: Timestamp,
    ) -> Result<Vec<Epoch>, StoreError> {
        Ok(Vec::new())
    }

    async fn epoch_of(
        &self,
        _: &Authorized<BuildPrincipal, Platform>,
        _: ProviderUserId,
    ) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn unconfirmed(&self, _: &Merging) -> Result<UnconfirmedEndCount, StoreError> {
        Ok(UnconfirmedEndCount::default())
    }
}
