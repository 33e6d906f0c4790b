//! Scans against a store in memory and a provider whose lists are prepared.

mod detours;

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use portal_audit::Provenance;
use portal_identity::{Listed, ProviderMembership, ProviderOrganization, ProviderUser};
use portal_testkit::{CountingIds, FixedClock};

use super::reading::MOST_IN_A_ROW;
use super::*;
use crate::RoleMap;
use crate::testing::memory::MemoryStore;
use crate::testing::provider_user;

/// What the provider knows, and how its lists fail.
#[derive(Default)]
struct Provider {
    users: Vec<ProviderUser>,
    organizations: Vec<ProviderOrganization>,
    members: BTreeMap<String, Vec<ProviderMembership>>,
    /// Left out of the lists, though there.
    hidden: Vec<String>,
    unreadable: usize,
    /// Questions until the provider is down.
    answers: Option<usize>,
    /// The lists fail from there on: people, and organizations.
    fails_from: [Option<usize>; 2],
    /// What reaches over there fails.
    fails_at: [Option<usize>; 2],
    /// Organizations whose members cannot be listed.
    closed: Vec<String>,
    /// Questions that are answered before the next one is to be put off.
    patience: Option<usize>,
    /// How long each question takes.
    takes: Duration,
    /// How many records it lists at once, if not two.
    at_once: Option<usize>,
}

struct Listing(Mutex<Provider>, Arc<FixedClock>);

const PAGE: usize = 2;

impl Listing {
    /// Every question takes its time, and may be one too many.
    async fn wait(&self) -> Result<(), DirectoryError> {
        // Others get their turn.
        tokio::task::yield_now().await;
        let mut provider = self.0.lock().unwrap();
        self.1.advance(provider.takes);
        if let Some(left) = &mut provider.patience {
            *left = left.checked_sub(1).ok_or(DirectoryError::RateLimited { retry_after: None })?;
        }
        Ok(())
    }

    fn page<T: Clone>(
        &self,
        all: impl Fn(&Provider) -> Vec<(String, T)>,
        (offset, most): (usize, usize),
        list: usize,
    ) -> Result<Listed<T>, DirectoryError> {
        let mut provider = self.0.lock().unwrap();
        let asked = offset..offset.saturating_add(provider.at_once.unwrap_or(PAGE).min(most));
        let fails = provider.fails_at[list].is_some_and(|at| asked.contains(&at));
        if fails || provider.fails_from[list].is_some_and(|from| offset >= from) {
            return Err(DirectoryError::Malformed("no list".into()));
        }
        if let Some(left) = &mut provider.answers {
            *left = left.checked_sub(1).ok_or_else(|| DirectoryError::Unavailable("down".into()))?;
        }
        let shown: Vec<T> =
            all(&provider).into_iter().filter(|(id, _)| !provider.hidden.contains(id)).map(|(_, item)| item).collect();
        let items: Vec<T> = shown.iter().skip(offset).take(asked.len()).cloned().collect();
        let next = (offset + items.len() < shown.len()).then_some(offset + items.len());
        Ok(Listed { items, unreadable: provider.unreadable, next })
    }
}

#[async_trait]
impl DirectoryListing for Listing {
    async fn users(&self, offset: usize, most: usize) -> Result<Listed<ProviderUser>, DirectoryError> {
        self.wait().await?;
        let all = |provider: &Provider| provider.users.iter().map(|user| (user.id.to_string(), user.clone())).collect();
        self.page(all, (offset, most), 0)
    }

    async fn organizations(&self, offset: usize, most: usize) -> Result<Listed<ProviderOrganization>, DirectoryError> {
        self.wait().await?;
        let all = |provider: &Provider| {
            provider.organizations.iter().map(|found| (found.id.to_string(), found.clone())).collect()
        };
        self.page(all, (offset, most), 1)
    }

    async fn members(
        &self,
        id: &ProviderOrganizationId,
        offset: usize,
    ) -> Result<Listed<ProviderMembership>, DirectoryError> {
        self.wait().await?;
        let provider = self.0.lock().unwrap();
        if provider.closed.iter().any(|closed| closed == id.as_str()) {
            return Err(DirectoryError::Unavailable("500".into()));
        }
        let all = provider.members.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let items: Vec<_> = all.iter().skip(offset).take(PAGE).cloned().collect();
        let next = offset + items.len();
        Ok(Listed { items, unreadable: 0, next: (next < all.len()).then_some(next) })
    }

    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError> {
        Ok(self.0.lock().unwrap().users.iter().find(|user| user.id == *id).cloned())
    }

    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
        let provider = self.0.lock().unwrap();
        Ok(provider.members.values().flatten().filter(|member| member.user == *id).cloned().collect())
    }

    async fn organization(&self, id: &ProviderOrganizationId) -> Result<Option<ProviderOrganization>, DirectoryError> {
        Ok(self.0.lock().unwrap().organizations.iter().find(|found| found.id == *id).cloned())
    }
}

struct World {
    listing: Arc<Listing>,
    store: MemoryStore,
    clock: Arc<FixedClock>,
    reconciler: Reconciler,
}

fn user(number: usize) -> ProviderUser {
    ProviderUser { id: ProviderUserId::parse(&format!("user_{number}")).unwrap(), ..provider_user() }
}

fn organization() -> ProviderOrganization {
    organization_of(1)
}

fn organization_of(number: usize) -> ProviderOrganization {
    ProviderOrganization {
        id: ProviderOrganizationId::parse(&format!("org_{number}")).unwrap(),
        name: "Acme".to_owned(),
        created_by: Some(user(0).id),
        updated_at: provider_user().updated_at,
    }
}

fn member(number: usize) -> ProviderMembership {
    ProviderMembership {
        id: ProviderMembershipId::parse(&format!("orgmem_{number}")).unwrap(),
        organization: organization(),
        user: user(number).id,
        role: "org:admin".to_owned(),
        updated_at: provider_user().updated_at,
    }
}

/// Five people, of whom three are in an organization.
fn provider() -> Provider {
    Provider {
        users: (0..5).map(user).collect(),
        organizations: vec![organization()],
        members: [("org_1".to_owned(), (0..3).map(member).collect())].into(),
        ..Provider::default()
    }
}

impl World {
    fn new() -> Self {
        let (store, clock) = (MemoryStore::default(), Arc::new(FixedClock::default()));
        let listing = Arc::new(Listing(Mutex::new(provider()), clock.clone()));
        let facts = Facts { role_map: RoleMap::default(), ids: Arc::new(CountingIds::default()), clock: clock.clone() };
        let reconciler = Reconciler {
            listing: listing.clone(),
            reader: Arc::new(store.clone()),
            store: Arc::new(store.clone()),
            facts: Arc::new(facts),
            health: Arc::default(),
        };
        Self { listing, store, clock, reconciler }
    }

    /// Another process over the same store.
    fn replica(&self) -> Reconciler {
        let Reconciler { listing, reader, store, facts, .. } = &self.reconciler;
        Reconciler {
            listing: listing.clone(),
            reader: reader.clone(),
            store: store.clone(),
            facts: facts.clone(),
            health: Arc::default(),
        }
    }

    fn at_the_provider(&self, change: impl FnOnce(&mut Provider)) {
        change(&mut self.listing.0.lock().unwrap());
        // What is here must be older than the scan that misses it.
        self.clock.advance(Duration::from_secs(1));
    }

    async fn run(&self, options: ReconcileOptions) -> Result<ReconcileReport, ReconcileError> {
        let caller = Caller { principal: Principal::System(Job::Operator), provenance: Provenance::default() };
        self.reconciler.run(&caller, options).await
    }

    async fn scan(&self) -> ReconcileReport {
        self.run(ReconcileOptions::default()).await.unwrap()
    }

    /// People who are not deleted, organizations that are not, and memberships in them.
    async fn counts(&self) -> (usize, usize, usize) {
        let rows = self.store.rows.lock().await;
        let people = rows.users.values().filter(|user| user.copy.is_some()).count();
        let members = rows.memberships.values().filter(|member| member.copy.is_some()).count();
        (people, rows.organizations.len() - rows.deleted.len(), members)
    }
}

fn tally(read: usize, changed: usize, gone: usize) -> Tally {
    Tally { read, changed, gone }
}

#[tokio::test]
async fn the_first_scan_brings_everything_and_the_second_finds_nothing_to_do() {
    let world = World::new();
    let first = world.scan().await;
    assert!(first.complete && first.is_finished());
    assert_eq!((first.users, first.organizations, first.memberships), (tally(5, 5, 0), tally(1, 1, 0), tally(3, 3, 0)));
    assert_eq!(world.counts().await, (5, 1, 3));
    world.clock.advance(Duration::from_secs(1));
    let second = world.scan().await;
    assert_eq!((second.drift(), second.differences), (0, Vec::new()));
    assert_eq!(world.store.rows.lock().await.cursor.unwrap().position, ScanPosition::Idle);
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let world = World::new();
    let report = world.run(ReconcileOptions { dry_run: true, ..ReconcileOptions::default() }).await.unwrap();
    assert_eq!((report.drift(), report.differences.len()), (9, 9));
    let rows = world.store.rows.lock().await;
    assert!(rows.users.is_empty() && rows.organizations.is_empty() && rows.cursor.is_none());
}

#[tokio::test]
async fn what_is_gone_at_the_provider_goes_here() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| {
        provider.users.remove(4);
        provider.members.get_mut("org_1").unwrap().remove(2);
    });
    let report = world.scan().await;
    assert_eq!((report.users.gone, report.organizations.gone, report.memberships.gone), (1, 0, 1));
    assert_eq!(world.counts().await, (4, 1, 2));
    world.at_the_provider(|provider| {
        provider.organizations.clear();
        provider.members.clear();
    });
    let report = world.scan().await;
    assert_eq!(report.organizations.gone, 1);
    assert_eq!(world.counts().await, (4, 0, 0));
}

#[tokio::test]
async fn what_a_list_left_out_is_asked_for_and_stays() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| provider.hidden = vec!["user_1".to_owned(), "org_1".to_owned()]);
    let report = world.scan().await;
    assert_eq!((report.users.gone, report.organizations.gone, report.memberships.gone), (0, 0, 0));
    assert_eq!(world.counts().await, (5, 1, 3));
}

#[tokio::test]
async fn nothing_is_removed_while_a_record_cannot_be_read() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| {
        provider.users.remove(4);
        provider.unreadable = 1;
    });
    let report = world.scan().await;
    assert!(report.unusable > 0);
    assert_eq!(world.counts().await, (5, 1, 3));
}

#[tokio::test]
async fn more_than_is_believed_is_removed_only_when_it_is_allowed() {
    let world = World::new();
    world.at_the_provider(|provider| provider.users = (0..30).map(user).collect());
    world.scan().await;
    world.at_the_provider(|provider| provider.users.truncate(10));
    let report = world.scan().await;
    assert_eq!((report.too_many_missing, report.users.gone), (Some(20), 0));
    assert_eq!(world.counts().await.0, 30);
    let report = world.run(ReconcileOptions { most_removals: Some(20), ..ReconcileOptions::default() }).await.unwrap();
    assert_eq!((report.too_many_missing, report.users.gone), (None, 20));
    assert_eq!(world.counts().await.0, 10);
}

#[tokio::test]
async fn a_provider_that_knows_nobody_here_is_another_one() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| *provider = Provider { users: vec![user(77)], ..Provider::default() });
    let report = world.scan().await;
    assert_eq!((report.too_many_missing, report.users.gone), (Some(6), 0), "members go with their organization");
    assert_eq!(world.counts().await, (6, 1, 3));
}

#[tokio::test]
async fn of_two_scans_at_once_one_is_busy() {
    let world = World::new();
    let (one, other) = tokio::join!(world.run(ReconcileOptions::default()), world.run(ReconcileOptions::default()));
    let busy = [&one, &other].iter().filter(|outcome| matches!(outcome, Err(ReconcileError::Busy(_)))).count();
    assert_eq!((busy, one.is_ok() || other.is_ok()), (1, true), "{one:?} {other:?}");
}

#[tokio::test]
async fn a_scan_that_broke_off_is_gone_on_with_and_removes_nothing() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| {
        provider.users.remove(0);
        provider.answers = Some(1);
    });
    let broken = world.run(ReconcileOptions::default()).await.unwrap_err();
    assert!(matches!(broken, ReconcileError::Directory(_)));
    assert_eq!(world.store.rows.lock().await.cursor.unwrap().position, ScanPosition::Users(PAGE));
    let early = world.run(ReconcileOptions::default()).await.unwrap_err();
    assert!(matches!(early, ReconcileError::Busy(_)), "somebody may still be at it");
    assert_eq!(world.reconciler.run_if_due(Duration::ZERO).await.unwrap(), None);
    world.at_the_provider(|provider| provider.answers = None);
    world.clock.advance(GIVEN_UP);
    let rest = world.scan().await;
    assert!(!rest.complete);
    assert_eq!((rest.users.read, rest.users.gone), (2, 0));
    let whole = world.scan().await;
    assert_eq!((whole.complete, whole.users.read, whole.users.gone), (true, 4, 1));
}

#[tokio::test]
async fn a_part_that_fails_again_and_again_is_left_out_and_nothing_is_removed() {
    let singly = |place: fn(usize) -> ScanPosition, from: usize| {
        let last = from + usize::try_from(MOST_IN_A_ROW).unwrap() - 1;
        let records = (from..last).map(|at| LeftOut::Record(place(at)));
        records.chain([LeftOut::Rest(place(last))]).collect::<Vec<_>>()
    };
    for (fails_from, people, organizations, left_out) in [
        ([Some(2), None], 2, 1, singly(ScanPosition::Users, 2)),
        ([None, Some(0)], 5, 0, singly(ScanPosition::Organizations, 0)),
        ([Some(0), Some(0)], 0, 0, singly(ScanPosition::Organizations, 0)),
    ] {
        let world = World::new();
        world.at_the_provider(|provider| provider.fails_from = fails_from);
        let mut failures = 0;
        let report = loop {
            match world.run(ReconcileOptions::default()).await {
                Ok(report) => break report,
                Err(ReconcileError::Directory(_)) => failures += 1,
                Err(error) => panic!("{error:?}"),
            }
            world.clock.advance(GIVEN_UP);
        };
        let kinds = u32::try_from(fails_from.iter().flatten().count()).unwrap();
        assert_eq!(failures, (MOST_FAILURES - 1) * kinds, "{fails_from:?}");
        assert_eq!(report.left_out, left_out, "{fails_from:?}");
        assert!(!report.complete && !report.is_finished());
        let (seen_people, seen_organizations, _) = world.counts().await;
        // Members bring people whose own records were left out.
        assert!(seen_people >= people && seen_organizations == organizations, "{fails_from:?}");
        let cursor = world.store.rows.lock().await.cursor.unwrap();
        assert_eq!((cursor.position, cursor.failures, cursor.last_complete), (ScanPosition::Idle, 0, None));
        // Once it can be read, the next scan reads everything.
        world.at_the_provider(|provider| provider.fails_from = [None, None]);
        assert!(world.scan().await.is_finished());
        assert_eq!(world.counts().await, (5, 1, 3));
    }
}

#[tokio::test]
async fn a_part_that_is_left_out_in_a_whole_scan_removes_nobody() {
    let world = World::new();
    world.scan().await;
    world.at_the_provider(|provider| {
        provider.users.remove(0);
        provider.fails_from = [Some(0), None];
    });
    for _ in 1..MOST_FAILURES {
        assert!(world.run(ReconcileOptions::default()).await.is_err());
        world.clock.advance(GIVEN_UP);
    }
    let report = world.scan().await;
    assert_eq!((report.complete, report.users.gone), (false, 0));
    assert!(matches!(report.left_out.last(), Some(LeftOut::Rest(ScanPosition::Users(_)))));
    assert_eq!(world.counts().await.0, 5);
}

#[tokio::test]
async fn a_part_that_is_read_at_last_starts_the_count_anew() {
    let world = World::new();
    world.at_the_provider(|provider| provider.fails_from = [Some(2), None]);
    for _ in 1..MOST_FAILURES {
        assert!(world.run(ReconcileOptions::default()).await.is_err());
        world.clock.advance(GIVEN_UP);
    }
    world.at_the_provider(|provider| provider.fails_from = [Some(4), None]);
    assert!(world.run(ReconcileOptions::default()).await.is_err());
    let cursor = world.store.rows.lock().await.cursor.unwrap();
    assert_eq!((cursor.position, cursor.failures), (ScanPosition::Users(4), 1));
}

#[tokio::test]
async fn what_the_last_complete_scan_mended_is_known_to_every_replica() {
    let world = World::new();
    assert_eq!((world.reconciler.health.drift(), world.reconciler.health.last_complete()), (0, 0));
    world.scan().await;
    let ended = u64::try_from(world.clock.now().unix_seconds()).unwrap();
    assert_eq!((world.reconciler.health.drift(), world.reconciler.health.last_complete()), (9, ended));
    // One that could not use a record says nothing about what was lost.
    world.at_the_provider(|provider| provider.unreadable = 1);
    world.scan().await;
    assert_eq!((world.reconciler.health.drift(), world.reconciler.health.last_complete()), (9, ended));
    let other = World { store: world.store.clone(), ..World::new() };
    let replica = Reconciler { reader: Arc::new(other.store.clone()), ..other.reconciler };
    replica.recall().await.unwrap();
    assert_eq!((replica.health.drift(), replica.health.last_complete()), (9, ended));
    world.at_the_provider(|provider| provider.unreadable = 0);
    world.scan().await;
    assert_eq!((world.reconciler.health.drift(), world.reconciler.health.last_complete()), (0, ended + 2));
}

#[tokio::test]
async fn a_scan_is_due_when_the_last_one_is_long_ago() {
    let world = World::new();
    let every = Duration::from_hours(1);
    assert!(world.reconciler.run_if_due(every).await.unwrap().is_some());
    world.clock.advance(Duration::from_mins(59));
    assert_eq!(world.reconciler.run_if_due(every).await.unwrap(), None);
    world.clock.advance(Duration::from_mins(1));
    assert!(world.reconciler.run_if_due(every).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_scans_who_may_not() {
    let caller = Caller { principal: Principal::System(Job::SignIn), provenance: Provenance::default() };
    let refused = World::new().reconciler.run(&caller, ReconcileOptions::default()).await.unwrap_err();
    assert!(matches!(refused, ReconcileError::Denied(_)));
}

#[test]
fn a_position_is_read_back_as_written() {
    for position in [ScanPosition::Idle, ScanPosition::Users(0), ScanPosition::Organizations(1_234)] {
        assert_eq!(ScanPosition::parse(&position.to_string()), Some(position));
    }
    for text in ["", "users", "users:", "users:x", "users:-1", "idle:1", "galaxies:1"] {
        assert_eq!(ScanPosition::parse(text), None, "{text}");
    }
}
